"""Declares how objects of pandas are made."""

from __future__ import annotations

import copyreg
import functools
from typing import Any

from persist.migrations._pandas import arrays, frames, indexes, scalars
from persist.migrations._pandas.common import MAKERS, TAKE_CLASSES, class_of, pandas

from persist.errors import RestoreError
from persist.packs import Record
from persist.registry import Registry
from persist.tree import Global

__all__ = ["NEWEST", "OLDEST", "declare"]

OLDEST, NEWEST = "2.2", "3.1"
"""The releases of pandas for which objects are made."""

_FAMILIES = (arrays, frames, indexes, scalars)  # each fills MAKERS
_ZONES = ("pytz.*", "dateutil.tz.*", "dateutil.zoneinfo.*")


def declare(pack: Registry) -> None:
    """Declare in a pack how objects are made of the records of pandas, and of its time zones."""
    pack.rebuild(
        "pandas.*",
        *_ZONES,
        "functools.partial",  # of a block, in 1.3
        library="pandas",
        takes_names=True,
        knows=_is_known,
        requires=_check_installed,
        taken=_taken,
        inherited=_inherited,
    )(_made)
    pack.importable("pandas._libs.missing.NA", library="pandas")
    pack.importable("pandas.NA", "pandas.NaT", library="pandas")


@functools.cache
def _check_installed() -> None:
    from packaging.version import Version

    release = str(pandas().__version__)
    if not Version(OLDEST) <= Version(release) < Version(f"{NEWEST}.9999"):
        raise RestoreError(
            f"pandas {release} is installed, and objects are made for {OLDEST} to {NEWEST}"
        )


def _taken(value: Any) -> object:
    """What pickle would write of an object; of texts in memory of pyarrow, the texts."""
    if type(value).__name__.startswith("ArrowStringArray"):
        state = {"_dtype": value.dtype, "_ndarray": value.to_numpy(dtype=object)}
        return copyreg.__newobj__, (type(value),), state  # type: ignore[attr-defined]
    registered = copyreg.dispatch_table.get(type(value))
    return value.__reduce_ex__(2) if registered is None else registered(value)


def _inherited(
    state: dict[Any, Any], cls: type, base: type, releases: frozenset[str]
) -> dict[Any, Any]:
    """The state of a user's frame or series: what ``__setstate__`` of today's pandas takes."""
    make = {"DataFrame": frames.frame, "Series": frames.series}.get(base.__name__)
    if make is None:  # of an array or a dtype: its state is its own matter
        return state
    _check_installed()
    metadata = [*getattr(cls, "_metadata", ())]
    added = {*metadata} - {*getattr(base, "_metadata", ())}
    theirs = {name: value for name, value in state.items() if name in frames.KNOWN}
    made = make(Record(Global(base.__module__, base.__qualname__), state=theirs))
    own = {name: state[name] for name in state if name not in theirs or name in added}
    return {**made.__getstate__(), "_metadata": metadata, **own}


def _is_known(qualname: str) -> bool:
    name = qualname.rpartition(".")[2]
    return name in MAKERS or name in TAKE_CLASSES


def _made(record: Record) -> Any:
    """An object of pandas, by the last step of its class's name."""
    _check_installed()
    make = MAKERS.get(class_of(record)) or MAKERS.get(record.cls.name)
    if make is None:
        raise RestoreError(f"how a {record.cls.name} is made is not known")
    return make(record)
