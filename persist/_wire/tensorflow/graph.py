"""Tensor graphs: their constants as arrays, and what they are as a description.

Sources: TensorFlow's ``core/framework/graph.proto``, ``node_def.proto``,
``core/protobuf/meta_graph.proto`` and ``saved_model.proto``; names of nodes
after ``IsValidNodeName`` of ``core/framework/node_def_util.cc``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from persist._runtime.free_names import free_name
from persist._wire.base.source import Source
from persist._wire.messages.protobuf import Message
from persist._wire.messages.textproto import parse
from persist._wire.tensorflow.schemas import SCHEMAS, dtype_name, jsonable_shape
from persist._wire.tensorflow.tensors import tensor
from persist.errors import FormatError

__all__ = ["constants", "graph_structure", "meta_structure", "read_message"]

_CONSTANTS = frozenset(("Const", "HostConst"))
_INPUTS = frozenset(("Placeholder", "PlaceholderV2", "PlaceholderWithDefault", "_Arg", "Arg"))
_NO_OUTPUTS = _CONSTANTS | _INPUTS | frozenset(("NoOp", "Assert", "VarHandleOp", "VariableV2",
                                                "Variable", "SaveV2", "ShardedFilename"))  # fmt: skip
_VARIABLES = frozenset(("Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable"))
_SHOWN = 64  # values of a list attribute that are shown


def read_message(source: Source, kind: str, is_text: bool) -> Message:
    """Return the whole of a file as a message of that type."""
    data = source.view(0, source.size)
    if is_text:
        return parse(SCHEMAS, kind, data, source)
    return SCHEMAS.read(kind, data, source)


# What is in it.


def constants(graph: Message, salvage: bool, damage: list[str]) -> dict[str, object]:
    """Return the values of a graph's Const nodes by name; of functions' as ``function/node``.

    Raises:
        DamagedFileError: a value does not fit its type or shape.
    """
    found: dict[str, Any] = {}
    _constants(graph.messages("node"), "", found, salvage, damage)
    library = graph.message("library")
    for function in library.messages("function") if library is not None else []:
        signature = function.message("signature")
        name = signature.text("name") if signature is not None else ""
        _constants(function.messages("node_def"), f"{name}/", found, salvage, damage)
    return found


def _constants(
    nodes: list[Message], prefix: str, found: dict[str, object], salvage: bool, damage: list[str]
) -> None:
    for node in nodes:
        if node.text("op") not in _CONSTANTS:
            continue
        name = prefix + node.text("name")
        try:
            value = node.map("attr").get("value")
            message = None if value is None else value.message("tensor")
            array = None if message is None else tensor(message, f"node {name!r}")
        except FormatError as error:
            if not salvage:
                raise
            damage.append(f"{name}: left out, for {error}")
            continue
        if array is not None:
            found[free_name(name, found)] = array


def graph_structure(graph: Message) -> dict[str, object]:
    """Return what a graph is: nodes, how often each op occurs, where it begins and may end."""
    nodes = graph.messages("node")
    described = [_node(node) for node in nodes]
    consumed = {_node_of(name) for node in described for name in node["inputs"]}
    versions = graph.message("versions")
    result: dict[str, object] = {
        "nodes": described,
        "ops": dict(sorted(Counter(node["op"] for node in described).items())),
        "inputs": [
            {"name": node["name"], **{key: node.get("attrs", {}).get(key) for key in _INPUT_ATTRS}}
            for node in described
            if node["op"] in _INPUTS
        ],
        "outputs": [
            node["name"]
            for node in described
            if node["name"] not in consumed and node["op"] not in _NO_OUTPUTS
        ],
        "variables": [node["name"] for node in described if node["op"] in _VARIABLES],
        "functions": _functions(graph),
    }
    if versions is not None:
        result["versions"] = {
            "producer": versions.integer("producer"),
            "min_consumer": versions.integer("min_consumer"),
        }
    elif graph.has("version"):
        result["versions"] = {"producer": graph.integer("version")}
    return result


_INPUT_ATTRS = ("dtype", "shape")


def _functions(graph: Message) -> list[str]:
    library = graph.message("library")
    if library is None:
        return []
    signatures = (function.message("signature") for function in library.messages("function"))
    return [item.text("name") if item is not None else "" for item in signatures]


def _node_of(name: str) -> str:
    """The node that an input names: ``^node`` of a control input, ``node:1`` of an output."""
    return name.removeprefix("^").partition(":")[0]


def _node(node: Message) -> dict[str, Any]:
    described: dict[str, object] = {
        "name": node.text("name"),
        "op": node.text("op"),
        "inputs": node.texts("input"),
    }
    device = node.text("device")
    if device:
        described["device"] = device
    attrs = {}
    for name, value in node.map("attr").items():
        if value is not None and not value.has("tensor"):
            attrs[name] = _attribute(value)
    if attrs:
        described["attrs"] = attrs
    return described


def _attribute(value: Message) -> object:
    """An attribute as JSON has it."""
    if value.has("s"):
        return _shown(value.data("s"))
    if value.has("i"):
        return value.integer("i")
    if value.has("f"):
        return value.number("f")
    if value.has("b"):
        return bool(value.integer("b"))
    if value.has("type"):
        return dtype_name(value.integer("type"))
    if value.has("shape"):
        return jsonable_shape(value.message("shape"))
    func = value.message("func")
    if func is not None:
        return {"function": func.text("name")}
    if value.has("placeholder"):
        return {"placeholder": value.text("placeholder")}
    items = value.message("list")
    return [] if items is None else _list(items)


def _list(items: Message) -> list[object]:
    if items.has("s"):
        return [_shown(item) for item in items.blobs("s")[:_SHOWN]]
    if items.has("i"):
        return [int(item) for item in items.integers("i")[:_SHOWN]]
    if items.has("f"):
        return [float(item) for item in items.floats("f")[:_SHOWN]]
    if items.has("b"):
        return [bool(item) for item in items.integers("b")[:_SHOWN]]
    if items.has("type"):
        return [dtype_name(int(item)) for item in items.integers("type")[:_SHOWN]]
    if items.has("shape"):
        return [jsonable_shape(item) for item in items.messages("shape")[:_SHOWN]]
    return [{"function": item.text("name")} for item in items.messages("func")[:_SHOWN]]


def _shown(data: memoryview) -> str:
    text = bytes(data[:1024]).decode("utf-8", "backslashreplace")
    return text if len(data) <= 1024 else f"{text}... ({len(data):,} bytes)"


def meta_structure(meta: Message) -> dict[str, object]:
    """Return what a meta graph is, besides the nodes of its graph."""
    info = meta.message("meta_info_def")
    graph = meta.message("graph_def")
    library = None if graph is None else graph.message("library")
    result: dict[str, object] = {
        "tags": [] if info is None else info.texts("tags"),
        "tensorflow_version": None if info is None else info.text("tensorflow_version") or None,
        "signatures": {
            name: _signature(signature) for name, signature in meta.map("signature_def").items()
        },
        "graph_nodes": 0 if graph is None else graph.count("node"),
        "functions": 0 if library is None else library.count("function"),
        "assets": _assets(meta),
        "collections": {
            name: _collection(name, item) for name, item in meta.map("collection_def").items()
        },
    }
    saver = meta.message("saver_def")
    if saver is not None:
        result["saver"] = {
            "version": saver.name("version"),
            "sharded": bool(saver.integer("sharded")),
            "max_to_keep": saver.integer("max_to_keep"),
        }
    objects = meta.message("object_graph_def")
    if objects is not None:
        result["objects"] = _objects(objects)
    return result


def _assets(meta: Message) -> list[dict[str, Any]]:
    """The files that a graph reads: of 1.x they stand in a collection."""
    found = list(meta.messages("asset_file_def"))
    collection = meta.map("collection_def").get("saved_model_assets")
    listed = None if collection is None else collection.message("any_list")
    for item in listed.messages("value") if listed is not None else []:
        found.append(SCHEMAS.read("AssetFileDef", item.data("value"), meta.source))
    described = (
        {"filename": asset.text("filename"), "tensor": _name_of(asset.message("tensor_info"))}
        for asset in found
    )
    return list({asset["filename"]: asset for asset in described}.values())


def _name_of(info: Message | None) -> str | None:
    return None if info is None else info.text("name")


def _signature(signature: Message | None) -> dict[str, object]:
    if signature is None:
        return {"inputs": {}, "outputs": {}, "method_name": ""}
    return {
        "inputs": {name: _info(info) for name, info in signature.map("inputs").items()},
        "outputs": {name: _info(info) for name, info in signature.map("outputs").items()},
        "method_name": signature.text("method_name"),
    }


def _info(info: Message | None) -> dict[str, object]:
    if info is None:
        return {"name": None, "dtype": None, "shape": None}
    number = info.integer("dtype")
    described = {
        "name": info.text("name"),
        "dtype": dtype_name(number) if number else None,
        "shape": jsonable_shape(info.message("tensor_shape")),
    }
    sparse = info.message("coo_sparse")
    if sparse is not None:
        described["name"] = sparse.text("values_tensor_name")
        described["indices"] = sparse.text("indices_tensor_name")
        described["dense_shape"] = sparse.text("dense_shape_tensor_name")
    composite = info.message("composite_tensor")
    if composite is not None:
        described["components"] = [item.text("name") for item in composite.messages("components")]
    return described


def _collection(name: str, item: Message | None) -> object:
    """A collection: names, numbers, the names of variables; of other messages their count."""
    if item is None:
        return []
    for field in ("node_list", "int64_list", "float_list"):
        values = item.message(field)
        if values is not None:
            if field == "node_list":
                return values.texts("value")
            if field == "int64_list":
                return [int(value) for value in values.integers("value")]
            return [float(value) for value in values.floats("value")]
    values = item.message("bytes_list") or item.message("any_list")
    if values is None:
        return []
    if item.has("bytes_list") and (name == "variables" or name.endswith("_variables")):
        # The first field of a VariableDef is the variable's name, as it is of the lists here.
        try:
            return [
                SCHEMAS.read("TextList", blob, item.source).texts("value")[0]
                for blob in values.blobs("value")
            ]
        except (FormatError, IndexError):
            pass
    return values.count("value")


_KINDS = ("user_object", "asset", "function", "variable", "bare_concrete_function", "constant",
          "resource", "captured_tensor")  # fmt: skip


def _objects(graph: Message) -> list[dict[str, object]]:
    """The objects of a saved model: what each is, and which it holds."""
    return [_object(number, item) for number, item in enumerate(graph.messages("nodes"))]


def _object(number: int, item: Message) -> dict[str, object]:
    described: dict[str, object] = {
        "node": number,
        "kind": next((kind for kind in _KINDS if item.has(kind)), None),
        "children": {
            child.text("local_name"): child.integer("node_id")
            for child in item.messages("children")
        },
    }
    user = item.message("user_object")
    if user is not None:
        described["identifier"] = user.text("identifier")
        if user.text("metadata"):
            described["metadata"] = user.text("metadata")
    variable = item.message("variable")
    if variable is not None:
        described["name"] = variable.text("name")
        described["dtype"] = dtype_name(variable.integer("dtype"))
        described["shape"] = jsonable_shape(variable.message("shape"))
        described["trainable"] = bool(variable.integer("trainable"))
    return described
