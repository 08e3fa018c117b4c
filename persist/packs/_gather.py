"""Which packs does this tree need? Import just those.

A pack is a module of `persist.migrations` (or of the entry point group of that
name) called like the library that it knows: the top-level name in a pickled
global. Only packs that are installed are imported; a name in a file chooses
among them and adds none.
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

__all__ = ["gather", "written_by"]

_ALWAYS = ("python2",)  # the renames between the two Pythons concern every file


def gather(names: Iterable[str], registry: Registry) -> Registry:
    """Return ``registry`` with the packs of the libraries behind it that ``names`` mention.

    Args:
        names: dotted names that a file mentions.
        registry: the user's; it is asked first, the packs after it.
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
        # A name may move to another library, whose pack knows where it went from there.
        tops |= _tops(_today(names, known))
    return known


def _today(names: Iterable[str], registry: Registry) -> set[str]:
    """What the names of a file are called today, as far as a registry knows."""
    found = set()
    for name in names:
        try:
            found.add(registry.resolve(name))
        except (
            SchemaError
        ):  # a circle of aliases: raised again, with its place, where the name is used
            continue
    return found


def written_by(names: Iterable[str]) -> list[str]:
    """Say which releases of the libraries that a file names can have written it, and why.

    Deduced from names that moved, by the rename tables of the packs; empty where nothing shows.
    """
    names = list(names)
    told = []
    for top in sorted(_tops(names)):
        rows = getattr(_module(top), "renames", None)
        if rows:
            own = [name for name in names if name.partition(".")[0] == top]
            told += _releases(top, *_renames.written_by(rows, own))
    return told


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


@functools.cache
def _module(library: str) -> Any:
    """The module of a pack that is installed, or None."""
    found = _installed().get(library)
    if found is None or _pack(library) is None:
        return None
    return found[1]()


@functools.cache
def _pack(library: str) -> Registry | None:
    """The pack of a library, or None; one that fails to import is a warning, never a crash."""
    found = _installed().get(library)
    if found is None:
        return None
    origin, load = found
    try:
        module = load()
        pack = getattr(module, "pack", module)
    except Exception as error:  # whatever a stranger's module raises
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
def _installed() -> dict[str, tuple[str, Callable[[], Any]]]:
    """Library -> (where the pack comes from, how it is imported)."""
    result: dict[str, tuple[str, Callable[[], Any]]] = {}
    try:
        shipped = importlib.import_module("persist.migrations")
    except ModuleNotFoundError:
        shipped = None
    for library in modules_in(getattr(shipped, "__path__", ())):
        if not library.startswith("_"):
            name = f"persist.migrations.{library}"
            result[library] = (name, functools.partial(importlib.import_module, name))
    for point in entry_points("persist.migrations"):
        package = point.dist.name if point.dist is not None else "?"
        version = point.dist.version if point.dist is not None else "?"
        result[point.name] = (f"{package} {version}", point.load)
    return result


def forget() -> None:
    """Look for packs anew (after an installation, or in tests)."""
    _pack.cache_clear()
    _module.cache_clear()
    _installed.cache_clear()
    importlib.invalidate_caches()
    sys.modules.pop("persist.migrations", None)
