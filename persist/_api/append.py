"""`append`: arrays on disk that grow."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["append"]


def append(path: str | os.PathLike[str], name: str, values: Any, *, durable: bool = False) -> int:
    """Append values to an array on disk that grows, such as the losses of a run.

    ``path`` is a folder with one NPY file for each array, made at the first append. At every moment
    ``numpy.load(f"{path}/loss.npy")`` gives all rows that were appended before, and
    ``persist.open(path).arrays["loss"]`` and ``persist.load(path)`` do, from any process, while it grows.
    If the process is killed, the rows of finished calls are there, and no part of an unfinished one.

    Args:
        path: of the folder, on this machine.
        name: the natural path of the array (``"loss"``, ``"train/loss"``).
        values: rows, along the first axis; a scalar is one row. The first call decides dtype and shape
            of the rows; later ones may be of any dtype that converts without loss.
        durable: wait until the disk has it, for whoever has to survive a power failure.

    Returns:
        The number of rows of the array.

    Raises:
        FormatError: ``path`` is a file or a folder of other things, or the values do not fit.
    """
    from persist._container.growing import append_rows

    return append_rows(path, name, values, durable)
