"""Names by which Python, or this library, finds code or identity on an instance.

A file may give an instance any attribute but these: an instance whose
``__class__`` or ``__reduce_ex__`` comes from a file is not what its class says it
is. Other names with two underscores (``__networkx_cache__``) are ordinary
attributes of a user's class.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping

from persist.errors import RestoreError

__all__ = ["is_machinery", "machinery_in", "refuse_changed", "refuse_machinery"]

# What the types of the language itself define: the object protocol, descriptors, operators.
_TYPES = (
    object, type, int, float, complex, str, bytes, list, dict, set, tuple, types.FunctionType,
    types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, property, memoryview, BaseException,
)  # fmt: skip
# What pickle, copy, dataclasses, attrs and NumPy look for on the instance itself.
_PROTOCOLS = (
    "__getnewargs__", "__getnewargs_ex__", "__getinitargs__", "__getstate__", "__setstate__", "__copy__",
    "__deepcopy__", "__replace__", "__objclass__", "__slots__", "__weakref__", "__getattr__", "__matmul__",
    "__rmatmul__", "__imatmul__", "__idiv__", "__missing__", "__fspath__", "__length_hint__", "__match_args__",
    "__post_init__", "__array__", "__array_interface__", "__array_struct__", "__array_ufunc__",
    "__array_function__", "__array_wrap__", "__array_prepare__", "__array_finalize__", "__array_namespace__",
    "__cuda_array_interface__", "__dlpack__", "__dlpack_device__", "__torch_function__",
    "__torch_dispatch__", "__signature__", "__loaded__",
)  # fmt: skip
# What describes an instance to people; as a text it changes nothing that Python does.
_TEXTS = frozenset(("__doc__", "__module__", "__name__", "__qualname__"))
_PREFIXES = ("_persist_", "__attrs_", "__dataclass_", "__pydantic_")


def _is_special(name: str) -> bool:
    return len(name) > 4 and name.startswith("__") and name.endswith("__")


MACHINERY = frozenset(
    (*filter(_is_special, (name for kind in _TYPES for name in dir(kind))), *_PROTOCOLS)
)


def is_machinery(name: object, value: object = None) -> bool:
    """Whether a file may not set an attribute of this name to this value on an instance."""
    if type(name) is not str:
        return isinstance(name, str) and is_machinery(str.__str__(name), value)
    if name[:1] != "_":
        return False
    if name in MACHINERY:
        return name not in _TEXTS or not (value is None or type(value) is str)
    return name.startswith(_PREFIXES)


def machinery_in(state: object) -> list[str]:
    """Return the names in a state, a dict or pickle's pair of dicts, that no file may set."""
    parts = state if type(state) is tuple else (state,)
    return [
        name
        for part in parts
        if isinstance(part, Mapping)
        for name, value in part.items()
        if is_machinery(name, value)
    ]


def refuse_machinery(names: Iterable[object], where: str | None = None, schema: str = "") -> None:
    """Refuse a state with these names, if there are any.

    Raises:
        RestoreError: there are.
    """
    found = list(names)
    if found:
        listed = ", ".join(map(repr, found))
        raise RestoreError(
            f"its state would set {listed} on the instance, which Python itself uses and no file may set.",
            where=where,
            remedy="Neither persist nor a plain instance ever writes such a name: the file was altered, or "
            "its class overrides that name on instances. Declare the class, count version= up and drop it in a "
            f"migration: persist.ops.drop({listed}).",
            schema=schema,
        )


def refuse_changed(obj: object, cls: type, state: object, where: str | None = None) -> None:
    """Refuse what a class's own ``__setstate__`` took over from a file, name by name.

    A codec may have such a key in its state and mean something else by it; only
    where the instance then bears it, or is of another class, was it set.

    Raises:
        RestoreError: it bears one.
    """
    named = machinery_in(state)
    if not named:
        return
    there = getattr(obj, "__dict__", {})
    found = [
        name for name in named if name in there or (name == "__class__" and type(obj) is not cls)
    ]
    if found:
        if isinstance(there, dict):
            for name in found:
                there.pop(name, None)
        if type(obj) is not cls:
            object.__setattr__(obj, "__class__", cls)
        refuse_machinery(found, where)
