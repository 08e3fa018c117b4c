"""TensorFlow's graphs: frozen ``.pb`` and ``.pbtxt``, and ``.meta`` of checkpoints.

Written by  ``tf.train.write_graph``, ``convert_variables_to_constants`` and
            ``freeze_graph`` since 0.5; ``Saver.save`` and ``export_meta_graph``.
Evidence    TensorFlow's ``core/framework/graph.proto``, ``node_def.proto``,
            ``tensor.proto`` and ``core/protobuf/meta_graph.proto``; files of
            0.12 to 2.15.
Traps       A ``.pb`` has no magic: its first node must have a name and an op.
            ONNX, Caffe and descriptors are messages, too. A constant may be one
            value for a whole shape. The variables of a ``.meta`` are in the
            checkpoint next to it.
Gives       Name of the Const node -> array (of those in functions:
            ``function/node``); for a ``.meta`` next to its checkpoint also the
            variables. ``structure``: nodes, ops, where the graph begins and
            may end; of a ``.meta`` its signatures, collections, saver.
"""

from __future__ import annotations

from persist._wire.base.source import Source
from persist._wire.messages.protobuf import Message
from persist._wire.tensorflow.signatures import graph_kind
from persist.errors import FormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["TensorFlowGraphReader"]

_CLAIMS = {
    "GraphDef": "begins with the node of a graph",
    "MetaGraphDef": "begins as a meta graph",
}


class TensorFlowGraphReader(Reader):
    """GraphDef and MetaGraphDef, binary and text."""

    name = "tensorflow-graph"
    suffixes = (".pb", ".pbtxt", ".meta")

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or not source.size:
            return None
        try:
            kind = graph_kind(source)
        except (FormatError, OSError):
            return None
        if kind is None or kind[0] not in _CLAIMS:
            return None
        return f"{_CLAIMS[kind[0]]} ({'text' if kind[1] else 'binary'})"

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.tensorflow.graph import constants, graph_structure, read_message

        kind, is_text = graph_kind(source) or ("GraphDef", False)
        message = read_message(source, kind, is_text)
        damage: list[str] = []
        if kind == "GraphDef":
            return Content(
                constants(message, options.salvage, damage),
                structure=lambda: {"files": [source.basename], **graph_structure(message)},
                damage=damage,
            )
        graph = message.message("graph_def")
        tree: dict[str, object] = {}
        checkpoint = _neighbouring_checkpoint(source, options, damage)
        if checkpoint is not None and isinstance(checkpoint.tree, dict):
            tree.update(checkpoint.tree)
            damage += checkpoint.damage
        if graph is not None:
            for name, value in constants(graph, options.salvage, damage).items():
                tree.setdefault(name, value)
        return Content(
            tree,
            structure=lambda: _structure(source, message, graph, checkpoint),
            writer=_writer(message),
            damage=damage,
            format="tensorflow-meta-graph",
        )


def _writer(meta: Message) -> dict[str, str]:
    info = meta.message("meta_info_def")
    version = "" if info is None else info.text("tensorflow_version")
    return {"tensorflow": version} if version else {}


def _neighbouring_checkpoint(source: Source, options: Options, damage: list[str]) -> Content | None:
    """The checkpoint that ``<prefix>.meta`` was saved with, if its files are here."""
    name = source.basename
    if not name.endswith(".meta") or options.open_nested is None:
        return None
    prefix = name.removesuffix(".meta")
    for neighbour in (f"{prefix}.index", prefix, f"{prefix}-00000-of-00001"):
        found = source.sibling(neighbour)
        if found is None or found.kind != "file":
            continue
        try:
            return options.open_nested(found)
        except FormatError as error:
            damage.append(f"the checkpoint next to it was left out: {error}")
            return None
    return None


def _structure(
    source: Source, meta: Message, graph: Message | None, checkpoint: Content | None
) -> dict[str, object]:
    from persist._wire.tensorflow.graph import graph_structure, meta_structure

    description: dict[str, object] = {
        "files": [source.basename],
        "meta_graph": meta_structure(meta),
    }
    if graph is not None:
        description.update(graph_structure(graph))
    if checkpoint is not None:
        inner = checkpoint.structure
        description["checkpoint"] = inner() if callable(inner) else inner
    return description
