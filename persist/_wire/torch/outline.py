"""The outline of a tree of modules and tensors, as JSON: what is no array itself.

Classes of modules and the attributes that their constructors set, facts about
tensors (parameters, views, who shares a storage), and the versions that a state
dict keeps in ``_metadata``.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any

from persist._wire.torch.storage import Storage, Tensor
from persist.tree import ABSENT, Global, Record

__all__ = ["fields_of", "is_module", "module_parts", "outline", "simple"]

_MOST = 200_000  # values that are looked at
_HELD = ("_parameters", "_buffers", "_modules")


def module_parts(fields: object) -> dict[str, object] | None:
    """Return what a module holds under the names that a person uses, or None: it is no module.

    Public attributes, parameters, buffers, and modules; what a name with an underscore in
    front holds (hooks, caches) is left out, but the packed weights of quantized layers.

    Args:
        fields: the state of an instance.
    """
    if not isinstance(fields, dict) or not all(
        isinstance(fields.get(name), dict) for name in _HELD if name in fields
    ):
        return None
    if "_modules" not in fields or "_parameters" not in fields:
        return None
    parts = {
        name: value
        for name, value in fields.items()
        if isinstance(name, str) and (not name.startswith("_") or _is_packed(value))
    }
    for held in _HELD:
        parts.update({_step(name): value for name, value in fields.get(held, {}).items()})
    return parts


def _is_packed(value: object) -> bool:
    """Whether a value is a C++ object: quantized layers keep their weights in one, and only there."""
    return isinstance(value, Record) and value.cls.name == "ScriptObject"


def is_module(value: object) -> bool:
    """Whether a value is a record of a module."""
    return isinstance(value, Record) and module_parts(fields_of(value)) is not None


def fields_of(record: Record) -> dict[object, object]:
    """Return the attributes of a record; those of an fx module are an argument of its maker."""
    if record.maker is not None and record.state is ABSENT:
        for item in record.args:
            if isinstance(item, dict) and "_modules" in item:
                return item
    return record.fields()


def _step(name: object) -> str:
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    return str(name)


def outline(tree: Any) -> dict[str, object]:
    """Return the outline of a tree, each object under the first path that leads to it."""
    modules: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    tensors: dict[str, object] = {}
    sharing: dict[int, list[str]] = {}
    for path, value in _walk(tree):
        if isinstance(value, Tensor):
            tensors[path] = _facts(value)
            sharing.setdefault(id(value.storage.blob), []).append(path)
        elif isinstance(value, Storage):
            tensors[path] = {"kind": value.kind, "storage": value.blob.key}
            sharing.setdefault(id(value.blob), []).append(path)
        elif isinstance(value, OrderedDict) and isinstance(vars(value).get("_metadata"), dict):
            metadata[path] = {
                _step(name): simple(versions) for name, versions in vars(value)["_metadata"].items()
            }
        elif is_module(value):
            modules[path] = {"class": value.qualname, **_attributes(value)}
    shared = [paths for paths in sharing.values() if len(paths) > 1]
    found = {"modules": modules, "state_dict_metadata": metadata, "tensors": tensors}
    return {
        **{name: what for name, what in found.items() if what},
        **({"shared_storage": shared} if shared else {}),
    }


def _facts(tensor: Tensor) -> dict[str, object]:
    """The properties of a tensor that an array does not have."""
    facts: dict[str, object] = {"kind": tensor.kind, "storage": tensor.storage.blob.key}
    if not _is_whole(tensor):
        facts["offset"] = tensor.offset
        facts["strides"] = list(tensor.strides)
    for name in ("requires_grad", "is_parameter", "is_conj", "is_neg"):
        if getattr(tensor, name):
            facts[name] = True
    if tensor.location != "cpu":
        facts["location"] = tensor.location
    return facts


def _is_whole(tensor: Tensor) -> bool:
    step = 1
    for extent, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if extent != 1 and stride != step:
            return False
        step *= extent
    return tensor.offset == 0 and tensor.nbytes == tensor.storage.nbytes


def _attributes(record: Record) -> dict[str, Any]:
    fields = fields_of(record)
    attributes = {
        name: simple(value)
        for name, value in fields.items()
        if isinstance(name, str) and not name.startswith("_") and _is_simple(value)
    }
    return {"attributes": attributes} if attributes else {}


def _is_simple(value: object, depth: int = 4) -> bool:
    if isinstance(value, tuple | list):
        return depth > 0 and len(value) <= 16 and all(_is_simple(item, depth - 1) for item in value)
    return value is None or isinstance(value, bool | int | float | str | Global)


def simple(value: object, depth: int = 4) -> object:
    """Return a value as JSON has it; what is not simple is left out of dicts, elsewhere named."""
    if isinstance(value, dict) and depth:
        items = ((_step(name), simple(item, depth - 1)) for name, item in value.items())
        return {name: item for name, item in items if item is not ABSENT}
    if not _is_simple(value):
        return ABSENT if depth < 4 else f"<{type(value).__name__}>"
    if isinstance(value, tuple | list):
        return [simple(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.qualname if isinstance(value, Global) else value


def _walk(tree: object) -> Iterator[tuple[str, Any]]:
    """Yield each object once, under the first path that leads to it; a tensor under each."""
    seen: set[int] = set()
    todo: deque[tuple[str, object]] = deque([("", tree)])
    visited = 0
    while todo and visited < _MOST:
        path, value = todo.popleft()
        visited += 1
        if isinstance(value, Tensor | Storage):
            yield path, value
            continue
        if id(value) in seen:
            continue
        steps = _steps(value)
        if steps is None:
            continue
        seen.add(id(value))
        yield path, value
        prefix = f"{path}/" if path else ""
        todo.extend((f"{prefix}{step}" if step else path, item) for step, item in steps)


def _steps(value: object) -> Iterator[tuple[str, object]] | None:
    """What lies below a value; None of what is no container."""
    if isinstance(value, dict):
        return ((_step(key), item) for key, item in value.items() if not isinstance(key, tuple))
    if isinstance(value, list | tuple):
        return ((str(index), item) for index, item in enumerate(value))
    if isinstance(value, Record) and value.cls.name == "_rebuild_qtensor" and len(value.args) > 4:
        return _of_quantized(value)
    if isinstance(value, Record):
        fields = fields_of(value)
        parts = module_parts(fields)
        if parts is not None:
            return iter(parts.items())
        return iter([*((_step(name), item) for name, item in fields.items()),
                     *((f"args/{index}", item) for index, item in enumerate(value.args))])  # fmt: skip
    return None


def _of_quantized(record: Record) -> Iterator[tuple[str, object]]:
    """The integers have the tensor's own path; scales and zero points are listed next to it."""
    yield "", record.args[0]
    quantizer = record.args[4]
    if isinstance(quantizer, tuple) and len(quantizer) == 4:
        yield "q_per_channel_scales", quantizer[1]
        yield "q_per_channel_zero_points", quantizer[2]
