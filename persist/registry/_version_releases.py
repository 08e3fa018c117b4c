"""The part of a registry that knows when, and by which releases of a package, versions were written."""

from __future__ import annotations

import datetime
from typing import Self

from persist.errors import SchemaError
from persist.registry._classes import Classes
from persist.registry._declarations import Origin, call_site
from persist.registry._names import check_version
from persist.registry._releases import Released, checked_policy, merged, package_of, specifier

__all__ = ["VersionReleases"]


class VersionReleases(Classes):
    """The releases and the dates of versions, and which releases' files are accepted."""

    def __init__(self, name: str, parents: tuple[Self, ...] = ()) -> None:
        super().__init__(name, parents)
        self._releases: dict[str, dict[int, Released]] = {}  # schema -> version -> its releases
        self._release_policies: dict[str, str] = {}  # schema -> policy; "" is that of the registry
        self._dates: dict[str, dict[int, str]] = {}  # schema -> version -> its first day
        self._recorded: dict[str, str] = {}  # package -> release that a file was written with

    def released(
        self, schema: type | str, version: int, release: str = "", *, date: str = ""
    ) -> None:
        """Declare which releases of the package write a version of a schema, and since when.

        They are named in errors, plans and the lock file, and the version of a state that states none
        is known by them where the file records its release. ``release=`` of a class, a migration or a
        stamp does the same.

        Args:
            schema: the class, or the name of its schema.
            version: the version.
            release: the releases as in a requirement (PEP 440): ``>=1.2,<2``.
            date: the day from which on it was current, ``2012-03-31``; ``persist convert --as-of`` asks.

        Raises:
            SchemaError: this is no set of releases, or another place declares others.
            ValueError: this is no date.
        """
        name = self._name_of(schema)
        if date:
            day = datetime.date.fromisoformat(date).isoformat()
            with self._changing():
                self._dates = {**self._dates, name: {**self._dates.get(name, {}), version: day}}
        if release or not date:
            self._add_released(name, version, release, call_site("<releases>"))

    def dates(self, schema: type | str) -> dict[int, str]:
        """Return version -> the day from which on it was current, where that is declared."""
        tables = [one._dates.get(self._name_of(schema), {}) for one in self._lineage]
        return {number: day for table in reversed(tables) for number, day in table.items()}

    def _add_released(self, name: str, version: int, release: str, place: Origin) -> None:
        check_version(version, name)
        specifier(release, name)
        made = Released(name, version, release, place)
        with self._changing():
            known = self._releases.get(name, {})
            other = known.get(version)
            is_other = other is not None and other.releases != release
            if other is not None and is_other and not place.replaces(other.origin):
                raise SchemaError(
                    f"version {version} of {name!r} has the releases {other.releases!r} "
                    f"({other.origin.file}:{other.origin.line}) and {release!r}.",
                    where=f"{place.file}:{place.line}",
                    remedy="Declare them in one place.",
                    schema=name,
                )
            self._releases = {**self._releases, name: {**known, version: made}}

    def releases(self, schema: type | str) -> dict[int, str]:
        """Return version -> the releases of the package that write it, where they are declared."""
        return {number: one.releases for number, one in sorted(self._released(schema).items())}

    def _released(self, schema: type | str) -> dict[int, Released]:
        name = self._name_of(schema)
        return merged(registry._releases.get(name, {}) for registry in self._lineage)

    def accept_releases(self, policy: str, schema: type | str | None = None) -> None:
        """Choose which files are loaded, by the release of the package that wrote them.

        A container records the releases of the packages whose classes are in it. A file that is not
        accepted raises `ReleaseError`; a file that records no release is accepted.

        Args:
            policy: "exact": of the release that is here only; "minor": of the same major release, and
                not of a newer minor one; "major": of the same major release; "any": all of them,
                which is the default.
            schema: a class or the name of its schema; None is every one of this registry.

        Raises:
            ValueError: there is no such policy.
        """
        name = "" if schema is None else self._name_of(schema)
        with self._changing():
            self._release_policies = {**self._release_policies, name: checked_policy(policy)}

    def _release_policy(self, schema: str) -> str:
        """The policy for a schema: its own, then that of the registry, here before in the parents."""
        for name in (schema, ""):
            for registry in self._lineage:
                if name in registry._release_policies:
                    return registry._release_policies[name]
        return "any"

    def _recorded_release(self, name: str) -> tuple[str, str]:
        """The package of a schema, and the release of it that the file at hand records; "" for none."""
        recorded = next((one._recorded for one in self._lineage if one._recorded), None)
        schema = self.schema_for(name) if recorded else None
        package = "" if schema is None else package_of(schema)
        return package, (recorded or {}).get(package, "")
