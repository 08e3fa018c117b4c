"""What kind of graph a file holds, by its first fields: a graph, one with its meta data, a saved model.

Protocol buffers have no magic: what begins as one of these does is one. Sources: TensorFlow's
``core/framework/graph.proto``, ``core/protobuf/meta_graph.proto`` and ``saved_model.proto``, and
what its writers put first.
"""

from __future__ import annotations

from persist._runtime.lazy_regex import regex
from persist._wire.base.source import Source
from persist._wire.databases.sstable import varint

__all__ = ["graph_kind"]

_NODE_NAME = regex(rb"[A-Za-z0-9._][A-Za-z0-9_.\\/>:\-]*\Z")
_OP_NAME = regex(rb"[A-Za-z_][A-Za-z0-9_.>/\-]*\Z")
_HEAD = 4096
_TEXT_FIRST = regex(rb"(?:\s|#[^\n]*\n)*([a-z_]+)\s*(:|\{|<)\s*")
_TEXT_KINDS = {
    b"node": "GraphDef", b"versions": "GraphDef", b"library": "GraphDef",
    b"meta_info_def": "MetaGraphDef", b"graph_def": "MetaGraphDef",
    b"saved_model_schema_version": "SavedModel",
}  # fmt: skip
_TEXT_PROOFS = {
    b"node": regex(rb"\bop\s*:\s*[\"']"),
    b"versions": regex(rb"\b(?:producer|min_consumer)\s*:"),
    b"library": regex(rb"\b(?:function|gradient)\s*[:{<]"),
    b"graph_def": regex(rb"\b(?:node|library|versions)\s*[:{<]"),
}


# What a file is, from its first fields.

# Of the three kinds of message, the first key: field 1 a number, or field 1 or 2 of some length.
_FIRST_KEYS = frozenset((1 << 3 | 0, 1 << 3 | 2, 2 << 3 | 2))


def graph_kind(source: Source) -> tuple[str, bool] | None:
    """Return (the type of message that a file is, whether it is text), or None."""
    head = source.head(_HEAD)
    if not head:
        return None
    text = _TEXT_FIRST.match(head)
    if text is not None:
        word = text[1]
        proof = _TEXT_PROOFS.get(word)
        if word in _TEXT_KINDS and (proof is None or proof.search(head)):
            return _TEXT_KINDS[word], True
    if head[0] not in _FIRST_KEYS:
        return None
    for kind, test in (
        ("SavedModel", _is_saved_model), ("GraphDef", _is_graph), ("MetaGraphDef", _is_meta),
    ):  # fmt: skip
        if test(source, 0, source.size):
            return kind, False
    return None


Span = tuple[int, int, int, int]  # number, wire type, where the payload begins and ends


def _fields(source: Source, offset: int, end: int, most: int) -> list[Span]:
    """The first fields of a message; their payloads may pass the end of a truncated file."""
    found: list[Span] = []
    try:
        while offset < min(end, source.size) and len(found) < most:
            head = source.read(offset, min(20, source.size - offset))
            key, at = varint(head, 0, len(head))
            number, wire = key >> 3, key & 7
            if not number:
                return []
            length = {1: 8, 5: 4}.get(wire, 0)
            if wire == 0:
                _, stop = varint(head, at, len(head))
                length = stop - at
            elif wire == 2:
                length, at = varint(head, at, len(head))
            elif wire not in (1, 5):
                return []
            found.append((number, wire, offset + at, offset + at + length))
            offset += at + length
            if offset > end:
                return []
    except ValueError:
        pass
    return found


def _short(source: Source, span: Span) -> bytes:
    start, stop = span[2], min(span[3], source.size)
    return source.read(start, stop - start) if 0 < stop - start <= _HEAD else b""


def _is_node(source: Source, span: Span) -> bool:
    if span[:2] != (1, 2):
        return False
    inner = _fields(source, span[2], span[3], 2)
    if [field[:2] for field in inner] != [(1, 2), (2, 2)]:
        return False
    name, op = (_short(source, field) for field in inner)
    return bool(_NODE_NAME.match(name) and _OP_NAME.match(op)) and not name.endswith(b".proto")


def _is_graph(source: Source, start: int, end: int) -> bool:
    fields = _fields(source, start, end, 2)
    if not fields or not _is_node(source, fields[0]):
        return False
    return len(fields) == 1 or fields[1][:2] in ((1, 2), (2, 2), (3, 0), (4, 2))


def _may_be_graph(source: Source, span: Span) -> bool:
    fields = _fields(source, span[2], span[3], 1)
    if not fields:
        return span[2] == span[3]
    return _is_node(source, fields[0]) or fields[0][:2] in ((2, 2), (3, 0), (4, 2))


def _is_meta(source: Source, start: int, end: int) -> bool:
    fields = _fields(source, start, end, 2)
    if fields and fields[0][:2] == (1, 2):
        info = _fields(source, fields[0][2], fields[0][3], 8)
        wires = {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 7: 0, 8: 2}
        if fields[0][2] < fields[0][3] and not info:
            return False
        if any(wires.get(number) != wire for number, wire, _, _ in info):
            return False
        fields = fields[1:]
    return bool(fields) and fields[0][:2] == (2, 2) and _may_be_graph(source, fields[0])


def _is_saved_model(source: Source, start: int, end: int) -> bool:
    fields = _fields(source, start, end, 2)
    return (
        len(fields) == 2
        and fields[0][:2] == (1, 0)
        and fields[1][:2] == (2, 2)
        and _is_meta(source, fields[1][2], fields[1][3])
    )
