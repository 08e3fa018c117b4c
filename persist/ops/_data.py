"""Ready-made steps as JSON, and back (`docs/ops.md` is the specification).

    {"op": "rename", "names": {"W": "weights"}}

A value that JSON has no form for is an object with one key that begins with ``$``. Functions are no
data; those of a fixed list have names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from persist.tree import ABSENT
from persist.typing import Array

__all__ = ["from_data", "from_text", "to_data", "to_text"]

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        kind.__name__: kind
        for kind in (bool, int, float, complex, str, bytes, list, tuple, dict, set)
    },
    "numpy.asarray": np.asarray,
}
_NAMES = {function: name for name, function in _FUNCTIONS.items()}


Kinds = Mapping[str, Any]  # name -> class of a ready-made step


def to_text(step: object, kinds: Kinds) -> str:
    """Return one step, or several, as JSON text."""
    return json.dumps(to_data(step, kinds), ensure_ascii=False, allow_nan=False)


def from_text(text: str, kinds: Kinds) -> object:
    """Return the step, or the tuple of steps, that a JSON text holds."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise ValueError(f"these are no steps: {error}.") from error
    if isinstance(said, list):
        return tuple(from_data(one, kinds) for one in said)
    return from_data(said, kinds)


def to_data(step: Any, kinds: Kinds) -> object:
    """Return one step as a dict, or several as a list of them.

    Raises:
        TypeError: a function is in it, or a value that is no data.
    """
    if isinstance(step, list | tuple):
        return [to_data(one, kinds) for one in step]
    if not isinstance(step, kinds["Op"]):
        raise TypeError(f"{step!r} is no step of persist.ops.")
    name = type(step).__name__
    if name not in _ARGUMENTS or kinds.get(name) is not type(step):
        raise TypeError(f"{step!r} is a step of your own; only those of persist.ops can be data.")
    said: dict[str, Any] = {"op": name}
    for key in _ARGUMENTS[name]:
        value = _argument(step, key)
        is_empty = value is None or value is False or (isinstance(value, str) and not value)
        if value is not ABSENT and not (is_empty and key in _LEFT_OUT):
            said[key] = _VALUES.get(key, _plain)(value)
    return said


def from_data(said: Any, kinds: Kinds) -> object:
    """Return the step that a dict describes.

    Raises:
        ValueError: it describes none.
    """
    if not isinstance(said, dict) or said.get("op") not in _ARGUMENTS:
        raise ValueError(f"{said!r} is no step; known are {', '.join(sorted(_ARGUMENTS))}.")
    name = said["op"]
    unknown = said.keys() - {"op", *_ARGUMENTS[name]}
    if unknown:
        raise ValueError(f"the step {name!r} has no {', '.join(map(repr, sorted(unknown)))}.")
    given = {key: _BACK.get(key, _value)(value) for key, value in said.items() if key != "op"}
    try:
        return _made(name, kinds[name], given)
    except (TypeError, KeyError) as error:
        raise ValueError(f"the step {said!r} cannot be made: {error}.") from error


# Arguments of each step, in the order in which they are written.
_ARGUMENTS = {
    "unpack": ("names",),
    "pack": ("names",),
    "rename": ("names", "optional"),
    "add": ("name", "value", "factory", "computed"),
    "drop": ("names", "default", "factory", "computed", "optional"),
    "convert": ("name", "function", "inverse", "column", "optional"),
    "astype": ("name", "dtype", "was", "optional"),
    "transpose": ("name", "axes", "optional"),
    "reshape": ("name", "shape", "was", "optional"),
    "split": ("name", "into", "axis", "sizes"),
    "merge": ("names", "into", "axis", "sizes"),
    "nest": ("into", "names"),
    "flatten": ("name", "prefix", "names"),
    "delete": ("value",),
    "scale": ("name", "factor", "offset", "optional"),
    "replace": ("name", "pairs", "otherwise", "optional"),
    "stack": ("names", "into", "axis"),
    "unstack": ("name", "into", "axis"),
    "move": ("old", "new", "optional"),
    "rename_column": ("name", "names"),
    "add_column": ("name", "column", "dtype", "value"),
    "drop_column": ("name", "column", "dtype", "value"),
    "to_base": ("base", "names", "version", "optional"),
    "from_base": ("base", "names", "version", "optional"),
}
_LEFT_OUT = frozenset(
    ("optional", "factory", "computed", "inverse", "was", "axes", "sizes", "prefix")
)


def _argument(step: Any, key: str) -> object:
    if key == "inverse":
        return step.back
    if type(step).__name__ == "rename" and key == "names":
        return step.given  # a key that itself holds slashes is renamed as a whole
    if type(step).__name__ == "merge" and key in ("names", "into"):
        way = f"{step.way}/" if step.way else ""
        return way + step.into if key == "into" else [way + name for name in step.names]
    if type(step).__name__ == "convert" and key == "column" and step.column is None:
        return ABSENT
    return getattr(step, key)


def _made(name: str, kind: Any, given: dict[str, Any]) -> object:
    if name in ("unpack", "pack", "drop"):
        return kind(*given.pop("names"), **given)
    if name == "nest":
        return kind(given["into"], **given["names"])
    if name in ("to_base", "from_base"):
        return kind(given.pop("base"), *given.pop("names"), **given)
    if name == "rename":
        return kind(given.pop("names"), **given)
    return kind(**given)


# Values.


def _names(value: Any) -> object:
    return dict(value) if isinstance(value, dict) else None if value is None else list(value)


def _dtype(value: Any) -> object:
    return None if value is None else np.lib.format.dtype_to_descr(np.dtype(value))


def _dtype_or_shape(value: Any) -> object:
    return _dtype(value) if isinstance(value, np.dtype) else list(value)


def _pairs(value: Any) -> object:
    return [[_plain(old), _plain(new)] for old, new in value]


_VALUES: dict[str, Callable[[Any], Any]] = {
    "names": _names, "into": lambda value: value if isinstance(value, str) else list(value),
    "dtype": _dtype, "was": _dtype_or_shape, "shape": list, "axes": list, "sizes": list, "pairs": _pairs,
}  # fmt: skip


def _dtype_back(value: Any) -> Any:
    if isinstance(value, list):
        value = [
            tuple(tuple(one) if isinstance(one, list) else one for one in row) for row in value
        ]
    return np.lib.format.descr_to_dtype(value)


def _was_back(value: Any) -> object:
    is_shape = isinstance(value, list) and all(isinstance(one, int) for one in value)
    return tuple(value) if is_shape else _dtype_back(value)


_BACK: dict[str, Callable[[Any], Any]] = {
    "names": lambda value: value,
    "into": lambda value: value,
    "dtype": _dtype_back,
    "was": _was_back,
    "pairs": lambda value: [(_value(old), _value(new)) for old, new in value],
    "axes": tuple,
    "shape": tuple,
    "sizes": tuple,
}


def _plain(value: Any) -> Any:
    """A value in JSON."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if type(value) is list:
        return [_plain(one) for one in value]
    if type(value) is dict:
        if all(type(key) is str for key in value) and not any(key[:1] == "$" for key in value):
            return {key: _plain(one) for key, one in value.items()}
        return {"$dict": [[_plain(key), _plain(one)] for key, one in value.items()]}
    for kind, mark in ((tuple, "$tuple"), (set, "$set"), (frozenset, "$frozenset")):
        if type(value) is kind:
            items = value if kind is tuple else sorted(value, key=repr)
            return {mark: [_plain(one) for one in items]}
    if type(value) is complex:
        return {"$complex": [_plain(value.real), _plain(value.imag)]}
    if type(value) is bytes:
        return {"$bytes": value.hex()}
    if isinstance(value, np.generic):
        return {"$scalar": _array(np.asarray(value))}
    if isinstance(value, np.ndarray):
        return {"$array": _array(value)}
    if callable(value) and value in _NAMES:
        return {"$function": _NAMES[value]}
    raise TypeError(
        f"{value!r} is no data; write the step as a function, or use one of {', '.join(_FUNCTIONS)}."
    )


def _array(array: Array) -> dict[str, object]:
    if array.dtype.hasobject:
        raise TypeError("an array of objects is no data.")
    return {
        "dtype": np.lib.format.dtype_to_descr(array.dtype),
        "shape": list(array.shape),
        "hex": np.ascontiguousarray(array).tobytes().hex(),
    }


def _value(said: Any) -> Any:
    if isinstance(said, list):
        return [_value(one) for one in said]
    if not isinstance(said, dict):
        return said
    if len(said) == 1:
        ((mark, inner),) = said.items()
        if mark in _MARKS:
            return _MARKS[mark](inner)
        if mark[:1] == "$":
            raise ValueError(f"{mark!r} is no kind of value.")
    return {key: _value(one) for key, one in said.items()}


def _array_back(said: dict[str, Any]) -> Array:
    dtype = _dtype_back(said["dtype"])
    if dtype.hasobject:
        raise ValueError("an array of objects is no data.")
    return np.frombuffer(bytes.fromhex(said["hex"]), dtype).reshape(said["shape"]).copy()


def _function_back(name: str) -> Callable[..., Any]:
    if name not in _FUNCTIONS:
        raise ValueError(f"{name!r} is no function that a step may name.")
    return _FUNCTIONS[name]


_MARKS: dict[str, Callable[[Any], object]] = {
    "$float": float,
    "$dict": lambda inner: {_value(key): _value(one) for key, one in inner},
    "$tuple": lambda inner: tuple(map(_value, inner)),
    "$set": lambda inner: set(map(_value, inner)),
    "$frozenset": lambda inner: frozenset(map(_value, inner)),
    "$complex": lambda inner: complex(*map(_value, inner)),
    "$bytes": bytes.fromhex,
    "$scalar": lambda inner: _array_back(inner)[()],
    "$array": _array_back,
    "$function": _function_back,
}
