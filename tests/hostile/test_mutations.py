"""Files with changed lengths, offsets, opcodes and members, for every reader: nothing but `PersistError` comes out."""

from __future__ import annotations

import contextlib
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from effort import IS_THOROUGH
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated
from of_readers import parts_of, seeds

import persist
from persist.errors import PersistError


def alone() -> dict[str, Path]:
    """Readers whose smallest case is one file."""
    found = {}
    for name, seed in seeds().items():
        path = seed.folder / seed.file
        if path.is_file() and len(parts_of(seed.folder)) == 1 and path.stat().st_size < 60_000:
            found[name] = path
    return found


def use(data: bytes, *, salvage: bool) -> None:
    """Read all of a file; a part that cannot be read is a `PersistError`, and anything else comes out."""
    with persist.open(data, salvage=salvage) as file:
        for act in (
            lambda: [np.asarray(file.arrays[path]) for path in file.arrays],
            lambda: list(file.scalars.items()),
            lambda: file.structure,
            lambda: str(file),
        ):
            with contextlib.suppress(PersistError):
                act()
    persist.load(data, salvage=salvage)


@pytest.mark.parametrize("reader", alone())
@settings(
    max_examples=60 if IS_THOROUGH else 6, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(seed=st.integers(0, 2**32), salvage=st.booleans())
def test_no_mutant_raises_anything_but_a_persist_error(
    reader: str, seed: int, salvage: bool
) -> None:
    data = mutated(alone()[reader].read_bytes(), random.Random(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(PersistError):
            use(data, salvage=salvage)


def test_mutants_reach_behind_checksums() -> None:
    """A change inside an archive or a container leaves an archive whose checksums are right."""
    import io
    import zipfile

    from persist import _container

    chance, out = random.Random(1), io.BytesIO()
    persist.save({"w": np.arange(300.0), "a": [1, {"b": 2}]}, out, digest=False)
    whole = out.getvalue()
    made = {mutated(whole, chance) for _ in range(60)}
    intact = 0
    for data in made - {whole}:
        try:
            assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
            _container.Store(_container.open_source(data), "always")
            intact += 1
        except (zipfile.BadZipFile, PersistError, AssertionError, NotImplementedError, EOFError):
            continue
    assert intact >= 5
