"""Makes records faster than their constructor does: most objects of a pickle are records."""

from __future__ import annotations

from typing import Any

from persist.tree import ABSENT, Global, Record

__all__ = ["new_record", "set_state"]

# Slots are set directly, bypassing `Record.__setattr__`; defaults stay unset (`tree._UNSET`).
_new = object.__new__
_slots = vars(Record)
_set_cls: Any = _slots["cls"].__set__
_set_maker: Any = _slots["maker"].__set__
_set_kind: Any = _slots["kind"].__set__
_set_args: Any = _slots["args"].__set__
_set_touched: Any = _slots["_touched"].__set__
_set_version: Any = _slots["version"].__set__
set_state: Any = _slots["state"].__set__


def new_record(
    cls: Global, args: tuple[object, ...], kind: str = "newobj", maker: Global | None = None
) -> Record:
    """Return a new record, whose keywords and items are created on first access."""
    record = _new(Record)
    _set_cls(record, cls)
    _set_kind(record, kind)
    set_state(record, ABSENT)
    _set_maker(record, maker)
    _set_version(record, None)
    if args:
        _set_args(record, args)
        _set_touched(record, True)
    else:
        _set_touched(record, False)
    return record
