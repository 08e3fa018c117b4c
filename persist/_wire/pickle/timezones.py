"""Time zones of other libraries in pickles: what offset they mean for one moment.

A zone outside of a moment stays the record that the file holds; a moment that has one gets an
offset from it, which is exact for that moment. Nothing is looked up but a zone's own parts,
and, of a zone that has only a name, this machine's table of zones.

Sources: pytz's ``tzinfo.py`` (``_p``: name, seconds east, seconds of summer time, abbreviation;
of a zone that never changed, the name alone) and ``__init__.py`` (``FixedOffset``: minutes);
dateutil's ``tz/tz.py`` of 1.4 to 2.9 (``tzutc``, ``tzoffset``, ``tzlocal``,
``tzfile``, whose state is the table of the zone), and ``tz/_tzfile.py`` since 3.0.
"""

from __future__ import annotations

import bisect
import datetime
from typing import Any

from persist._runtime.lazy_regex import regex
from persist.tree import Global, Record
from persist.typing import State

__all__ = ["named", "zone_of"]

_NAME = regex(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")
_EPOCH = datetime.datetime(1970, 1, 1)
_DATEUTIL = ("tzutc", "tzoffset", "tzlocal", "tzfile")


def named(key: object) -> datetime.tzinfo | None:
    """Return the zone of a name in this machine's table, or None."""
    import zoneinfo

    if not isinstance(key, str) or not _NAME.fullmatch(key):
        return None
    try:
        return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, OSError):  # a folder of zones is an OSError
        return None


def zone_of(zone: object, moment: datetime.datetime | None = None) -> datetime.tzinfo | None:
    """Return the time zone of a record, or None if its parts do not determine one.

    Args:
        zone: a ``tzinfo``, or the record of one of pytz or dateutil.
        moment: the wall clock's time there, without a zone; a zone whose offset changes needs it.
    """
    if isinstance(zone, datetime.tzinfo):
        return zone
    if not isinstance(zone, Record):
        return None
    library, _, _ = zone.cls.module.partition(".")
    if library == "pytz":
        return _pytz(zone)
    return _dateutil(zone, moment) if library == "dateutil" else None


def _fixed(offset: Any, name: object) -> datetime.tzinfo | None:
    if type(offset) in (int, float):
        offset = datetime.timedelta(seconds=offset)
    if not isinstance(offset, datetime.timedelta):
        return None
    try:
        return (
            datetime.timezone(offset, name) if isinstance(name, str) else datetime.timezone(offset)
        )
    except ValueError:  # a day or more
        return None


def _pytz(zone: Record) -> datetime.tzinfo | None:
    args = zone.args
    if zone.cls.name == "_p" and len(args) == 4 and type(args[1]) is int:
        return _fixed(args[1], args[0])
    if zone.cls.name == "_p" and len(args) == 1:
        return named(args[0])
    if zone.cls.name == "FixedOffset" and len(args) == 1 and type(args[0]) is int:
        return _fixed(60 * args[0], None)
    return None


def _dateutil(zone: Record, moment: datetime.datetime | None) -> datetime.tzinfo | None:
    name, fields = zone.cls.name, zone.fields()
    if name == "_unpickle" and zone.args and isinstance(zone.args[0], Global):
        name = zone.args[0].name
    if name not in _DATEUTIL:
        return None
    if name == "tzutc":
        return datetime.UTC
    if name == "tzoffset":
        label, offset = (*zone.args, None, None)[:2]
        return _fixed(fields.get("_offset", offset), fields.get("_name", label))
    if name == "tzlocal":
        is_fixed = fields.get("_std_offset") == fields.get("_dst_offset")
        return _fixed(fields.get("_std_offset"), None) if is_fixed else None
    if (
        zone.cls.name == "_unpickle" and len(zone.args) > 1
    ):  # 3.0 and later: (class, key, file, table)
        return named(zone.args[1])
    if name == "tzfile" and not fields and zone.args:  # before 2.5: the file it was read from
        return named(str(zone.args[0]).rpartition("/zoneinfo/")[2])
    return None if moment is None else _at(fields, moment)


def _at(fields: State, moment: datetime.datetime) -> datetime.tzinfo | None:
    """Look a moment up in a zone's table: the transitions by the wall clock, and what each began."""
    changes, kinds = fields.get("_trans_list"), fields.get("_trans_idx")
    kind = fields.get("_ttinfo_std")
    if isinstance(changes, list | tuple) and isinstance(kinds, list | tuple) and changes:
        if len(changes) != len(kinds) or not all(type(change) is int for change in changes):
            return None
        seconds = (moment.replace(tzinfo=None) - _EPOCH) // datetime.timedelta(seconds=1)
        place = bisect.bisect_right(changes, seconds)
        kind = kinds[place - 1] if place else fields.get("_ttinfo_before")
        if (
            place > 1
            and not moment.fold
            and _is_twice(seconds - changes[place - 1], *kinds[place - 2 : place])
        ):
            kind = kinds[place - 2]
    if not isinstance(kind, Record):
        return None
    parts = kind.fields()
    return _fixed(parts.get("offset"), parts.get("abbr"))


def _is_twice(since: int, before: object, after: object) -> bool:
    """Whether the wall clock shows a time a second time, ``since`` seconds after a change."""
    if not isinstance(before, Record) or not isinstance(after, Record):
        return False
    offsets = before.fields().get("offset"), after.fields().get("offset")
    first, second = (_seconds(offset) for offset in offsets)
    return since < first - second


def _seconds(offset: Any) -> float:
    return offset.total_seconds() if isinstance(offset, datetime.timedelta) else float(offset)
