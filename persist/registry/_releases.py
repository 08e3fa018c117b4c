"""Versions tied to releases of a package (PEP 440), and which releases of a package a program accepts."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from persist.errors import SchemaError
from persist.registry._declarations import Origin

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    from persist.schema import Schema

__all__ = [
    "RELEASE_POLICIES",
    "Released",
    "least_release",
    "overlaps",
    "package_of",
    "parsed",
    "release_here",
    "specifier",
    "version_of_release",
]

RELEASE_POLICIES = ("exact", "minor", "major", "any")


@attrs.frozen
class Released:
    """The releases of a package that write one version of a schema.

    Attributes:
        schema: the schema's name.
        version: the version.
        releases: the releases as PEP 440 writes them, such as ``>=1.2,<2``.
        origin: where this was declared.
    """

    schema: str
    version: int
    releases: str
    origin: Origin = attrs.field(eq=False, repr=False)

    def contains(self, release: Version) -> bool:
        """True if a release, or a pre-release, is one of them."""
        return specifier(self.releases, self.schema).contains(release, prereleases=True)


def specifier(releases: object, schema: str) -> SpecifierSet:
    """Return a set of releases.

    Raises:
        SchemaError: it is not written as PEP 440 has it.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        if not isinstance(releases, str) or not releases.strip():
            raise InvalidSpecifier(repr(releases))
        return SpecifierSet(releases)
    except InvalidSpecifier as error:
        raise SchemaError(
            f"the releases of {schema!r} are {releases!r}.",
            remedy='Write them as in a requirement (PEP 440): release=">=1.2,<2", or "==1.4".',
            schema=schema,
        ) from error


def least_release(releases: str, schema: str) -> str:
    """Return the oldest of a set of releases; "" if it states no first one, such as ``<2`` or ``>1``."""
    firsts = {">=", "==", "===", "~="}
    stated = [one.version for one in specifier(releases, schema) if one.operator in firsts]
    known = [found for found in map(parsed, stated) if found is not None]
    return str(max(known)) if known else ""


def parsed(release: str) -> Version | None:
    """Return a release, or None if it is not written as PEP 440 has it."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(release)
    except InvalidVersion:
        return None


def version_of_release(
    schema: str, release: str, declared: Mapping[int, Released]
) -> tuple[int, str] | None:
    """Return the version of a schema that a release writes, and the declared releases; None for no answer.

    Raises:
        SchemaError: the release is one of those of several versions.
    """
    found = parsed(release)
    if found is None:
        return None
    fitting = {n: one.releases for n, one in sorted(declared.items()) if one.contains(found)}
    if len(fitting) > 1:
        said = " and ".join(f"version {n} ({text})" for n, text in fitting.items())
        raise SchemaError(
            f"release {release} writes {said} of {schema!r}, by what is declared.",
            remedy="Let the releases of two versions not overlap: release= says them.",
            schema=schema,
            answers=list(fitting),
        )
    return next(iter(fitting.items()), None)


def overlaps(declared: Mapping[int, Released]) -> list[tuple[str, int, int]]:
    """Return releases that two versions claim: (release, version, other version), one for each pair.

    Tried are the releases that the declarations mention, one after, and one before each of them.
    """
    mentioned: set[Any] = set()
    for one in declared.values():
        for part in specifier(one.releases, one.schema):
            release = parsed(part.version.removesuffix(".*"))
            if release is not None:
                tried = (str(release), f"{release.base_version}.0.1", _before(release))
                mentioned.update(filter(None, map(parsed, tried)))
    found: dict[tuple[int, int], str] = {}
    for release in sorted(mentioned):
        claimed = [number for number, one in sorted(declared.items()) if one.contains(release)]
        for first, second in itertools.pairwise(claimed):
            found.setdefault((first, second), str(release))
    return [(release, *pair) for pair, release in found.items()]


def _before(release: Version) -> str:
    """A release that is earlier, with none between them that anybody is likely to make."""
    parts = [*release.release]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    parts[-1] = max(parts[-1] - 1, 0)
    return ".".join(map(str, [*parts, 99_999])) if any(parts) else "0.0.1"


# The release that is here.


def package_of(schema: Schema) -> str:
    """Return the top-level package of a schema's class; "" for a script."""
    module = schema.qualname if schema.cls is None else schema.cls.__module__
    top = module.partition(".")[0]
    return "" if top in ("__main__", "builtins", "persist") else top


_installed: dict[str, str] = {}  # packages without __version__, which are looked up once


def release_here(package: str) -> str:
    """Return the release of an imported package: its ``__version__``, else that of its distribution.

    "" if neither is known. Nothing is imported.
    """
    module = sys.modules.get(package)
    if module is None or not package:
        return ""
    stated = getattr(module, "__version__", None)
    if isinstance(stated, str):
        return stated
    found = _installed.get(package)
    if found is None:
        found = _installed[package] = _of_distribution(package)
    return found


def _of_distribution(package: str) -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""


def listed(declared: Mapping[int, Released]) -> str:
    """Return the releases of versions as text: ``1 (>=1.0,<1.2), 2 (>=1.2)``."""
    return ", ".join(f"{number} ({one.releases})" for number, one in sorted(declared.items()))


def checked_policy(policy: object) -> str:
    """Return a policy.

    Raises:
        ValueError: it is none.
    """
    if policy not in RELEASE_POLICIES:
        raise ValueError(f"{policy!r}: one of 'exact', 'minor', 'major', 'any' is expected.")
    return str(policy)


def merged(tables: Iterable[Mapping[int, Released]]) -> dict[int, Released]:
    """Return the declarations of several registries, those of the first before the others'."""
    found: dict[int, Released] = {}
    for table in tables:
        for number, one in table.items():
            found.setdefault(number, one)
    return found
