"""Views of moments, durations and time zones."""

from __future__ import annotations

import datetime

import numpy as np
from persist.migrations._pandas.view_common import (
    add,
    looks_at,
    step_of_label,
)

from persist._wire.pickle.timezones import zone_of
from persist.tree import Record, View

__all__ = ["frequency_text", "zone_text"]


def frequency_text(freq: object = None) -> object:
    """Show a frequency as its text; an offset as class and count, with its other settings as parts."""
    if isinstance(freq, str):
        return freq.removeprefix("period[").removesuffix("]")
    if not isinstance(freq, Record):
        return freq
    fields = {**freq.fields(), **freq.kwargs}
    names = ("n", "normalize")
    made = {**dict(zip(names, freq.args, strict=False)), **fields}
    count = made.get("n", 1)
    text = freq.cls.name if count == 1 else f"{count} * {freq.cls.name}"
    extra: dict[str, object] = {}
    for name, value in made.items():
        is_usual = name in names and value in (1, False)
        if not is_usual and value not in (None, False) and value != {} and value != ():
            add(extra, step_of_label(name), value)
    for place, value in enumerate(freq.args[2:], 2):
        if value is not None:
            add(extra, f"args/{place}", value)
    if isinstance(freq.state, tuple):
        add(extra, "state", freq.state)
    return View(text, parts=extra)


def zone_text(zone: object) -> object:
    """Show a time zone as its name, with its other data as parts; or return the record itself."""
    if isinstance(zone, datetime.tzinfo):
        return getattr(zone, "key", None) or str(zone)
    if isinstance(zone, Record) and zone.args and isinstance(zone.args[0], str):
        if zone.qualname == "pytz._p" and len(zone.args) == 4:
            steps = ("utcoffset", "dst", "tzname")
            return View(zone.args[0], parts=dict(zip(steps, zone.args[1:], strict=True)))
        if zone.qualname == "pytz._p" and len(zone.args) == 1:
            return zone.args[0]
    return zone


_EPOCH = datetime.datetime(1970, 1, 1)
_UNITS = {7: 1_000_000_000, 8: 1_000_000, 9: 1_000, 10: 1}  # NPY_FR_s to NPY_FR_ns


@looks_at("Timestamp", "_unpickle_timestamp")
def _timestamp(record: Record, name: str) -> object:
    """``Timestamp(value, freq, tz[, reso])``, the value since 1970 in UTC.

    A datetime; of a moment with nanoseconds, which a datetime cannot hold, a ``datetime64[ns]``.
    """
    if not record.args or not isinstance(record.args[0], int):
        return None
    unit = record.args[3] if len(record.args) > 3 else 10
    tz = record.args[2] if len(record.args) > 2 else None
    extra: dict[str, object] = {}
    if len(record.args) > 1 and record.args[1] is not None:
        extra["freq"] = frequency_text(record.args[1])
    try:
        nanoseconds = int(record.args[0]) * _UNITS[unit]
        if nanoseconds % 1000:
            if tz is not None:
                extra["tz"] = zone_text(tz)
            return _with_parts(np.datetime64(nanoseconds, "ns"), extra)
        moment = _EPOCH + datetime.timedelta(microseconds=nanoseconds // 1000)
        zone = zone_of(tz)
        if zone is not None:
            return _with_parts(moment.replace(tzinfo=datetime.UTC).astimezone(zone), extra)
    except (OverflowError, KeyError, TypeError, ValueError):
        return None
    if tz is None:
        return _with_parts(moment, extra)
    return View(moment.replace(tzinfo=datetime.UTC), parts={**extra, "tz": zone_text(tz)})


@looks_at("Timedelta", "_timedelta_unpickle")
def _timedelta(record: Record, name: str) -> object:
    """A timedelta; of a duration with nanoseconds a ``timedelta64[ns]``."""
    if not record.args or not isinstance(record.args[0], int):
        return None
    unit = record.args[1] if len(record.args) > 1 else 10
    try:
        nanoseconds = int(record.args[0]) * _UNITS[unit]
        if nanoseconds % 1000:
            return np.timedelta64(nanoseconds, "ns")
        return datetime.timedelta(microseconds=nanoseconds // 1000)
    except (OverflowError, KeyError, TypeError):
        return None


def _with_parts(value: object, parts: dict[str, object]) -> object:
    return View(value, parts=parts) if parts else value


@looks_at("__nat_unpickle", "_nat_unpickle")
def _not_a_time(record: Record, name: str) -> object:
    return np.datetime64("NaT", "ns")
