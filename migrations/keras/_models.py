"""The state of Keras's models: how layers are joined, from 0.x to 3.x.

In version 4 both kinds of model have ``layers``, a mapping from names to records. A sequence begins
with an ``InputLayer`` where its shape is known; a network has ``nodes`` (layer -> its calls, each a
list of inputs ``[layer, call, output]`` and of keyword arguments), ``input_layers`` and
``output_layers``.

Evidence: ``keras/models.py`` of 0.3.3 and 1.2.2, ``keras/legacy/models.py`` of 1.2.2 (``Graph``),
``keras/engine/topology.py`` of 2.0.9 (``Container.get_config``), ``keras/engine/network.py`` of 2.2.4,
``keras/src/models/functional.py`` of 3.15 (``process_node``, ``deserialize_node``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from persist.registry import Registry
from persist.tree import Record

from ._steps import by, layer, refused

__all__ = ["register"]

NOW = 4


def register(pack: Registry) -> None:
    """Register the schemas and steps of the models."""
    for name in ("keras.Sequential", "keras.Model", "keras.Graph"):
        pack.register(name, version=NOW)
        pack.migration(name, 1, by(_unchanged))
        pack.migration(name, 2, by(_unchanged))
    pack.migration("keras.Sequential", 3, by(sequence))
    pack.migration("keras.Model", 3, by(network))
    pack.migration("keras.Graph", 3, by(graph))


def _unchanged(state: object) -> None:
    """as before; its layers have steps of their own"""


def sequence(state: Any) -> object:
    """The input's shape, until then an option of the first layer, → InputLayer"""
    layers = _placed(state["layers"])
    first = next(iter(layers.values()), None)
    if first is not None and isinstance(first.fields().get("branches"), list):
        return _branched(state, layers)
    shape, dtype = _shape_of(first)
    given = state.pop("batch_input_shape", None) or state.pop("build_input_shape", None)
    state.pop("build_input_shape", None)
    shape = shape if shape is not None else given
    if shape is None and first is not None:
        shape = _implied_shape(first)
    if first is not None and first.cls.name != "InputLayer" and shape is not None:
        start = _input(_free(f"{state['name']}_input", layers), shape, dtype)
        layers = {start["name"]: start, **layers}
    return {"name": state["name"], "trainable": state.get("trainable", True), "layers": layers}


def _input(name: str, shape: Any, dtype: Any) -> Record:
    return layer("InputLayer", name=name, batch_shape=list(shape), dtype=dtype or "float32")


def _shape_of(record: Record | None) -> tuple[Any, Any]:
    """The shape of the input that a layer states, which it loses, and its type."""
    if record is None:
        return None, None
    shape = record.state.pop("batch_input_shape", None)
    dtype = record.state.get("dtype")
    if record.cls.name == "Embedding":
        dtype = "float32"  # whole numbers in any type; as old releases have them
    if record.qualname in ("keras.Sequential", "keras.Model"):
        starts = [one for one in record["layers"].values() if one.cls.name == "InputLayer"]
        if len(starts) == 1:
            shape = shape if shape is not None else starts[0].fields().get("batch_shape")
            dtype = starts[0].fields().get("dtype")
    return shape, dtype if isinstance(dtype, str) and "mixed" not in dtype else None


# Layer -> the rank of its input, and the axis of its kernel that tells the input's width.
_IMPLIED = {
    "Dense": (2, 0),
    "SimpleRNN": (3, 0),
    "LSTM": (3, 0),
    "GRU": (3, 0),
    "Conv1D": (3, 1),
    "Conv2D": (4, 2),
    "Conv3D": (5, 3),
}


def _implied_shape(first: Record) -> list[object] | None:
    """The input's shape as far as the weights of the first layer tell it, or None."""
    if first.qualname == "keras.Sequential":
        inner = next(iter(first["layers"].values()), None)
        return None if inner is None else _implied_shape(inner)
    rank, axis = _IMPLIED.get(first.cls.name, (0, 0))
    weights = first.fields().get("weights")
    kernel = weights.get("kernel") if isinstance(weights, dict) else None
    if not rank or kernel is None or first.fields().get("groups", 1) != 1:
        return None
    shape: list[Any] = [None] * rank
    is_first = first.fields().get("data_format") == "channels_first"
    shape[1 if is_first else -1] = int(kernel.shape[axis])
    return shape


def _placed(layers: dict[str, Record]) -> dict[str, Record]:
    """The layers of a sequence, each tail of a composition behind its layer."""
    placed: dict[str, Record] = {}
    for name, one in layers.items():
        then = one.state.pop("then", None) if isinstance(one.state, dict) else None
        placed[name] = one
        if then is not None:
            then["name"] = f"{name}_then"
            placed[then["name"]] = then
    return placed


def _free(name: str, taken: Any) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _branched(state: Any, layers: dict[str, Record]) -> Record:
    """A sequence that begins with a Merge of sequences: a network with an input for each."""
    first, *rest = layers.values()
    made: dict[str, Record] = {}
    nodes: dict[str, Any] = {}
    inputs: list[list[object]] = []
    ends: list[list[Any]] = []
    for branch in first.state.pop("branches"):
        branch["name"] = _free(branch["name"], {**made, **layers})
        starts = [one for one in branch["layers"].values() if one.cls.name == "InputLayer"]
        if not starts:
            raise refused(
                f"the branch {branch['name']!r}",
                "the shape of its input is not stated.",
                "State batch_input_shape of its first layer in the configuration.",
            )
        own = []
        for one in starts:
            start = _input(
                _free(one["name"], {**made, **layers}),
                one["batch_shape"],
                one.fields().get("dtype"),
            )
            made[start["name"]] = start
            own.append([start["name"], 0, 0])
        inputs += own
        made[branch["name"]] = branch
        nodes[branch["name"]] = [[own, {}]]
        ends.append([branch["name"], 0, 0])
    for one in (first, *rest):
        made[one["name"]] = one
        nodes[one["name"]] = [[ends, {}]]
        ends = [[one["name"], 0, 0]]
    return Record(
        "keras.Model",
        {
            "name": state["name"],
            "trainable": state.get("trainable", True),
            "layers": made,
            "nodes": nodes,
            "input_layers": inputs,
            "output_layers": ends,
        },
        version=NOW,
    )


# Networks.


def network(state: Any) -> object:
    """Calls of layers as Keras 3 has them: inputs, and keyword arguments"""
    if "input_layers" not in state:
        raise refused(
            state.get("class_name", state["name"]),
            "it is a class of its own, whose code is not in the file.",
            "Build it with its code, and fill it with persist.restore.",
        )
    layers: dict[str, Record] = dict(state["layers"])
    renamed: dict[str, str] = {}
    nodes: dict[str, Any] = {}
    for name, one in list(layers.items()):
        one.state.pop("batch_input_shape", None)
        one.state.pop("branches", None)
        nodes[name] = [_call(one, node) for node in state["inbound_nodes"].get(name) or []]
        then = one.state.pop("then", None)
        if then is not None:
            then["name"] = _free(f"{name}_then", layers)
            layers[then["name"]] = then
            renamed[name] = then["name"]
            nodes[then["name"]] = [[[[name, number, 0]], {}] for number in range(len(nodes[name]))]
    behind = set(renamed.values())
    # Until Keras 3 the first call of a model is its own making.
    models = {name for name, one in layers.items() if one.qualname in _MODELS}
    for name, calls in nodes.items():
        if name not in behind:
            nodes[name] = [_pointed(call, renamed, models) for call in calls]
    return {
        "name": state["name"],
        "trainable": state.get("trainable", True),
        "layers": layers,
        "nodes": nodes,
        "input_layers": _ends(state["input_layers"], {}, ()),
        "output_layers": _ends(state["output_layers"], renamed, models),
    }


_MODELS = ("keras.Sequential", "keras.Model")


def _ends(ends: Any, renamed: dict[str, str], models: Iterable[str]) -> Any:
    if isinstance(ends, list) and len(ends) == 3 and isinstance(ends[0], str):
        ends = [ends]  # a single one, since 2.12
    if isinstance(ends, dict):
        ends = list(ends.values())
    return [
        [renamed.get(one[0], one[0]), one[1] - (one[0] in models and one[1] > 0), *one[2:]]
        for one in ends
    ]


def _pointed(call: Any, renamed: dict[str, str], models: Iterable[str]) -> object:
    inputs, options = call
    if options is None:
        return [
            _ends([one], renamed, models)[0] if isinstance(one, list) else one for one in inputs
        ], None
    return [_ends(inputs, renamed, models), options]


def _arguments(record: Record, node: Any) -> list[Any]:
    """The arguments of an operation: outputs of layers, and constants in their places."""
    if node and isinstance(node[0], str):
        node = [node]
    found: list[Any] = [list(one[:3]) for one in node]
    for one in node:
        options = one[3] if len(one) > 3 and isinstance(one[3], dict) else {}
        found += [value for name, value in options.items() if name in ("y", "b", "x2", "exponent")]
    for place, value in sorted((record.state.pop("constants", None) or {}).items()):
        found.insert(int(place), value)
    return found


def _call(record: Record, node: Any) -> Any:
    """One call of a layer: [[inputs], {keyword arguments}]; of an operation [arguments, None]."""
    if record.qualname.startswith("keras.ops."):
        return [_arguments(record, node), None]
    if isinstance(node, dict):
        return node  # of Keras 3
    if node and isinstance(node[0], str):
        node = [node]  # a single input, since 2.4
    inputs = [list(one[:3]) for one in node]
    options: dict[str, Any] = {}
    for one in node:
        if len(one) > 3 and isinstance(one[3], dict):
            options.update(one[3])
    options = {key: value for key, value in options.items() if value is not None}
    # A mask that a layer passed on is found again by Keras 3 itself.
    options.pop("mask", None) if options.get("mask") in (None, [None]) else None
    if record.cls.name in _WITH_STATES and len(inputs) > 1:
        options["initial_state"] = inputs[1:]
        inputs = inputs[:1]
    return [inputs, options]


_WITH_STATES = {"LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM2D", "Bidirectional"}


# Graph.


def graph(state: Any) -> Record:
    """Graph → a network of layers: inputs, nodes and their merges, outputs"""
    layers: dict[str, Record] = {}
    nodes: dict[str, Any] = {}
    ends: dict[str, list[Any]] = {}
    for one in state.get("input_config") or []:
        shape = one.get("batch_input_shape") or [None, *(one.get("input_shape") or ())]
        dtype = {"float": "float32", "int": "int32"}.get(one.get("dtype"), one.get("dtype"))
        layers[one["name"]] = _input(one["name"], shape, dtype)
        ends[one["name"]] = [one["name"], 0, 0]
    for one in state.get("node_config") or []:
        name = one["name"]
        record = state["layers"][name]
        record.state.pop("batch_input_shape", None)
        record["name"] = name
        layers[name] = record
        nodes[name] = [[_sources(one, name, layers, nodes, ends), {}]]
        ends[name] = [name, 0, 0]
    outputs = []
    for one in state.get("output_config") or []:
        found = _sources(one, one["name"], layers, nodes, ends)
        outputs += found
    return Record(
        "keras.Model",
        {
            "name": "graph",
            "trainable": True,
            "layers": layers,
            "nodes": nodes,
            "input_layers": [
                ends[one["name"]] for one in state.get("input_config") or []
            ],
            "output_layers": outputs,
        },
        version=NOW,
    )  # fmt: skip


_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "concat": "Concatenate",
    "max": "Maximum",
}


def _sources(
    node: Any,
    name: str,
    layers: dict[str, Record],
    nodes: dict[str, object],
    ends: dict[str, list[Any]],
) -> list[object]:
    """What a node takes: one output, or the merge of several."""
    if node.get("input"):
        return [ends[node["input"]]]
    names = node.get("inputs") or []
    if len(names) == 1:
        return [ends[names[0]]]
    mode = node.get("merge_mode", "concat")
    if mode not in _MERGES:
        raise refused(f"merge_mode={mode!r} of {name!r}", "no layer of today does this in a Graph.")
    options = {"axis": node.get("concat_axis", -1)} if mode == "concat" else {}
    merged = layer(_MERGES[mode], name=_free(f"{name}_merge", layers), **options)
    layers[merged["name"]] = merged
    nodes[merged["name"]] = [[[ends[one] for one in names], {}]]
    return [[merged["name"], 0, 0]]
