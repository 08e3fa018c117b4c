"""ZIP files that are cut or altered, opened with ``salvage=True``: each value is right or absent."""

from __future__ import annotations

import decimal
import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import DamagedFileError, FormatError
from persist.tree import Global, Record

TESTS = Path(__file__).parents[1]
CORPUS = TESTS / "corpus"
FILES = [
    *sorted((TESTS / "golden" / "version-1").glob("*.persist")),
    CORPUS / "persist" / "small" / "net.persist",
    CORPUS / "numpy" / "numpy-1.6.2-py27-npz-arr" / "params.npz",
    CORPUS / "numpy" / "numpy-2.1.3-py312-npz-compressed" / "ckpt.npz",
    CORPUS / "torch" / "torch-1.6.0-py38-dtypes-views" / "all.pt",
    CORPUS / "keras" / "keras-3.0.5-py311-keras-mlp" / "model.keras",
]
FORMATS = {".persist": "persist", ".npz": "npz", ".pt": "torch-zip", ".keras": "keras-zip"}
TRIES = 30


def _arrays(file: persist.File) -> Iterator[tuple[str, Any]]:
    """The arrays of a file that can be read."""
    for name, array in file.arrays.items():
        try:
            yield name, np.asarray(array)
        except DamagedFileError:
            assert file.damage, name


def _same(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other) or one != one
    except decimal.InvalidOperation:  # a signaling NaN
        return str(one) == str(other)


def _damaged(data: bytes) -> Iterator[bytes]:
    """A file cut at many places, near each header among them, and with bytes altered."""
    chance = random.Random(len(data))
    headers = [at for at in range(len(data)) if data.startswith((b"PK\3\4", b"PK\1\2"), at)]
    near = [at + by for at in headers for by in (-1, 0, 1, 29, 35)]
    cuts = chance.sample(near, min(TRIES, len(near))) + chance.sample(range(len(data)), TRIES)
    yield from (data[: max(cut, 0)] for cut in (*cuts, len(data) - 1, len(data) - 30))
    places = chance.sample(range(len(data)), TRIES)
    for place in [
        *places,
        *(min(at + chance.randrange(46), len(data) - 1) for at in headers[:TRIES]),
    ]:
        altered = bytearray(data)
        altered[place] ^= 1 << chance.randrange(8)
        yield bytes(altered)
        yield bytes(altered[: len(data) - 40])


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_value_of_a_damaged_file_is_right_or_absent(path: Path) -> None:
    data = path.read_bytes()
    intact = persist.open(data)
    arrays, scalars, form = dict(_arrays(intact)), dict(intact.scalars), intact.format
    given = 0
    for damaged in _damaged(data):
        try:
            file = persist.open(damaged, salvage=True)
            if file.format != form:
                continue
            found = dict(_arrays(file))
        except FormatError:
            continue
        for name, array in found.items():  # by any path that leads to it
            if name.endswith("~memory"):  # that several arrays share: it is at no path
                continue
            if name in scalars:  # long bytes are a member, whose meaning is in the graph
                stated = scalars[name]
                assert array.tobytes() == (stated if type(stated) is bytes else stated.tobytes())
            else:
                assert _same(array, intact.arrays[name]), name
        given += len(found)
        assert not arrays.keys() - found.keys() or file.damage
        for name, value in file.scalars.items():
            if name in scalars and not isinstance(value, Global | Record):
                assert _equal(value, scalars[name]), name
    assert given or not arrays or path.suffix == ".keras"  # whose weights are the last member
    assert form == FORMATS[path.suffix]


TREE: dict[str, Any] = {
    "net": {"w": np.arange(2000.0), "b": np.ones(3, "f4"), "name": "mlp"},
    "x": np.arange(500),
    "y": np.arange(500, 1000),
}


def _saved(**options: Any) -> bytes:
    out = io.BytesIO()
    persist.save(TREE, out, **options)
    return out.getvalue()


@pytest.mark.parametrize("options", [{}, {"compress": "deflate"}, {"format": "npz"}])
def test_the_arrays_before_the_cut_are_given(options: dict[str, Any]) -> None:
    if options.get("format") == "npz":
        out = io.BytesIO()
        np.savez(out, **{"net/w": TREE["net"]["w"], "x": TREE["x"], "y": TREE["y"]})
        data = out.getvalue()
    else:
        data = _saved(**options)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.getinfo("y.npy").header_offset
    with pytest.raises(DamagedFileError):
        dict(_arrays(persist.open(data[: start + 200])))
    file = persist.open(data[: start + 200], salvage=True)
    assert _same(file.arrays["net/w"], TREE["net"]["w"])
    assert _same(file.arrays["x"], TREE["x"])
    assert "y" not in file.arrays
    assert "lost: 'y.npy'" in file.damage[0]


def test_a_container_without_its_directory_is_the_tree_that_was_saved() -> None:
    data = _saved()
    cut = data[: data.index(b"PK\1\2")]
    with pytest.raises(DamagedFileError):
        _ = persist.open(cut).tree
    file = persist.open(cut, salvage=True)
    tree: Any = file.tree
    assert tree["net"]["name"] == "mlp"
    assert all(_same(array, persist.open(data).arrays[name]) for name, array in _arrays(file))
    assert len(file.arrays) == 4
    assert "no directory" in file.damage[0]


def test_an_altered_array_of_a_container_is_lost_and_the_rest_is_the_tree() -> None:
    data = bytearray(_saved())
    data[data.index(TREE["x"].tobytes()) + 9] ^= 4
    file = persist.open(bytes(data), salvage=True)
    tree: Any = file.tree
    assert tree["net"]["name"] == "mlp"
    assert sorted(name for name, _ in _arrays(file)) == ["net/b", "net/w", "y"]
    assert any("'x.npy'" in line for line in file.damage)
    with pytest.raises(DamagedFileError, match="lost"):
        np.asarray(file.arrays["x"])


def test_arrays_that_share_memory_are_right_or_left_out_without_the_graph() -> None:
    base = np.arange(10.0)
    tree: dict[str, Any] = {"x": base[:5], "y": base[3:9], "m": np.arange(12).reshape(3, 4)}
    tree["t"] = tree["m"].T
    out = io.BytesIO()
    persist.save(tree, out)
    data = out.getvalue()
    file = persist.open(data[: data.index(b"graph.json")], salvage=True)
    found = dict(_arrays(file))
    assert _same(found["m"], tree["m"])
    assert _same(found["x~memory"], base[:9])
    assert sorted(found) == ["m", "x~memory"]
    assert any("graph.json is lost" in line for line in file.damage)


def test_an_archive_inside_a_member_is_never_taken_for_the_members() -> None:
    inner = io.BytesIO()
    np.savez(inner, x=np.zeros(4))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.npy", _npy(np.arange(9)))
        archive.writestr("inner.bin", inner.getvalue())
    data = bytearray(out.getvalue())
    data[data.index(b"inner.bin") - 10] ^= 0xFF  # its size: the next header is not where it says
    for damaged in (bytes(data), bytes(data[:-60])):
        file = persist.open(damaged, salvage=True)
        assert "x" not in file.arrays
        assert file.arrays["a"].tolist() == list(range(9))
        assert file.damage


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def test_an_intact_file_is_the_same_with_salvage() -> None:
    for path in FILES:
        with persist.open(path) as file, persist.open(path, salvage=True) as again:
            assert again.damage == file.damage
            assert list(again.arrays) == list(file.arrays)
