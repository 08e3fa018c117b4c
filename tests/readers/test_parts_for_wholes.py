"""A part is never given as the whole without a word: cut archives, containers packed anew, savez's order."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

import persist
from persist.errors import DamagedFileError, DamageWarning


def zipped(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target.getvalue()


def npz(**arrays: object) -> bytes:
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()


@pytest.mark.parametrize("inner", ["npz", "zip"])
def test_a_cut_archive_of_archives_is_no_archive_of_its_last_member(inner: str) -> None:
    first = npz(w=np.arange(4.0)) if inner == "npz" else zipped(a=pickle.dumps(1), b=b"K\x01.")
    whole = zipped(policy=first, optimizer=npz(m=np.zeros(500)))
    assert set(persist.open(whole).tree) == {"policy", "optimizer"}
    middle = whole.index(first) + len(first)
    for end in (middle, middle + 1, middle + 900, len(whole) - 200, len(whole) - 30):
        with pytest.raises(DamagedFileError, match="has no directory"):
            persist.open(whole[:end])


def test_a_program_before_an_archive_is_still_passed_over() -> None:
    data = b"#!/bin/sh\nexec unpack\n" + npz(w=np.arange(3))
    assert persist.open(data).arrays["w"].tolist() == [0, 1, 2]


def test_a_container_that_was_packed_anew_is_reported() -> None:
    target, again = io.BytesIO(), io.BytesIO()
    persist.save({"s": "text", "n": [1, 2], "w": np.arange(3.0)}, target)
    with zipfile.ZipFile(target) as old, zipfile.ZipFile(again, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with persist.open(again.getvalue()) as file:
        assert list(file.arrays) == ["w"]
        assert not file.scalars
        assert "a container of persist that another program has packed anew" in file.damage[0]
    with pytest.warns(DamageWarning, match="only its arrays"):
        persist.load(again.getvalue())


@pytest.mark.parametrize("match", ["order", "shape"])
def test_savez_gives_its_arrays_in_the_order_of_their_numbers(match: str, tmp_path: Path) -> None:
    target = io.BytesIO()
    numbers = [10, 2, 0, 1, 11, 9, 8, 7, 6, 5, 4, 3]  # as Python 2's dict has them
    with zipfile.ZipFile(target, "w") as archive:
        for number in numbers:
            member = io.BytesIO()
            np.save(member, np.full(2, number))
            archive.writestr(f"arr_{number}.npy", member.getvalue())
    into = {f"p{index:02d}": np.zeros(2, int) for index in range(12)}
    persist.restore(target.getvalue(), into, match=match)
    assert [int(array[0]) for array in into.values()] == list(range(12))


def test_other_names_keep_their_order() -> None:
    into = {"a": np.zeros(1), "b": np.zeros(1)}
    persist.restore(npz(z=np.ones(1), y=np.full(1, 2.0)), into, match="order")
    assert (into["a"][0], into["b"][0]) == (1.0, 2.0)


def test_the_error_of_a_cut_archive_says_so() -> None:
    whole = zipped(policy=npz(w=np.arange(4.0)), optimizer=npz(m=np.zeros(500)))
    from persist._wire.archives.zip import ZipDirectory
    from persist._wire.base.source import open_source

    first = whole.index(npz(w=np.arange(4.0)))
    cut = whole[: first + len(npz(w=np.arange(4.0)))]
    with pytest.raises(DamagedFileError, match="belongs to an archive that begins at offset"):
        ZipDirectory.read(open_source(cut))
