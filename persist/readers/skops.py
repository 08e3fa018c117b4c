"""skops: a scikit-learn model as a ZIP of arrays, with a JSON schema that describes them.

Written by  ``skops.io.dump`` since 0.3, the format that scikit-learn's documentation recommends
            for keeping models.
Evidence    ``skops/io/_general.py``, ``_numpy.py``, ``_scipy.py``, ``_sklearn.py`` of 0.3 to 0.14
            (``__loader__`` of each node, ``schema.json``).
Traps       The members are named by numbers; only ``schema.json`` says which attribute an array is.
            A repeated object is a ``CachedNode`` with the ``__id__`` of its first occurrence. A
            node of an unknown kind stays a record with its part of the schema.
Gives       The dumped object: records by the class that the schema names, dicts, lists, arrays.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from persist._wire.archives.zip import ZipDirectory
from persist._wire.base.source import Source
from persist.errors import DamagedFileError, FormatError, LimitError
from persist.readers.base import Content, Options, Reader
from persist.tree import ABSENT, Global, Record

__all__ = ["SkopsReader"]

_SCHEMA = "schema.json"
_MARK = b'"_skops_version"'
_LARGEST = 64 << 20  # bytes of a schema
_DEPTH = 200  # nesting of nodes
_NODE = 256  # bytes charged for each node


class SkopsReader(Reader):
    """Files of ``skops.io.dump``."""

    name = "skops"
    suffixes = (".skops",)
    refines = ("npz",)

    def claims(self, source: Source) -> str | None:
        directory = ZipDirectory.of(source) if source.kind == "file" else None
        member = None if directory is None else directory.find(_SCHEMA)
        if directory is None or member is None or member.size > _LARGEST:
            return None
        try:
            text = directory.open(member, False)
        except FormatError:
            return None
        is_marked = _MARK in text.tail(4096) or _MARK in text.head(4096)
        return f'ZIP with "{_SCHEMA}" of skops' if is_marked else None

    def read(self, source: Source, options: Options) -> Content:
        directory = ZipDirectory.of(source)
        member = None if directory is None else directory.find(_SCHEMA)
        if directory is None or member is None:
            raise DamagedFileError(f"{_SCHEMA} is not in it any more.", file=source.name)
        text = directory.open(member, options.verify == "lazy")
        source.spend(8 * text.size)
        try:
            schema = json.loads(text.read(0, text.size))
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(
                f"{_SCHEMA} is not JSON ({error}).",
                file=source.name,
                remedy="Copy it again from where it came from.",
            ) from error
        content = Content(None)

        def inside(name: str) -> Any:
            found = directory.find(name)
            if found is None or options.open_nested is None:
                raise DamagedFileError(f"the member {name!r} is not in it.", file=source.name)
            inner = options.open_nested(directory.open(found, options.verify == "lazy"))
            content.damage += [f"{name}: {note}" for note in inner.damage]
            content.globals |= inner.globals
            return inner.tree

        def raw(name: str) -> bytes:
            found = directory.find(name)
            if found is None:
                raise DamagedFileError(f"the member {name!r} is not in it.", file=source.name)
            opened = directory.open(found, options.verify == "lazy")
            source.spend(opened.size)
            return opened.read(0, opened.size)

        nodes = _Nodes(source, inside, raw, content)
        content.tree = nodes.take(schema, 0)
        content.structure = {
            "skops": schema.get("_skops_version") if isinstance(schema, dict) else None,
            "globals": sorted(content.globals),
        }
        version = content.structure["skops"]
        content.writer = {"skops": version} if isinstance(version, str) else {}
        return content


class _Nodes:
    """Makes values of the nodes of a schema."""

    def __init__(
        self,
        source: Source,
        inside: Callable[[str], Any],
        raw: Callable[[str], bytes],
        content: Content,
    ) -> None:
        self._source = source
        self._inside = inside
        self._raw = raw
        self._content = content
        self._known: dict[object, object] = {}

    def take(self, node: object, depth: int) -> object:
        """Return the value of a node."""
        if depth > _DEPTH:
            raise LimitError(
                f"its schema is nested more than {_DEPTH} levels deep.",
                file=self._source.name,
                remedy="Models of scikit-learn are not so deep; open the file with skops.",
            )
        if not isinstance(node, dict) or "__loader__" not in node:
            return node
        self._source.spend(_NODE)
        number = node.get("__id__")
        if node["__loader__"] == "CachedNode":
            if number not in self._known:
                raise DamagedFileError(
                    f"its schema refers to the node {number!r}, which does not precede it.",
                    file=self._source.name,
                )
            return self._known[number]
        value = self._made(node, depth + 1)
        if isinstance(number, int):
            self._known[number] = value
        return value

    def _made(self, node: dict[str, object], depth: int) -> object:
        kind, content = node["__loader__"], node.get("content")
        if kind == "JsonNode" and isinstance(content, str):
            try:
                return json.loads(content)
            except (ValueError, RecursionError):
                return content
        if kind == "DictNode" and isinstance(content, dict):
            return self._dict(node, content, depth)
        if kind in _SEQUENCES and isinstance(content, list):
            items = [self.take(item, depth) for item in content]
            if node.get("__class__") not in ("list", "tuple", "set"):
                return Record(self._name(node), kind="newobj", args=(tuple(items),))
            try:
                return _SEQUENCES[kind](items)
            except TypeError:  # a set of unhashable values
                return items
        name = node.get("file")
        if kind in ("NdArrayNode", "MaskedArrayNode", "SparseMatrixNode") and isinstance(name, str):
            return self._inside(name)
        if kind in ("BytesNode", "BytearrayNode") and isinstance(name, str):
            data = self._raw(name)
            return bytearray(data) if kind == "BytearrayNode" else data
        if kind == "NdArrayNode" and isinstance(content, list):
            return self._objects(node, content, depth)
        if kind == "TypeNode":
            named = content if isinstance(content, dict) and "__class__" in content else node
            return self._name(named)
        if kind == "FunctionNode" and isinstance(content, dict):
            return self._named(content.get("module_path"), content.get("function"))
        return self._record(node, content, depth)

    def _dict(self, node: dict[str, object], content: dict[str, object], depth: int) -> object:
        """Return a dict. JSON keys are text; ``key_types`` lists their original types."""
        values = {key: self.take(item, depth) for key, item in content.items()}
        kinds = self.take(node.get("key_types"), depth)
        if isinstance(kinds, list) and len(kinds) == len(values):
            names = [getattr(kind, "name", "str") for kind in kinds]
            values = {
                _key(key, name): item
                for (key, item), name in zip(values.items(), names, strict=True)
            }
        if node.get("__class__") == "dict":
            return values
        return Record(self._name(node), kind="newobj", dictitems=list(values.items()))

    def _objects(self, node: dict[str, object], content: list[object], depth: int) -> object:
        items = [self.take(item, depth) for item in content]
        shape = self.take(node.get("shape"), depth)
        array = np.empty(len(items), object)
        for place, item in enumerate(items):
            array[place] = item
        if isinstance(shape, list | tuple) and all(type(extent) is int for extent in shape):
            try:
                return array.reshape(shape)
            except ValueError:
                return array
        return array

    def _record(self, node: dict[str, object], content: object, depth: int) -> Record:
        """Return an instance: an ``ObjectNode`` with its attributes, other nodes with all their items."""
        record = Record(self._name(node), kind="newobj")
        if isinstance(node.get("__id__"), int):
            self._known[node["__id__"]] = record
        if node["__loader__"] == "ObjectNode":
            if content is not None:
                record.state = self.take(content, depth)
            return record
        fields = {
            key: self._plain(item, depth) for key, item in node.items() if not key.startswith("__")
        }
        record.state = fields or ABSENT
        return record

    def _plain(self, value: object, depth: int) -> Any:
        if isinstance(value, dict) and "__loader__" not in value:
            return {key: self._plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self._plain(item, depth + 1) for item in value]
        return self.take(value, depth)

    def _name(self, node: dict[str, object]) -> Global:
        return self._named(node.get("__module__"), node.get("__class__"))

    def _named(self, module: object, name: object) -> Global:
        found = Global(str(module or "builtins")[:4096], str(name)[:4096])
        self._content.globals.add(found.qualname)
        return found


_SEQUENCES: dict[str, Callable[[list[Any]], object]] = {
    "ListNode": list,
    "TupleNode": tuple,
    "SetNode": set,
}


def _key(text: str, kind: str) -> Any:
    try:
        return {"int": int, "float": float}[kind](text) if kind in ("int", "float") else text
    except ValueError:
        return text
