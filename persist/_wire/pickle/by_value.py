"""Classes that a pickle holds by value: which module and name they had.

A class of a notebook or a script cannot be imported where its pickle is read, so cloudpickle and
dill write the class itself: its name, its bases and what is in it. Here only the name is taken;
the code of methods stays data.

Sources: ``cloudpickle/cloudpickle.py`` of 0.2 to 3.1 (``_make_skeleton_class``,
``_make_skeleton_enum``, ``_rehydrate_skeleton_class``, ``_load_namedtuple``), ``dill/_dill.py`` of
0.2.5 to 0.4 (``_create_type``, ``_create_namedtuple``); ``type(name, bases, dict)`` itself.
"""

from __future__ import annotations

from typing import Any

from persist.tree import Global, Record

__all__ = ["class_of"]

_LONGEST = 4096  # characters of a class's name


def class_of(record: Record) -> Global | None:
    """Return the module and name of the class that a record is, or None: it is no class by value."""
    maker = record.maker
    args = record.args
    if maker is None or not args:
        return None
    name = maker.name
    library = maker.module.partition(".")[0]
    found: tuple[Any, Any] | None = None
    if library == "cloudpickle" or maker.module.endswith(".cloudpickle"):
        found = _of_cloudpickle(record, name, args)
    elif library == "dill":
        found = _of_dill(name, args)
    elif maker.qualname in ("builtins.type", "__builtin__.type") and len(args) == 3:
        found = _described(args[0], args[2])
    if found is None:
        return None
    module, own = found
    if not isinstance(own, str) or not own or len(own) > _LONGEST:
        return None
    return Global(module if isinstance(module, str) and module else "__main__", own)


def _of_cloudpickle(
    record: Record, name: str, args: tuple[object, ...]
) -> tuple[object, object] | None:
    state = record.state
    inside = state[0] if isinstance(state, tuple) and state else state
    if name == "_make_skeleton_class" and len(args) >= 4:
        extra = args[3] if isinstance(args[3], dict) else {}
        kept = inside if isinstance(inside, dict) else {}
        return kept.get("__module__", extra.get("__module__")), kept.get("__qualname__", args[1])
    if name == "_make_skeleton_enum" and len(args) >= 5:
        return args[4], args[2] if isinstance(args[2], str) else args[1]
    if name == "_rehydrate_skeleton_class" and len(args) == 2 and isinstance(args[0], Record):
        skeleton = args[0]
        own = next((part for part in skeleton.args if isinstance(part, str)), None)
        return _described(own, args[1])
    if name == "_load_namedtuple" and len(args) == 2:
        return None, args[0]
    return None


def _of_dill(name: str, args: tuple[object, ...]) -> tuple[object, object] | None:
    if name == "_create_type" and len(args) >= 4:
        return _described(args[1], args[3])
    if name == "_create_namedtuple" and len(args) >= 3:
        return args[2], args[0]
    return None


def _described(name: object, fields: object) -> tuple[object, object]:
    """The name of a class and what is in it."""
    known = fields if isinstance(fields, dict) else {}
    own = known.get("__qualname__", name)
    return known.get("__module__"), own if isinstance(own, str) else name
