"""Theano, Aesara and PyTensor: shared variables as values; graphs are described and never built.

A shared variable keeps its value in ``container.storage[0]``, a list of length 1, and its name in a
field. Arrays of the GPU are pickled as calls with a NumPy array in them. Symbolic variables and
compiled functions hold cyclic graphs: paths do not descend into them, but the shared variables in
them are found by their own names, and ``file.structure["objects"]`` describes their nodes.

Classes moved between modules in nearly every release, and users derive their own. So records are
recognised by their fields, not by the name of their class: a variable has a type and an owner, a
node an op, inputs and outputs.

``theano.tsv`` maps the classes to their names in Aesara and PyTensor.

Evidence: ``theano/compile/sharedvalue.py``, ``gof/link.py`` (Container), ``gof/graph.py``,
``compile/function_module.py`` (``_pickle_Function``), ``compile/io.py``,
``sandbox/cuda/type.py`` and ``gpuarray/type.py`` (the unpicklers) of Theano 0.3 to 1.0.5;
``aesara/graph/basic.py``, ``pytensor/graph/basic.py`` (``_owner`` since Aesara 2.5.3, ``_index``
since 2.8.9); files of 0.3.1 to PyTensor 2.17.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from persist.packs import _renames
from persist.registry import Registry
from persist.tree import ABSENT, Global, LazyArray, Record, View

__all__ = ["pack", "renames", "teach"]

_FROM_GPU = ("CudaNdarray_unpickler", "GpuArray_unpickler")
_FUNCTIONS = ("_constructor_Function", "Function")
_MAKERS = ("_constructor_FunctionMaker", "FunctionMaker")
_SLOTS = ("In", "Out", "Param", "SymbolicInput", "SymbolicInputKit", "SymbolicOutput")
_DESCRIBED = 10_000  # nodes of all graphs of a file that are described


def teach(library: str) -> Registry:
    """Return the pack of Theano, or of a successor that writes the same objects."""
    taught = Registry(library)
    taught.plain(f"{library}.*")(look)
    taught.plain_like(look_like)
    return taught


def look(record: Record, looker: object) -> object:
    """Show a record of one of the library's classes; None if it is an ordinary instance."""
    name = record.cls.name
    if name in _FROM_GPU:
        return _from_gpu(record, looker)
    if name in _FUNCTIONS:
        return _graph(record, looker, lambda most: _function(record, most))
    if name in _MAKERS or name in _SLOTS:
        return _graph(record, looker, lambda most: {"class": record.qualname})
    fields = record.fields()
    if {"inputs", "outputs"} <= fields.keys() and {"op", "clients", "apply_nodes"} & fields.keys():
        return _graph(record, looker, lambda most: _whole(record, most))
    if "type" in fields and not {"owner", "_owner", "container", "data"}.isdisjoint(fields):
        return _variable(record, looker)
    return None


def look_like(record: Record, looker: object) -> object:
    """Show a variable of a user's class (such as PyMC3's random variables)."""
    fields = record.fields()
    if "owner" not in fields and "_owner" not in fields:
        return None
    if not isinstance(fields.get("type"), Record) or not isinstance(fields.get("tag"), Record):
        return None
    return _variable(record, looker)


def _variable(record: Record, looker: object) -> View:
    """Show a shared variable as its value, and other variables as graphs."""
    fields = record.fields()
    container = fields.get("container")
    if isinstance(container, Record):
        held = container.fields()
        if _storage(held) is not None:
            return _value(held, fields, looker)
    return _graph(record, looker, lambda most: {**_facts(record), **_whole(record, most)})


# Variables with a value.


def _storage(container: dict[object, object]) -> list[object] | None:
    storage = container.get("storage")
    return storage if isinstance(storage, list) and len(storage) == 1 else None


def _value(container: dict[Any, Any], fields: dict[Any, Any], looker: Any) -> View:
    """Show a shared variable as its value, with its name as a part.

    The graph of a compiled function is a copy whose variables share their storage with the original
    ones, so views are cached by storage.
    """
    views = _PASSED.setdefault(looker, _Passed()).views
    storage = container["storage"]
    known = views.get(id(storage))
    if known is None:
        known = views[id(storage)] = (storage, _view(storage[0], fields, looker))
    return known[1]


def _view(stored: object, fields: dict[object, object], looker: object) -> View:
    value = _unwrapped(stored, looker)
    facts = {"name": _text(fields.get("name")), **_type(fields.get("type"))}
    return View(value, {"name": fields.get("name")}, structure={"shared": facts}, alone="value")


def _unwrapped(value: object, looker: Any) -> object:
    """Return a value as packs show it; an array of the GPU becomes the array itself."""
    seen = looker.through(value)
    if isinstance(seen, View) and seen.value is not ABSENT and not seen.parts:
        return seen.value
    return value


def _from_gpu(record: Record, looker: object) -> object:
    """Show an array of the GPU: args are (array), or since 0.8 (array, name of its context)."""
    if not record.args or len(record.args) > 2:
        return None
    array = _unwrapped(record.args[0], looker)
    if not isinstance(array, np.ndarray | LazyArray):
        return None
    return View(array, alone="value")


# Graphs.


@attrs.define
class _Passed:
    """Parts of the graphs of one tree that were visited already; graphs share most of their nodes.

    Attributes:
        parts: the visited parts, by identity.
        views: the views of shared variables, by identity of their storage.
        unnamed: shared variables without a name so far.
        nodes: nodes that may still be described.
    """

    parts: dict[int, Any] = attrs.Factory(dict)
    views: dict[int, tuple[Any, View]] = attrs.Factory(dict)
    unnamed: int = 0
    nodes: int = _DESCRIBED


_PASSED: weakref.WeakKeyDictionary[object, _Passed] = weakref.WeakKeyDictionary()


def _graph(record: Record, looker: object, describe: Callable[[int], dict[str, Any]]) -> View:
    """Show a symbolic object: no value, but the shared variables in it by their own names."""
    passed = _PASSED.setdefault(looker, _Passed())

    @functools.cache
    def hoisted() -> list[tuple[str, Any]]:
        found = []
        for shared in _shared_in(record, passed.parts):
            name = _text(shared.fields().get("name"))
            if not name:
                name = f"shared_{passed.unnamed}"
                passed.unnamed += 1
            found.append((name, shared))
        return found

    @functools.cache
    def structure() -> dict[str, Any]:
        facts = describe(passed.nodes)
        passed.nodes -= len(facts.get("nodes", ()))
        return facts

    return View(hoisted=hoisted, structure=structure)


def _shared_in(root: Record, passed: dict[int, object]) -> Iterator[Record]:
    """Yield the shared variables in a graph, in the order of the file, none of them twice."""
    todo: list[object] = [root]
    while todo:
        value = todo.pop()
        if not isinstance(value, Record | dict | list | tuple | set | frozenset):
            continue
        if id(value) in passed:
            continue
        passed[id(value)] = value
        if not isinstance(value, Record):
            items = [*value, *value.values()] if isinstance(value, dict) else [*value]
            todo += reversed(items)
            continue
        below = [*value.args, value.kwargs, *value.listitems, value.dictitems, value.state]
        container = value.fields().get("container")
        storage = _storage(container.fields()) if isinstance(container, Record) else None
        if storage is not None and id(storage) not in passed:
            passed[id(storage)] = storage
            yield value
        if value.cls.name != "Container":  # its value is that of a variable, or of a default
            todo += reversed(below)


# Descriptions of graphs.


def _text(name: object) -> Any:
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    return str(name) if isinstance(name, str) else None


def _type(kind: object) -> dict[str, object]:
    """Return the dtype of a tensor's type, and which axes have length 1."""
    fields = kind.fields() if isinstance(kind, Record) else {}
    facts: dict[str, object] = {}
    dtype = fields.get("dtype")
    if isinstance(dtype, str):
        facts["dtype"] = str(dtype)
    broadcastable = fields.get("broadcastable")
    shape = fields.get("shape")
    if isinstance(broadcastable, tuple | list):
        facts["broadcastable"] = [bool(flag) for flag in broadcastable]
    elif isinstance(shape, tuple | list):
        facts["shape"] = [size if isinstance(size, int) else None for size in shape]
    return facts


def _facts(record: Record) -> dict[str, object]:
    fields = record.fields()
    facts = {"class": record.qualname, "name": _text(fields.get("name"))}
    facts.update(_type(fields.get("type")))
    owner = _owner(record)
    if owner is not None:
        facts.update(_op(owner.fields().get("op")))
    return facts


def _owner(record: Record) -> Record | None:
    fields = record.fields()
    owner = fields.get("owner", fields.get("_owner"))
    return owner if isinstance(owner, Record) else None


def _op(op: object) -> dict[str, object]:
    """Describe an op by its class, and by its inner op if it has one (``Elemwise{add}``)."""
    if isinstance(op, Global):
        return {"op": op.name, "op_class": op.qualname}
    if not isinstance(op, Record):
        return {"op": type(op).__name__}
    fields = op.fields()
    name = _text(fields.get("name"))
    inner = fields.get("scalar_op")
    if not name and isinstance(inner, Record):
        name = _text(inner.fields().get("name")) or inner.cls.name
        return {"op": f"{op.cls.name}{{{name}}}", "op_class": op.qualname}
    return {"op": name or op.cls.name, "op_class": op.qualname}


def _function(record: Record, most: int) -> dict[str, object]:
    """A compiled function: the names of its inputs and shared variables, its graph."""
    inputs, outputs = _ends(record)
    named = [_name_of(item) for item in inputs]
    return {"class": record.qualname, "inputs": named, **_nodes([*inputs, *outputs], most)}


def _name_of(end: Record) -> Any:
    """The name of an input, or of the variable in it."""
    fields = end.fields()
    inner = fields.get("variable")
    name = _text(fields.get("name"))
    return _text(inner.fields().get("name")) if not name and isinstance(inner, Record) else name


def _ends(record: Record) -> tuple[list[Record], list[Record]]:
    """The inputs and outputs of a function's maker, or of its graph.

    A maker is made with a dict of them; since 0.9 it may also be pickled as any instance.
    """
    maker = record.args[0] if record.args else None
    if not isinstance(maker, Record):
        return [], []
    parts = maker.args[0] if maker.args and isinstance(maker.args[0], dict) else maker.fields()
    graph = parts.get("fgraph")
    found = []
    for name in ("inputs", "outputs"):
        items = parts.get(name)
        if items is None and isinstance(graph, Record):
            items = graph.fields().get(name)
        items = items if isinstance(items, list | tuple) else [items]
        found.append([item for item in items if isinstance(item, Record)])
    return found[0], found[1]


def _whole(record: Record, most: int) -> dict[str, Any]:
    """A graph from what it is reached by: a variable, a node, or a graph with outputs."""
    fields = record.fields()
    outputs = fields.get("outputs")
    if isinstance(outputs, list | tuple) and "op" not in fields:
        inputs = fields.get("inputs")
        inputs = inputs if isinstance(inputs, list | tuple) else []
        return {"class": record.qualname, **_nodes([*inputs, *outputs], most)}
    return _nodes([record], most)


def _nodes(ends: list[object], most: int) -> dict[str, object]:
    """The nodes above some variables: each op with its inputs and outputs, inputs first.

    Variables without a name are numbered.
    """
    if most <= 0:
        return {"nodes_left_out": True}
    labels: dict[int, str] = {}

    def label(variable: object) -> str:
        if not isinstance(variable, Record):
            return type(variable).__name__
        known = labels.get(id(variable))
        if known is None:
            name = _text(variable.fields().get("name"))
            known = labels[id(variable)] = name or f"<{variable.cls.name} {len(labels)}>"
        return known

    nodes: list[dict[str, object]] = []
    for node in _in_order(ends):
        if len(nodes) >= most:
            return {"nodes": nodes, "nodes_left_out": True}
        fields = node.fields()
        facts = _op(fields.get("op"))
        facts["inputs"] = [label(item) for item in _items(fields.get("inputs"))]
        facts["outputs"] = [label(item) for item in _items(fields.get("outputs"))]
        nodes.append(facts)
    return {"nodes": nodes} if nodes else {}


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _in_order(ends: list[object]) -> Iterator[Record]:
    """Yield the nodes above some variables, each after those that its inputs come from."""
    seen: set[int] = set()
    todo: list[tuple[object, bool]] = [(end, False) for end in reversed(ends)]
    while todo:
        value, is_above = todo.pop()
        if not isinstance(value, Record):
            continue
        if is_above:
            yield value
            continue
        if id(value) in seen:
            continue
        seen.add(id(value))
        fields = value.fields()
        if "op" in fields and "inputs" in fields:  # a node
            todo.append((value, True))
            todo += [(item, False) for item in reversed(_items(fields["inputs"]))]
            continue
        owner = _owner(value)
        if owner is not None:
            todo.append((owner, False))
        elif isinstance(fields.get("variable"), Record):  # an input or output of a function
            todo += [(fields.get("update"), False), (fields["variable"], False)]


pack = teach("theano")
renames = _renames.teach(pack, __name__)
