"""Ranges of bytes that follow each other without gaps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

__all__ = ["UNKNOWN", "Range", "tiled"]

UNKNOWN = "unknown"


@attrs.frozen
class Range:
    """What a range of bytes is.

    Attributes:
        start: first byte.
        stop: the byte after the last one.
        place: the parts of the file around it, outermost first, joined by ``>``; "" for the file itself.
        what: what it is, in words; "unknown" if nothing is known about it.
    """

    start: int
    stop: int
    place: str
    what: str


def tiled(found: Iterable[Range], start: int, stop: int, place: str) -> Iterator[Range]:
    """Yield ranges in order, cut to ``start`` to ``stop``, and unknown ones in the gaps between them.

    Of two ranges that overlap, the second begins where the first ends: a file may lie.
    """
    at = start
    for one in found:
        first, last = max(one.start, at), min(one.stop, stop)
        if last <= first:
            continue
        if first > at:
            yield Range(at, first, place, UNKNOWN)
        yield attrs.evolve(one, start=first, stop=last)
        at = last
    if at < stop:
        yield Range(at, stop, place, UNKNOWN)
