"""Which reader takes a file: every reader is asked, by content and never by suffix."""

from __future__ import annotations

import errno
import functools
import importlib
import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from persist._runtime.discovery import entry_points, modules_in
from persist._runtime.gc_pause import collector_paused
from persist._wire.base.source import Source
from persist.errors import (
    AmbiguousFormatError,
    DamagedFileError,
    LimitError,
    PackWarning,
    PersistError,
    UnknownFormatError,
)
from persist.readers.base import Content, Options, Reader

if TYPE_CHECKING:
    pass

__all__ = ["choose", "read", "readers"]


def read(source: Source, options: Options, layers: tuple[str, ...]) -> tuple[Reader, Content, str]:
    """Read a source by whichever reader claims it; also what is nested in another file."""
    broken: list[str] = []
    reader, inner, claim = choose(source, layers, broken if options.salvage else None)
    options = options._replace(open_nested=lambda found: read(found, options, ())[1])
    try:
        with collector_paused():
            content = reader.read(inner, options)
        content.damage[:0] = broken
        if content.held:
            claim = f"{content.held}; {claim}"
        return reader, content, claim
    except PersistError as error:
        error.at(file=source.name)
        raise
    except MemoryError as error:
        raise LimitError(
            "there is not enough memory for what it holds.",
            file=source.name,
            remedy="If the file is honest, read it on a larger machine.",
        ) from error


def choose(
    source: Source, layers: tuple[str, ...] = (), broken: list[str] | None = None
) -> tuple[Reader, Source, str]:
    """Return the reader whose claim is, what it is to read, and its reason.

    Compression is taken off until somebody claims what is inside.

    Args:
        source: the file.
        layers: what was taken off already.
        broken: list that receives a report of each damaged layer, whose readable part is used; None raises an error.

    Raises:
        UnknownFormatError: nobody claims it; with what it is instead, if that shows.
        AmbiguousFormatError: two unrelated readers claim it.
    """
    sure, others, last = _ranks()
    claims = _claims(source, sure)
    if len(claims) != 1:
        claims.update(_claims(source, others))
    if not claims:
        claims = _claims(source, last)
    if not claims and source.kind == "file" and not source.is_mapped:
        source.memo["thorough"] = True  # what takes many requests
        claims = _claims(source, (*sure, *others))
    for reader, _ in list(claims.values()):
        for name in reader.refines:
            claims.pop(name, None)
    if len(claims) > 1:
        reasons = "; ".join(f"{name}: {reason}" for name, (_, reason) in sorted(claims.items()))
        raise AmbiguousFormatError(
            f"{len(claims)} readers claim this file ({reasons}).",
            file=source.name,
            remedy="Please report it with the file: one of the claims is too wide.",
            claims=sorted(claims),
        )
    if claims:
        ((reader, reason),) = claims.values()
        return reader, source, "; ".join((*layers, reason))
    from persist._api.diagnosis import diagnose
    from persist._api.layers import peel

    peeled = peel(source, broken) if source.kind == "file" and source.size else None
    if peeled is not None:
        inner, layer = peeled
        return choose(inner, (*layers, layer), broken)
    if source.kind == "prefix":  # no such file, and what begins so is no checkpoint
        _refuse_database(source)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source.path)
    what, cure = diagnose(source)
    inside = f"inside its {', '.join(layers)} layer, " if layers else ""
    raise UnknownFormatError(f"{inside}{what}", file=source.name, remedy=cure)


def _ranks() -> tuple[list[Reader], list[Reader], list[Reader]]:
    """The readers that are sure of a claim, those that may be one of several, and the last resort."""
    found = readers()
    return (
        [reader for reader in found if reader.is_sure],
        [reader for reader in found if not (reader.is_sure or reader.is_last)],
        [reader for reader in found if reader.is_last],
    )


def _refuse_database(source: Source) -> None:
    """Say that files of a database are there whose name it is, of which no reader can make one."""
    name = source.basename
    siblings = {child[len(name) :] for child in source.children() if child.startswith(f"{name}.")}
    files = siblings & {".db"} or siblings & {".dir", ".dat", ".pag", ".bak"}
    if files == {".db"} or (".dir" in files and len(files) > 1):
        shown = ", ".join(f"{name}{suffix}" for suffix in sorted(files))
        raise DamagedFileError(
            f"no file has this name, and {shown} next to it is no database that can be read.",
            file=source.name,
            remedy="If it is a shelf, it is damaged: copy all of its files again from where they "
            "came from.",
        )


def _claims(source: Source, asked: Iterable[Reader]) -> dict[str, tuple[Reader, str]]:
    return {
        reader.name: (reader, reason) for reader in asked if (reason := _claim_of(reader, source))
    }


def _claim_of(reader: Reader, source: Source) -> str | None:
    """Ask a reader; one of a stranger's package that raises is no reason that nothing opens."""
    try:
        return reader.claims(source)
    except PersistError:
        raise
    except Exception as error:
        if type(reader).__module__.startswith("persist.readers."):
            raise
        warnings.warn(
            f"the reader {reader.name!r} ({type(reader).__module__}) raised {type(error).__name__} when "
            f"it was asked for its claim: {error}. The file was read without it.",
            PackWarning,
            stacklevel=3,
        )
        return None


@functools.cache
def readers() -> tuple[Reader, ...]:
    """Return one of every reader: those of the package, found by walking it, and entry points'."""
    package = importlib.import_module("persist.readers")
    found: dict[str, Reader] = {}
    for own in modules_in(package.__path__):
        if own.rpartition(".")[2].startswith("_"):  # imported by a reader when it reads
            continue
        module = importlib.import_module(f"persist.readers.{own}")
        for value in vars(module).values():
            if _is_reader(value) and value.__module__ == module.__name__:
                found[value.name] = value()
    for point in entry_points("persist.readers"):
        reader = point.load()()
        found[reader.name] = reader
    return tuple(found.values())


def _is_reader(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Reader) and hasattr(value, "name")
