"""The spine: open, load, save. Start reading here.

bytes --reader--> tree --packs, aliases, migrations--> tree of today --> objects
"""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import importlib
import importlib.metadata
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from persist import _packs, _show
from persist._paths import Looker, Names, is_array
from persist._wire.compress import peel
from persist._wire.diagnosis import diagnose
from persist._wire.source import Source, open_source
from persist.errors import AmbiguousFormatError, PersistError, UnknownFormatError
from persist.readers.base import Content, Options, Reader
from persist.registry import Registry, default_registry
from persist.tree import Record

__all__ = ["File", "open", "readers"]


class File:
    """What is inside a file, to look at; nothing in it was imported or called.

    Attributes:
        name: the file as it was named.
        format: the name of the reader that took it.
        claim: why it took it.
        writer: what the file itself tells of its writer; never guessed.
        tree: the file as written (see `persist.tree`).
        arrays: natural path -> array, lazy where the format allows.
        scalars: natural path -> every other leaf.
        damage: what was wrong and passed over, in words; empty as a rule.
    """

    def __init__(
        self, source: Source, content: Content, reader: Reader, claim: str, registry: Registry
    ) -> None:
        self._source = source
        self._content = content
        self._registry = registry
        self.name = source.name
        self.format = content.format or reader.name
        self.claim = claim
        self.writer = content.writer
        self.damage = content.damage
        self.tree = content.tree

    @functools.cached_property
    def looker(self) -> Looker:
        """How the tree looks through the packs of the libraries that it names."""
        knowledge = _packs.gather(self._content.globals, self._registry)
        return Looker(functools.partial(_view, knowledge), self._tree_of)

    def _tree_of(self, data: bytes, name: str) -> Any:
        return read(self._source.nested(data, name), Options(), ())[1].tree

    @functools.cached_property
    def arrays(self) -> Mapping[str, Any]:
        """Natural path -> array-like: ``shape``, ``dtype``, ``nbytes``, ``numpy.asarray()``, ``[i:j]``."""
        return self._names(is_array)

    @functools.cached_property
    def scalars(self) -> Mapping[str, Any]:
        """Natural path -> every leaf that is no array."""
        return self._names(lambda leaf: not is_array(leaf))

    def _names(self, wanted: Callable[[Any], bool]) -> Names:
        return Names(self.tree, self.looker, wanted, self._source.limits.paths, self.name)

    @functools.cached_property
    def structure(self) -> dict[str, Any]:
        """JSON-able description of what is no array: a config, graph nodes, the globals named."""
        structure = self._content.structure
        return structure() if callable(structure) else structure

    def close(self) -> None:
        """Let go of the file; mapped arrays stay valid."""
        self._source.close()

    def __enter__(self) -> File:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.format} file {self.name}>"

    def __str__(self) -> str:
        return _show.page(self)


def open(
    source: Any,
    *,
    mmap: bool = True,
    verify: str | None = None,
    py2_str: str | Callable[[bytes], Any] | None = None,
    salvage: bool = False,
    step: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    limits: Mapping[str, int] | None = None,
    registry: Registry | None = None,
    arrays: str = "numpy",
) -> File:
    """Look into an experiment file without the framework that wrote it.

    Nothing that the file names is imported or called, whatever it holds.

    Args:
        source: a path, a checkpoint prefix, a folder, an fsspec URL, bytes, or
            an open binary file.
        mmap: map local files instead of reading them.
        verify: when checksums are checked: "lazy", "always", "never"; None
            leaves it to the format.
        py2_str: what Python 2's ``str`` becomes: None (text where it is UTF-8,
            bytes otherwise), "text", "bytes", an encoding, or a callable.
        salvage: give what is whole of a damaged file; ``damage`` tells the rest.
        step: of a series of checkpoints, the one wanted; None is the latest.
        storage_options: for fsspec.
        limits: what reading may cost, by name (see `docs/reference.md`).
        registry: schemas and packs to look through; None is the default one.
        arrays: "numpy", or "torch" to hand out tensors (with torch installed).

    Returns:
        A `File`; also a context manager.

    Raises:
        FormatError: the file cannot be read, with the place and the reason.
        FileNotFoundError: there is no such file.
    """
    opened = open_source(source, map=mmap, limits=limits, storage_options=storage_options)
    options = Options(py2_str=py2_str, verify=verify, salvage=salvage, step=step, arrays=arrays)
    return _open(opened, options, default_registry if registry is None else registry)


def _open(source: Source, options: Options, registry: Registry) -> File:
    try:
        reader, content, claim = read(source, options, ())
    except BaseException:
        source.close()
        raise
    return File(source, content, reader, claim, registry)


def read(source: Source, options: Options, layers: tuple[str, ...]) -> tuple[Reader, Content, str]:
    """Read a source by whichever reader claims it; also what is nested in another file."""
    reader, inner, claim = choose(source, layers)
    options = attrs.evolve(options, open_nested=lambda found: read(found, options, ())[1])
    try:
        with _collector_paused():
            return reader, reader.read(inner, options), claim
    except PersistError as error:
        error.at(file=source.name)
        raise


def choose(source: Source, layers: tuple[str, ...] = ()) -> tuple[Reader, Source, str]:
    """Return the reader whose claim stands, what it is to read, and its reason.

    Compression is taken off until somebody claims what is inside.

    Raises:
        UnknownFormatError: nobody claims it; with what it is instead, if that shows.
        AmbiguousFormatError: two unrelated readers claim it.
    """
    claims = {
        reader.name: (reader, reason) for reader in readers() if (reason := reader.claims(source))
    }
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
    peeled = peel(source) if source.kind == "file" and source.size else None
    if peeled is not None:
        inner, layer = peeled
        return choose(inner, (*layers, layer))
    if source.kind == "prefix":  # no such file, and what begins so is no checkpoint
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source.path)
    what, cure = diagnose(source)
    inside = f"inside its {', '.join(layers)} layer, " if layers else ""
    raise UnknownFormatError(f"{inside}{what}", file=source.name, remedy=cure)


@functools.cache
def readers() -> tuple[Reader, ...]:
    """Return one of every reader: those of the package, found by walking it, and entry points'."""
    package = importlib.import_module("persist.readers")
    found: dict[str, Reader] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"persist.readers.{info.name}")
        for value in vars(module).values():
            if _is_reader(value) and value.__module__ == module.__name__:
                found[value.name] = value()
    for point in importlib.metadata.entry_points(group="persist.readers"):
        reader = point.load()()
        found[reader.name] = reader
    return tuple(found.values())


def _is_reader(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Reader) and hasattr(value, "name")


def _view(knowledge: Registry, record: Record, looker: Looker) -> Any:
    """A record through the packs, or None where none knows it."""
    plain = knowledge.plain_for(record.qualname)
    if plain is not None:
        return plain(record, looker)
    for plain in knowledge.plains_like():
        seen = plain(record, looker)
        if seen is not None:
            return seen
    return None


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Build a tree without the garbage collector looking at it again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
