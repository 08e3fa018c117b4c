"""Moments, spans, periods, intervals, offsets and time zones."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import Any

from persist.migrations._pandas.common import expect, fields, maker, named, pandas

from persist._wire.pickle.timezones import zone_of
from persist.errors import RestoreError
from persist.packs import Record

__all__ = ["frequency", "zone"]

_UNITS = {7: "s", 8: "ms", 9: "us", 10: "ns"}  # NPY_FR_s to NPY_FR_ns


def zone(value: object) -> object:
    """The time zone that a part of a state is: None, a ``tzinfo``, or a name.

    Raises:
        RestoreError: it is something else.
    """
    if value is None or isinstance(value, datetime.tzinfo):
        return value
    if isinstance(value, str):
        try:
            return zoneinfo.ZoneInfo(value.removeprefix("dateutil/"))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise RestoreError(f"the time zone {value!r} is not known here") from error
    raise RestoreError(f"its time zone is a {type(value).__name__}")


@maker("_p", "_UTC", "_utc", "_FixedOffset", "FixedOffset", "StaticTzInfo", "DstTzInfo")
def pytz_zone(record: Record) -> object:
    """A zone of pytz, as the zone of that name of the standard library."""
    if record.cls.name in ("_UTC", "_utc"):
        return datetime.UTC
    if record.args and isinstance(record.args[0], str):  # with the offset of one moment, or without
        return zone(record.args[0])
    found = zone_of(record)
    if found is not None:
        return found
    if record.args and isinstance(record.args[0], int):
        return datetime.timezone(datetime.timedelta(minutes=record.args[0]))
    raise RestoreError("it is a zone of pytz of an unknown form")


@maker("tzutc")
def dateutil_utc(record: Record) -> object:
    """UTC, as dateutil pickled it."""
    return datetime.UTC


@maker("_ttinfo", "_tzinfo", "tzrangebase")
def dateutil_detail(record: Record) -> object:
    """What a zone of dateutil keeps of its transitions; the zone is found by its name."""
    return None


@maker("tzfile", "tzlocal", "tzoffset", "_unpickle")
def dateutil_zone(record: Record) -> object:
    """A zone of dateutil: the file from which it came names it (``/usr/share/zoneinfo/US/Eastern``)."""
    found = [*record.args, named(fields(record), "_filename", "_name", "key")]
    names = [name for name in found if isinstance(name, str)]
    known = zoneinfo.available_timezones()
    for name in names:
        parts = name.strip("`'").replace("\\", "/").split("/")
        for start in range(len(parts)):
            key = "/".join(parts[start:])
            if key in known:
                return zoneinfo.ZoneInfo(key)
    if record.cls.name == "tzoffset" and len(record.args) > 1:
        offset = record.args[1]
        span = (
            offset if isinstance(offset, datetime.timedelta) else datetime.timedelta(seconds=offset)
        )
        return datetime.timezone(span)
    raise RestoreError(f"its time zone ({', '.join(names) or record.cls.name}) has no known name")


@maker("Timestamp", "_unpickle_timestamp")
def timestamp(record: Record) -> object:
    """``Timestamp(value, freq, tz[, reso])``: the value counts units since 1970 in UTC."""
    args = record.args
    expect(args and isinstance(args[0], int), "its value is no number")
    unit = _UNITS.get(args[3] if len(args) > 3 else 10)
    expect(unit is not None, f"its unit is {args[3:]!r}")
    made = pandas().Timestamp(args[0], unit=unit).as_unit(unit)
    where = zone(args[2]) if len(args) > 2 else None
    return made if where is None else made.tz_localize("UTC").tz_convert(where)


@maker("Timedelta", "_timedelta_unpickle")
def timedelta(record: Record) -> Any:
    """``Timedelta(value[, reso])``."""
    args = record.args
    expect(args and isinstance(args[0], int), "its value is no number")
    unit = _UNITS.get(args[1]) if len(args) > 1 and isinstance(args[1], int) else "ns"
    expect(unit is not None, f"its unit is {args[1:]!r}")
    return pandas().Timedelta(args[0], unit=unit).as_unit(unit)


@maker("NaTType", "_nat_unpickle", "__nat_unpickle")
def not_a_time(record: Record) -> object:
    """The missing moment."""
    return pandas().NaT


@maker("NAType")
def not_available(record: Record) -> object:
    """The missing value."""
    return pandas().NA


# Offsets. Their names changed in 2.2, and again for some in 3.0; `frequency` accepts all of them.

_OFFSETS = (
    "BusinessDay", "BusinessHour", "BusinessMonthBegin", "BusinessMonthEnd", "BQuarterBegin", "BQuarterEnd",
    "BYearBegin", "BYearEnd", "Day", "DateOffset", "Easter", "Hour", "Micro", "Milli", "Minute", "MonthBegin",
    "MonthEnd", "Nano", "QuarterBegin", "QuarterEnd", "Second", "SemiMonthBegin", "SemiMonthEnd", "Week",
    "WeekOfMonth", "LastWeekOfMonth", "YearBegin", "YearEnd",
)  # fmt: skip
_TODAY = {
    "M": "ME", "Q": "QE", "A": "YE", "Y": "YE", "BM": "BME", "BQ": "BQE", "BA": "BYE", "BY": "BYE", "H": "h",
    "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns", "AS": "YS", "BAS": "BYS", "BH": "bh", "CBM": "CBME",
    "SM": "SME",
}  # fmt: skip
# Attributes that follow from those of the constructor, or from the class.
_DERIVED = {
    "_offset", "offset", "kwds", "_use_relativedelta", "normalize", "n", "isAnchored", "_named", "_cache", "_prefix",
    "_day_opt", "_attributes", "_inc", "_one",
}  # fmt: skip


# The third argument of the constructor, by a part of the class's name.
_THIRD = {"Quarter": "startingMonth", "Week": "weekday", "Business": "offset"}


@maker(
    *_OFFSETS, "__pyx_unpickle_DateOffset", "__pyx_unpickle_Day", "BDay", "BMonthEnd", "BMonthBegin"
)
def offset(record: Record) -> Any:
    """An offset: its class, count, and the settings that its constructor takes."""
    module = pandas().offsets
    cls: Any = getattr(module, record.cls.name, None)
    expect(cls is not None, f"there is no offset {record.cls.name} in the installed release")
    state = {**fields(record), **record.kwargs}
    third = next((name for part, name in _THIRD.items() if part in record.cls.name), "month")
    given = dict(zip(("n", "normalize", third), record.args, strict=False))
    for name, value in state.items():
        if name in (
            "n",
            "normalize",
            "offset",
            "startingMonth",
            "month",
            "weekday",
            "week",
            "day_of_month",
        ):
            given[name] = value
    if isinstance(state.get("kwds"), dict):
        given.update(state["kwds"])
    if not given.get("offset"):  # of business days: added to each, as a rule nothing
        given.pop("offset", None)
    left = set(state) - _DERIVED - set(given)
    expect(not left, f"its setting {', '.join(sorted(map(str, left)))} is unknown")
    return cls(**{name: value for name, value in given.items() if value is not None})


def frequency(value: object) -> object:
    """A frequency as the installed release takes it: an offset, or a name of today."""
    if not isinstance(value, str):
        return value
    text = value.removeprefix("period[").removesuffix("]")
    head, dash, tail = text.partition("-")
    count = head.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    return f"{count}{_TODAY.get(head[len(count) :], head[len(count) :])}{dash}{tail}"


def period_frequency(value: object) -> object:
    """A frequency of periods, whose names are those of before 2.2."""
    if not isinstance(value, str):
        return value
    text = value.removeprefix("period[").removesuffix("]")
    old = {
        "ME": "M",
        "QE": "Q",
        "YE": "Y",
        "A": "Y",
        "H": "h",
        "T": "min",
        "S": "s",
        "L": "ms",
        "U": "us",
        "N": "ns",
    }
    head, dash, tail = text.partition("-")
    count = head.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    return f"{count}{old.get(head[len(count) :], head[len(count) :])}{dash}{tail}"


@maker("Period", "_unpickle_period")
def period(record: Record) -> object:
    """``Period``: (freq, ordinal), or a state ``(None, freq, ordinal)``."""
    parts = record.args if len(record.args) >= 2 else record.state
    expect(isinstance(parts, tuple) and len(parts) >= 2, "it holds no frequency and ordinal")
    freq, ordinal = parts[-2:] if isinstance(parts[-1], int) else parts[-2:][::-1]
    pd = pandas()
    if ordinal == pd.NaT._value:
        return pd.NaT
    return pd.Period(ordinal=int(ordinal), freq=period_frequency(freq))


@maker("Interval", "_unpickle_interval")
def interval(record: Record) -> object:
    """``Interval(left, right, closed)``."""
    args = record.args[1:] if record.args and isinstance(record.args[0], type) else record.args
    expect(len(args) >= 2, "it has no two ends")
    return pandas().Interval(args[0], args[1], closed=args[2] if len(args) > 2 else "right")
