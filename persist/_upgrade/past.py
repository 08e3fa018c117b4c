"""What was current at an earlier date or release: versions, class paths, the pickle protocol.

The versions of a schema have dates where they are declared (`Registry.released`) or locked
(``schemas.lock``); the class paths of earlier releases are the aliases.
"""

from __future__ import annotations

import calendar
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from persist._layouts.lockfile import LockedSchema, find_lock
from persist.errors import SchemaError
from persist.registry._releases import parsed, version_of_release

if TYPE_CHECKING:
    from persist.registry import Alias, Registry
    from persist.schema import Schema

__all__ = ["Moment", "class_paths", "moment_of", "protocol_of", "versions_at"]

_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_PYTHON_2 = "2020"  # when Python 2 ended, for which pickles had to be of protocol 2


@attrs.frozen
class Moment:
    """A moment of a project's past.

    Attributes:
        text: as it was given.
        date: its last day, ``2012-12-31``; "" if not known.
        release: a release of the package; "" for a date.
    """

    text: str
    date: str = ""
    release: str = ""

    @property
    def known(self) -> str:
        """The date or the release."""
        return self.date or self.release


def moment_of(
    text: str,
    schemas: Iterable[Schema],
    registry: Registry,
    date_of_tag: Callable[[str], str] = lambda name: "",
) -> Moment:
    """Return the moment that a text means: a date, a release of the package, or a tag of git.

    Args:
        text: ``2012``, ``2012-03``, ``2012-03-31``; ``1.4``, ``v1.4``; the name of a tag.
        schemas: those that are to be found as they were at that moment.
        registry: what is declared about them.
        date_of_tag: name of a tag -> date of its commit, "" for none.

    Raises:
        SchemaError: it is none of these.
    """
    found = _DATE.fullmatch(text)
    if found:
        return Moment(text, date=_last_day(text, *map(int, found.groups(default="0"))))
    release = text.removeprefix("v")
    if parsed(release) is not None and any(_says_releases(one, registry) for one in schemas):
        return Moment(text, release=release)
    date = date_of_tag(text)
    if date:
        return Moment(text, date=date)
    raise SchemaError(
        f"{text!r} is no date, no tag of git here, and no release that is declared or locked.",
        remedy="Give a date (2012, 2012-03, 2012-03-31), a tag, or a release as `persist lock` recorded it.",
    )


def _last_day(text: str, year: int, month: int, day: int) -> str:
    month = month or 12
    if not (1 <= month <= 12 and year):
        raise SchemaError(f"{text!r} is no date.", remedy="Dates are 2012, 2012-03, 2012-03-31.")
    last = calendar.monthrange(year, month)[1]
    if day > last:
        raise SchemaError(f"{text!r} is no date: that month has {last} days.")
    return f"{year:04}-{month:02}-{day or last:02}"


def _locked(schema: Schema) -> LockedSchema:
    """What the lock file of a class's project says, else that of the working directory."""
    module = None if schema.cls is None else sys.modules.get(schema.cls.__module__)
    for start in (getattr(module, "__file__", None), Path.cwd() / "file"):
        found = find_lock(start).schemas.get(schema.name)
        if found is not None:
            return found
    return LockedSchema(schema.name)


def _says_releases(schema: Schema, registry: Registry) -> bool:
    locked = _locked(schema).versions.values()
    return bool(registry.releases(schema.name)) or any(one.release for one in locked)


def versions_at(schemas: Iterable[Schema], moment: Moment, registry: Registry) -> dict[str, int]:
    """Return the version that each schema had at a moment.

    Raises:
        SchemaError: it had none, or nothing says which.
    """
    return {schema.name: _version_at(schema, moment, registry) for schema in schemas}


def _version_at(schema: Schema, moment: Moment, registry: Registry) -> int:
    locked = _locked(schema)
    if moment.date:
        dates = {number: one.date for number, one in locked.versions.items() if one.date}
        dates |= registry.dates(schema.name)
        fitting = [n for n, date in dates.items() if date <= moment.date and n <= schema.version]
        said = ", ".join(f"{number} of {date}" for number, date in sorted(dates.items()))
    else:
        number = _by_release(schema, moment, registry)
        wanted = parsed(moment.release)
        releases = {n: one.release for n, one in locked.versions.items() if one.release}
        fitting = [n for n, one in releases.items() if _is_before(one, wanted)]
        fitting = [number] if number else [n for n in fitting if n <= schema.version]
        said = ", ".join(f"{n} of {one}" for n, one in sorted(releases.items()))
        said = said or ", ".join(f"{n} of {s}" for n, s in registry.releases(schema.name).items())
    if fitting:
        return max(fitting)
    if schema.version == 1 and not said:
        return 1
    what = f"no version of {schema.name!r} is that old: {said}" if said else (
        f"nothing says which version of {schema.name!r} was current then"
    )  # fmt: skip
    raise SchemaError(
        f"as of {moment.text}, {what}.",
        remedy=f'State it: --to-version {schema.name}=N; or declare it: registry.released("{schema.name}", 1, '
        'date="2012-03-31"). `persist lock` records both for each new version.',
        schema=schema.name,
    )


def _is_before(release: str, wanted: object) -> bool:
    found = parsed(release)
    return found is not None and wanted is not None and found <= wanted  # type: ignore[operator]


def _by_release(schema: Schema, moment: Moment, registry: Registry) -> int:
    found = version_of_release(schema.name, moment.release, registry._released(schema.name))
    return 0 if found is None else found[0]


# Class paths.


def class_paths(
    versions: Mapping[str, int],
    registry: Registry,
    moment: Moment | None = None,
    chosen: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the dotted name that the class of each schema had at its version.

    It is that of the alias by which the class moved away after the version: ``since=`` of the alias
    says when, and the lock file or the declared releases say when the version was current. Where one
    of these is not known, and there is one old name, the versions before today's had that.

    Args:
        versions: schema name -> version.
        registry: the aliases.
        moment: when the versions were current, if it is known.
        chosen: names that are given.

    Raises:
        SchemaError: the class has had several names, and nothing says which.
    """
    found = dict(chosen or {})
    for name, version in versions.items():
        schema = registry.schema_for(name)
        if name not in found and schema is not None and schema.cls is not None:
            found[name] = _path_of(schema, version, registry, moment)
    return found


def _path_of(schema: Schema, version: int, registry: Registry, moment: Moment | None) -> str:
    old = _old_names(schema.qualname, registry)
    when = "" if moment is None else moment.known
    if not old or (not when and version == schema.version):
        return schema.qualname
    times = [when, *_times_of(schema, version, registry)]
    left = [(alias, path) for alias, path in old if _moved_after(alias, times)]
    if left:  # of several moves after that time, the first left the name of that time
        return min(left, key=lambda pair: _order(pair[0].since))[1]
    unsaid = [path for alias, path in old if _moved_after(alias, times) is None]
    if not unsaid or version == schema.version:
        return schema.qualname
    if len(unsaid) == 1:
        return unsaid[0]
    raise SchemaError(
        f"the class of {schema.name!r} was called {', '.join(sorted(unsaid))}, and nothing says "
        f"which of them at version {version}.",
        remedy=f"Choose one: --class-path {schema.name}={sorted(unsaid)[0]} "
        f'(class_paths={{"{schema.name}": ...}}); or give the aliases since=, the release or the date of the move.',
        schema=schema.name,
    )


def _old_names(qualname: str, registry: Registry) -> list[tuple[Alias, str]]:
    """The old names of a class, each with the alias by which it left that name."""
    names = registry.old_names(qualname)
    for one in registry._line():
        for prefix in one._prefixes.values():
            if qualname.startswith(prefix.new):
                names.add(prefix.old + qualname[len(prefix.new) :])
    found = []
    for name in sorted(names - {qualname}):
        today, aliases = registry.aliases_from(name)
        if today == qualname and aliases:
            found.append((aliases[0], name))
    return found


def _times_of(schema: Schema, version: int, registry: Registry) -> list[str]:
    """The date and the release at which a version was current, as far as they are known."""
    locked = _locked(schema).versions.get(version)
    said = [registry.dates(schema.name).get(version, "")]
    said += re.findall(
        r"(?:>=|==|~=)\s*([^,\s]+)", registry.releases(schema.name).get(version, "")
    )[:1]
    return said if locked is None else [*said, locked.release, locked.date]


def _moved_after(alias: Alias, times: Iterable[str]) -> bool | None:
    """Whether a class moved after a time; None if that cannot be known."""
    for time in filter(None, times):
        is_date = bool(_DATE.fullmatch(alias.since))
        if alias.since and is_date == bool(_DATE.fullmatch(time)):
            return _order(alias.since) > _order(time)
    return None


def _order(text: str) -> tuple[object, ...]:
    """What sorts dates, and releases, in the order of time."""
    found = _DATE.fullmatch(text)
    if found:
        return (0, *(int(one or 0) for one in found.groups()))
    release = parsed(text)
    return (1, release) if release is not None else (2, text)


def protocol_of(moment: Moment | None) -> int | None:
    """Return the pickle protocol that every Python of a time reads; None if it is not known."""
    if moment is None or not moment.date:
        return None
    return 2 if moment.date < _PYTHON_2 else 4
