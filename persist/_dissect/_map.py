"""Which grammar describes some bytes, and the ranges inside ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from persist._dissect import _archives, _arrays, _frameworks, _streams, _torch7
from persist._dissect._ranges import Range, tiled
from persist._wire.base.source import Source, open_source

__all__ = ["dissect"]

Parts = Iterator[tuple[int, int, str]]

# What recognises the first bytes -> (what the part is called, what describes it). The order counts.
_GRAMMARS: tuple[tuple[Callable[[memoryview], bool], str, Callable[[memoryview], Parts]], ...] = (
    (_arrays.is_npy, "npy", _arrays.npy),
    (_archives.is_gzip, "gzip", _archives.gzip),
    (_archives.is_compressed, "compressed", _archives.compressed),
    (_arrays.is_hdf5, "hdf5", _arrays.hdf5),
    (_archives.is_sqlite, "sqlite", _archives.sqlite),
    (_archives.is_tar, "tar", _archives.tar),
    (_arrays.is_matlab5, "matlab 5", _arrays.matlab5),
    (_arrays.is_safetensors, "safetensors", _arrays.safetensors),
    (_frameworks.is_mxnet, "mxnet", _frameworks.mxnet),
    (_frameworks.is_table, "table", _frameworks.table),
    (_streams.is_tfrecord, "tfrecord", _streams.tfrecord),
    (_torch7.is_torch7, "torch7", _torch7.torch7),
    (_streams.is_pickle, "pickle", _streams.pickles),
    (_arrays.is_matlab4, "matlab 4", _arrays.matlab4),
    (_streams.is_text, "text", _streams.text),
    (_archives.is_zlib, "zlib", _archives.zlib),
    (_frameworks.is_msgpack, "msgpack", _frameworks.msgpack),
    (_streams.is_protobuf, "protobuf", _streams.protobuf),
)
_DEPTH = 8  # files in files


def dissect(source: object) -> Iterator[Range]:
    """Yield what each range of bytes of a file is, from the first byte to the last.

    Args:
        source: a path, ``bytes``, an open binary file or an fsspec URL.

    Raises:
        OSError: there is no such file, or it is a folder.
    """
    opened = source if isinstance(source, Source) else open_source(source)
    data = opened.view(0, opened.size)
    yield from _described(data, 0, "", 0)


def _described(data: memoryview, base: int, place: str, depth: int) -> Iterator[Range]:
    """The ranges of one part: of an archive those of its members, else those of its grammar."""
    if _archives.is_zip(data) and depth < _DEPTH:
        yield from tiled(_zip(data, base, place, depth), base, base + len(data), place or "zip")
        return
    for recognises, name, describe in _GRAMMARS:
        if recognises(data):
            inner = f"{place} > {name}" if place else name
            ranges = (Range(base + a, base + b, inner, what) for a, b, what in describe(data))
            yield from tiled(ranges, base, base + len(data), inner)
            return
    yield from tiled((), base, base + len(data), place)


def _zip(data: memoryview, base: int, place: str, depth: int) -> Iterator[Range]:
    here = f"{place} > zip" if place else "zip"
    for start, stop, what, member in _archives.zip_parts(data):
        if member is None:
            yield Range(base + start, base + stop, here, what)
            continue
        inner = f"{here} > {member}"
        first = True
        for one in _described(data[start:stop], base + start, inner, depth + 1):
            yield one
            first = False
        if first:
            yield Range(base + start, base + stop, inner, what)
