"""TensorFlow's SavedModel: a folder of graphs, variables and assets.

Written by  ``tf.saved_model`` since 1.0 (builder, ``simple_save``,
            ``tf.saved_model.save``), Estimator's export, Keras' ``save_format="tf"``.
Evidence    TensorFlow's ``core/protobuf/saved_model.proto``, ``meta_graph.proto``,
            ``saved_object_graph.proto``, ``python/saved_model/constants.py``,
            Keras' ``protobuf/saved_metadata.proto``; folders of 1.0 to 2.15.
Traps       Several meta graphs share the variables. A frozen model has none: its
            weights are constants. In 2.x the constants of functions are in the
            library of the graph.
Gives       Name of the variable (key of the object in 2.x) -> lazy array; where
            there are no variables, name of the Const node -> array.
            ``structure``: meta graphs with tags, signatures, nodes, functions;
            assets; the graph of objects; Keras' metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from persist._wire.base.source import Source
from persist._wire.messages.protobuf import Message
from persist._wire.tensorflow.signatures import graph_kind
from persist.errors import DamagedFileError, FormatError, UnknownFormatError
from persist.readers.base import Content, Options, Reader

if TYPE_CHECKING:
    from persist._wire.tensorflow.bundle import Bundle

__all__ = ["TensorFlowSavedModelReader"]

_NAMES = ("saved_model.pb", "saved_model.pbtxt")
_CHUNKED = "saved_model.cpb"
_METADATA = "keras_metadata.pb"
_VARIABLES = "variables"


class TensorFlowSavedModelReader(Reader):
    """SavedModel folders, by the folder or by the file ``saved_model.pb``."""

    name = "tensorflow-saved-model"
    suffixes = (".pb", ".pbtxt")

    def claims(self, source: Source) -> str | None:
        if source.kind == "folder":
            names = source.children()
            for name in (*_NAMES, _CHUNKED):
                if name in names:
                    return f"a folder with {name}"
            if _VARIABLES in names and _index_in(source.child(_VARIABLES)) is not None:
                return "a folder with variables/variables.index"
            return None
        if source.kind != "file" or not source.size:
            return None
        try:
            kind = graph_kind(source)
        except (FormatError, OSError):
            return None
        if kind is None or kind[0] != "SavedModel":
            return None
        return f"begins as a saved model ({'text' if kind[1] else 'binary'})"

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.tensorflow.graph import constants, read_message

        model = _model_file(source)
        if model is None:
            return _without_graph(source, options)
        is_text = model.basename.endswith(".pbtxt")
        kind = graph_kind(model)
        if kind is not None and kind[0] == "SavedModel":
            is_text = kind[1]
        message = read_message(model, "SavedModel", is_text)
        damage: list[str] = []
        variables = _variables(model, options, damage)
        tree: dict[str, object] = {}
        if variables is not None:
            tree.update(variables.tensors)
            damage += variables.damage
        metas = message.messages("meta_graphs")
        if not tree:
            for meta in metas:
                graph = meta.message("graph_def")
                if graph is not None:
                    for name, value in constants(graph, options.salvage, damage).items():
                        tree.setdefault(name, value)
        if variables is None:
            _note_missing(metas, damage)
        return Content(
            tree,
            structure=lambda: _structure(model, message, variables),
            writer=_writer(metas),
            damage=damage,
        )


def _model_file(source: Source) -> Source | None:
    if source.kind == "file":
        return source
    for name in _NAMES:
        found = source.child(name)
        if found is not None and found.kind == "file":
            return found
    return None


def _without_graph(source: Source, options: Options) -> Content:
    """A folder of variables whose graph is not there, or is split into chunks."""
    variables = _bundle(source.child(_VARIABLES), options)
    is_chunked = _CHUNKED in source.children()
    if variables is None:
        raise UnknownFormatError(
            f"its graph is in {_CHUNKED}, split into chunks, and it has no variables.",
            file=source.name,
            remedy="Load it with TensorFlow 2.15 or later.",
        )
    note = f"the graph is in {_CHUNKED}, split into chunks" if is_chunked else (
        "there is no saved_model.pb"
    )  # fmt: skip
    return Content(
        dict(variables.tensors),
        structure=lambda: _variables_structure(variables),
        damage=[f"{note}: only the variables are here", *variables.damage],
    )


def _index_in(folder: Source | None) -> Source | None:
    if folder is None or folder.kind != "folder":
        return None
    index = folder.child(f"{_VARIABLES}.index")
    return index if index is not None and index.kind == "file" else None


def _bundle(folder: Source | None, options: Options) -> Bundle | None:
    from persist._wire.tensorflow.bundle import Bundle

    index = _index_in(folder)
    if index is None:
        return None
    return Bundle(index, _VARIABLES, options.verify or "lazy", options.salvage)


def _variables(model: Source, options: Options, damage: list[str]) -> Bundle | None:
    try:
        return _bundle(model.sibling(_VARIABLES), options)
    except DamagedFileError as error:
        if not options.salvage:
            raise
        damage.append(f"the variables were left out, for {error}")
        return None


def _variables_structure(variables: Bundle) -> dict[str, object]:
    structure: dict[str, object] = {"tensors": variables.described}
    graph = variables.object_graph()
    if graph is not None:
        structure["object_graph"] = graph
    return structure


def _note_missing(metas: list[Message], damage: list[str]) -> None:
    """Say so where the graph has variables, but no values came with it."""
    for meta in metas:
        graph = meta.message("graph_def")
        names = [] if graph is None else [
            node.text("name")
            for node in graph.messages("node")
            if node.text("op") in ("VariableV2", "VarHandleOp", "Variable")
        ]  # fmt: skip
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            damage.append(
                f"the graph has {len(names)} variables ({shown}), but no variables/variables.index "
                "is next to it: their values are not here"
            )
            return


def _writer(metas: list[Message]) -> dict[str, str]:
    for meta in metas:
        info = meta.message("meta_info_def")
        version = "" if info is None else info.text("tensorflow_version")
        if version:
            return {"tensorflow": version}
    return {}


def _structure(model: Source, message: Message, variables: Bundle | None) -> dict[str, object]:
    structure: dict[str, object] = {
        "schema_version": message.integer("saved_model_schema_version"),
        "files": _files(model),
        "meta_graphs": [_meta(meta) for meta in message.messages("meta_graphs")],
        "assets": [
            name for folder in ("assets", "assets.extra") for name in _inside(model, folder)
        ],
    }
    if variables is not None:
        structure.update(_variables_structure(variables))
    metadata = model.sibling(_METADATA)
    if metadata is not None and metadata.kind == "file":
        structure["keras_metadata"] = _metadata(metadata)
    return structure


def _meta(meta: Message) -> dict[str, object]:
    from persist._wire.tensorflow.graph import graph_structure, meta_structure

    structure = meta_structure(meta)
    graph = meta.message("graph_def")
    if graph is not None:
        structure["graph"] = graph_structure(graph)
    return structure


def _metadata(source: Source) -> list[dict[str, object]]:
    """Return Keras's metadata of the model: class and config of each of its objects."""
    from persist._wire.tensorflow.schemas import SCHEMAS

    try:
        nodes = SCHEMAS.read("SavedMetadata", source.view(0, source.size), source).messages("nodes")
        return [
            {
                "node": node.integer("node_id"),
                "path": node.text("node_path"),
                "identifier": node.text("identifier"),
                "metadata": node.text("metadata"),
            }
            for node in nodes
        ]
    except FormatError as error:
        return [{"damaged": str(error)}]


def _inside(model: Source, folder: str) -> list[str]:
    found = model.sibling(folder)
    if found is None or found.kind != "folder":
        return []
    return [f"{folder}/{name}" for name in found.children()]


def _files(model: Source) -> list[str]:
    names = [name for name in model.children() if name in (*_NAMES, _METADATA, "fingerprint.pb")]
    for folder in (_VARIABLES, "assets", "assets.extra"):
        names += _inside(model, folder)
    return names or [model.basename]
