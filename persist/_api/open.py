"""`open`: look into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from persist._api.detect import read
from persist._api.file import File
from persist._api.keywords import complete, shares
from persist._runtime.progress import reporting
from persist._wire.base.source import Source, open_source
from persist.errors import (
    PersistError,
)
from persist.readers.base import Options

if TYPE_CHECKING:
    from persist.registry import Registry
    from persist.typing import Openable, OpenOptions

__all__ = ["check_arrays", "open", "open_file", "open_writable"]


@shares
def open(source: Openable, **options: Unpack[OpenOptions]) -> File:
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
        salvage: give what is whole of a damaged file; ``damage`` lists the rest.
        step: of a series of checkpoints, the one wanted; None is the latest.
        storage_options: for fsspec.
        limits: what reading may cost, by name (see `docs/reference.md`).
        registry: schemas and packs to look through; None is the default one.
        arrays: "numpy", or "torch" to hand out tensors (with torch installed).
        progress: True draws a bar of rich or tqdm; a function is called with each ``persist.typing.ProgressEvent``,
            at most 20 times a second and phase. What it raises ends the call.

    Returns:
        A `File`; also a context manager.

    Raises:
        FormatError: the file cannot be read, with the place and the reason.
        FileNotFoundError: there is no such file.
    """
    said = complete(open, options)
    check_arrays(said["arrays"])
    # torch knows no memory that is read only: its tensors get memory of their own, then.
    as_torch = said["arrays"] == "torch"
    return _opened(source, said, writable=as_torch, as_torch=as_torch)


def check_arrays(arrays: str) -> None:
    """Refuse a kind of array that is neither "numpy" nor "torch"."""
    if arrays not in ("numpy", "torch"):
        raise PersistError(f"arrays={arrays!r} is no kind of array.", remedy='"numpy" or "torch".')


def open_writable(source: Openable, options: OpenOptions, *, writable: bool = True) -> File:
    """Open a source as `load` does: maps of arrays are private, and may be written into.

    Args:
        source: as for `open`.
        options: all keywords of `open`, each with a value (`complete`).
        writable: False for maps that are read only, of which a load makes copies.
    """
    return _opened(source, options, writable=writable)


def _opened(
    source: Openable, options: OpenOptions, *, writable: bool, as_torch: bool = False
) -> File:
    progress = options["progress"]
    if progress is not None:
        with reporting(progress):
            file = _opened(
                source, {**options, "progress": None}, writable=writable, as_torch=as_torch
            )
        file._progress = progress  # its tree may be made later
        return file
    opened = open_source(
        source,
        map=options["mmap"],
        limits=options["limits"],
        storage_options=options["storage_options"],
        writable=writable,
    )
    reading = Options(
        py2_str=options["py2_str"],
        verify=options["verify"],
        salvage=options["salvage"],
        step=options["step"],
        arrays=options["arrays"],
    )
    return open_file(opened, reading, options["registry"], as_torch=as_torch)


def open_file(
    source: Source, options: Options, registry: Registry | None, *, as_torch: bool = False
) -> File:
    """Return the `File` of an opened source, by the reader that claims it."""
    try:
        reader, content, claim = read(source, options, ())
    except BaseException:
        source.close()
        raise
    return File(source, content, reader, claim, registry, as_torch=as_torch)
