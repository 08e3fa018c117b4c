"""The releases of the packages that wrote a file, compared with those that are here.

A container records, with the layout of each class, the package of the class and its release. What a
newer release wrote may mean something else, even where no version was counted; a program that wants
to be careful says so with `Registry.accept_releases`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from persist.errors import ReleaseError, SchemaError
from persist.registry import Registry
from persist.registry._releases import least_release, package_of, parsed, release_here

if TYPE_CHECKING:
    from packaging.version import Version

    from persist.schema import Schema

__all__ = [
    "WrittenRelease",
    "least_readers",
    "reader_entry",
    "release_entry",
    "written_releases",
]


@attrs.frozen
class WrittenRelease:
    """The release of a package that wrote a file, where it is not the one that is here.

    Attributes:
        schema: the name of the schema that the package declares.
        package: the top-level package of its class.
        release: of the package, as the file records it.
        here: the release that is imported.
        policy: what is accepted: "exact", "minor", "major" or "any".
    """

    schema: str
    package: str
    release: str
    here: str
    policy: str

    @property
    def is_newer(self) -> bool:
        """True if the file is of a later release than the one here; False if that is not known."""
        pair = self._parsed
        return pair is not None and pair[0] > pair[1]

    @property
    def is_accepted(self) -> bool:
        """True if the policy accepts it."""
        if self.policy == "any":
            return True
        pair = self._parsed
        if pair is None or self.policy == "exact":
            return pair is not None and pair[0] == pair[1]
        written, here = pair
        same_major = (written.epoch, written.major) == (here.epoch, here.major)
        return same_major and (self.policy == "major" or written.minor <= here.minor)

    @property
    def _parsed(self) -> tuple[Version, Version] | None:
        written, here = parsed(self.release), parsed(self.here)
        return None if written is None or here is None else (written, here)

    @property
    def note(self) -> str:
        """A remark for a plan; "" if the file is of an older release that is accepted."""
        pair = self._parsed
        if pair is None:
            kind = "which cannot be compared with"
        elif pair[0] > pair[1]:
            kind = "newer than"
        elif (pair[0].epoch, pair[0].major) != (pair[1].epoch, pair[1].major):
            kind = "of another major release than"
        else:
            return ""
        return f"written by {self.package} {self.release}, {kind} {self.here} here"

    def error(self) -> ReleaseError:
        """Return the error for a file that the policy does not accept."""
        wanted = {
            "exact": "of the same release",
            "minor": f"of {self._major}, and of no newer minor release",
            "major": f"of {self._major}",
        }[self.policy]
        install = "==" if self.policy == "exact" or not self.is_newer else ">="
        return ReleaseError(
            f"{self.package} {self.release} wrote the state of {self.schema!r}, and {self.package} "
            f"{self.here} is here, which accepts files {wanted} (policy {self.policy!r}).",
            remedy=f'Install {self.package}{install}{self.release}, or accept it: persist.accept_releases("any", '
            f'"{self.schema}").',
            schema=self.schema,
            found=self.release,
            here=self.here,
            policy=self.policy,
        )

    @property
    def _major(self) -> str:
        here = parsed(self.here)
        return "a release that can be compared" if here is None else f"major release {here.major}"


def release_entry(schema: Schema) -> dict[str, str]:
    """Return what a manifest says of the release of a schema's package; {} if that is not known."""
    package = package_of(schema) if schema.cls is not None else ""
    release = release_here(package) if package else ""
    return {"package": package, "release": release} if release else {}


def reader_entry(schema: Schema, version: int, registry: Registry) -> dict[str, int | str]:
    """Return what a program needs at least to read states of one version of a schema, for a manifest.

    Returns:
        ``version``, and where the releases of that version are declared with a first one, ``release``
        of the package.
    """
    releases = registry.releases(schema.name).get(version, "")
    least = least_release(releases, schema.name) if releases else ""
    return {"version": version, **({"release": least} if least else {})}


def least_readers(entries: Iterable[Mapping[str, object]], registry: Registry) -> dict[str, str]:
    """Return what the file needs of the schemas whose version here is older than its reader's.

    Args:
        entries: of the manifest; those without ``reader`` are passed over.
        registry: what is known.

    Returns:
        The name of the schema -> the need as text, and what is here.
    """
    found: dict[str, str] = {}
    for entry in entries:
        name, reader = entry.get("name"), entry.get("reader")
        if type(name) is not str or not isinstance(reader, dict):
            continue
        version, release = reader.get("version"), reader.get("release")
        try:
            schema = registry.schema_for(name)
        except SchemaError:  # reported for the first record of the class
            continue
        if schema is None or type(version) is not int or version <= schema.version:
            continue
        package = str(entry.get("package") or package_of(schema))
        here = release_here(package)
        release = release or entry.get("release")  # that of the writer, where no other is declared
        if type(release) is str and parsed(release) and here not in ("", release):
            found[schema.name] = f"{package} >= {release} ({package} {here} is here)"
        else:
            found[schema.name] = f"version >= {version} of {name!r}"
    return found


def written_releases(
    entries: Iterable[Mapping[str, object]], registry: Registry
) -> dict[str, WrittenRelease]:
    """Return the schemas of a manifest whose package has another release here.

    Args:
        entries: of the manifest.
        registry: what is known.
    """
    found: dict[str, WrittenRelease] = {}
    for entry in entries:
        name, release = entry.get("name"), entry.get("release")
        if type(name) is not str or type(release) is not str or not release:
            continue
        try:
            schema = registry.schema_for(name)
        except SchemaError:  # reported for the first record of the class
            continue
        here = "" if schema is None else release_here(package_of(schema))
        if schema is None or not here or here == release:
            continue
        policy = registry._release_policy(schema.name)
        package = str(entry.get("package") or package_of(schema))
        found[schema.name] = WrittenRelease(schema.name, package, release, here, policy)
    return found
