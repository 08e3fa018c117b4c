"""The cases of the foundry: a whole module that a release of torch pickled, its inputs and what it gave."""

from __future__ import annotations

import functools
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent


class Case(NamedTuple):
    """A case of one release.

    Attributes:
        name: of the case.
        file: the pickled module.
        inputs, outputs: of the release's own call.
        state: its state dict.
    """

    name: str
    file: bytes
    inputs: list[Any]
    outputs: list[Any]
    state: dict[str, Any]


def releases() -> list[str]:
    """The releases of which there are cases, oldest first."""
    names = [path.name.removesuffix(".tar.xz") for path in HERE.glob("*.tar.xz")]
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")])


@functools.lru_cache(maxsize=1)
def _members(release: str) -> dict[str, bytes]:
    with tarfile.open(HERE / f"{release}.tar.xz") as archive:
        return {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]


def cases(release: str) -> Iterator[Case]:
    """The cases of a release, by name."""
    members = _members(release)
    for name in sorted(one.removesuffix(".npz") for one in members if one.endswith(".npz")):
        arrays = dict(np.load(io.BytesIO(members[f"{name}.npz"])))
        yield Case(
            name,
            members[f"{name}.pt"],
            [arrays[f"x{n}"] for n in range(9) if f"x{n}" in arrays],
            [arrays[f"y{n}"] for n in range(9) if f"y{n}" in arrays],
            {key[2:]: value for key, value in arrays.items() if key.startswith("s.")},
        )
