"""Find and import the packs that a tree needs.

A pack is a module of `persist.migrations` (or of the entry point group of that
name) with the name of its library, which is the top-level name in a pickled
global. Only installed packs are imported: a name in a file selects one of them
and cannot add any.
"""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from persist._runtime.discovery import entry_points, modules_in
from persist.errors import PackWarning, SchemaError
from persist.packs import _renames
from persist.registry import Registry

__all__ = ["gather", "module_of", "written_by"]

_ALWAYS = ("python2",)  # any file may hold names of Python 2's standard library
_STANDARD = "stdlib"  # the pack of all modules of Python 3's
_SPELLING = frozenset(
    ("copyreg", "copy_reg", "_codecs")
)  # how pickles are spelled, not what they hold


def gather(names: Iterable[str], registry: Registry) -> Registry:
    """Return ``registry`` combined with the packs of the libraries mentioned in ``names``.

    Args:
        names: dotted names that a file mentions.
        registry: the user's registry, which takes precedence over the packs.
    """
    names = set(names)
    tops, asked = {*_ALWAYS, *_tops(names)}, set[str]()
    packs: list[Registry] = []
    known = registry
    while tops - asked:
        new = sorted(tops - asked, key=lambda top: (top not in _ALWAYS, top))
        asked.update(new)
        found = [pack for top in new if (pack := _pack(top)) is not None]
        if found:
            packs += found
            known = Registry(f"{registry.name} with packs", parents=(registry, *packs))
        # A class may have moved to another library, whose pack knows its later names.
        tops |= _tops(_current_names(names, known)) | _libraries_of_bases(names, known)
    return _with_standard(names, known, registry, packs)


def _libraries_of_bases(names: Iterable[str], known: Registry) -> set[str]:
    """The libraries of which declared classes are subclasses, if a pack brings such states up to date."""
    classes = filter(None, (known.class_for(name) for name in names))
    tops = {base.__module__.partition(".")[0] for cls in classes for base in cls.__mro__[1:-1]}
    return {top for top in tops if (pack := _pack(top)) is not None and pack._upgrades_subclasses}


def _with_standard(
    names: set[str], known: Registry, registry: Registry, packs: list[Registry]
) -> Registry:
    """Add the pack of Python's standard library, if it makes anything of these names.

    Most files name modules of Python for plain values, or for how a pickle is spelled.
    """
    current = {*names, *_current_names(names, known)}
    if not _tops(current) & (sys.stdlib_module_names - _SPELLING):
        return known
    pack = _pack(_STANDARD)
    if pack is None or not _is_named(pack, current):
        return known
    known = Registry(f"{registry.name} with packs", parents=(registry, *packs, pack))
    known.makes_instances = any(map(known.has_instances, names))
    return known


def _is_named(pack: Registry, names: Iterable[str]) -> bool:
    """Whether a pack makes anything of these names."""
    known = map(pack.resolve, names)
    return any(
        pack.importable_for(name) is not None or pack.rebuild_for(name) is not None
        for name in known
    )


def _current_names(names: Iterable[str], registry: Registry) -> set[str]:
    """Return the current names of the names in a file, as far as the registry knows them."""
    found = set()
    for name in names:
        try:
            found.add(registry.resolve(name))
        except SchemaError:  # circular aliases: raised again, with the place, on use of the name
            continue
    return found


def written_by(names: Iterable[str]) -> list[str]:
    """Return which releases of the mentioned libraries can have written a file, and why.

    Deduced from renamed classes, using the rename tables of the packs; empty if that shows nothing.
    """
    names = list(names)
    releases = []
    for top in sorted(_tops(names)):
        rows = getattr(_module(top), "renames", None)
        if rows:
            own = [name for name in names if name.partition(".")[0] == top]
            releases += _releases(top, *_renames.written_by(rows, own))
    return releases


def _releases(
    library: str, at_least: tuple[str, str] | None, before: tuple[str, str] | None
) -> list[str]:
    parts = []
    if at_least is not None:
        parts.append(f"{at_least[0]} or later (it names {at_least[1]})")
    if before is not None:
        parts.append(f"older than {before[0]} (it names {before[1]})")
    return [f"{library} {' and '.join(parts)}"] if parts else []


def _tops(names: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def module_of(library: str) -> Any:
    """Return the module of an installed pack, or None."""
    return _module(library)


@functools.cache
def _module(library: str) -> Any:
    """Return the module of an installed pack, or None."""
    found = _installed().get(library)
    if found is None or _pack(library) is None:
        return None
    return found[1]()


@functools.cache
def _pack(library: str) -> Registry | None:
    """Return the pack of a library, or None. If its import fails, that is a warning, not an error."""
    found = _installed().get(library)
    if found is None:
        return None
    origin, load = found
    try:
        module = load()
        pack = getattr(module, "pack", module)
    except Exception as error:  # third-party modules may raise anything
        warnings.warn(
            f"the pack for {library!r} ({origin}) cannot be used: {type(error).__name__}: {error}. "
            "Files are read without it.",
            PackWarning,
            stacklevel=2,
        )
        return None
    if not isinstance(pack, Registry):
        warnings.warn(
            f"the pack for {library!r} ({origin}) holds no Registry named 'pack'. "
            "Files are read without it.",
            PackWarning,
            stacklevel=2,
        )
        return None
    return pack


@functools.cache
def _installed() -> dict[str, tuple[str, Callable[[], object]]]:
    """Library -> (origin of the pack, function that imports it)."""
    result: dict[str, tuple[str, Callable[[], object]]] = {}
    try:
        shipped = importlib.import_module("persist.migrations")
    except ModuleNotFoundError:
        shipped = None
    # A large pack is a package: its modules are listed as `library.module`.
    modules = modules_in(getattr(shipped, "__path__", ()))
    for library in dict.fromkeys(name.partition(".")[0] for name in modules):
        if not library.startswith("_"):
            name = f"persist.migrations.{library}"
            result[library] = (name, functools.partial(importlib.import_module, name))
    for point in entry_points("persist.migrations"):
        package = point.dist.name if point.dist is not None else "?"
        version = point.dist.version if point.dist is not None else "?"
        result[point.name] = (f"{package} {version}", point.load)
    return result


def forget() -> None:
    """Clear the caches, so that packs are searched again (after an installation, or in tests)."""
    _pack.cache_clear()
    _module.cache_clear()
    _installed.cache_clear()
    importlib.invalidate_caches()
    sys.modules.pop("persist.migrations", None)
