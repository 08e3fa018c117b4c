"""`persist.repair`: what is whole comes into a new file as it was, what is lost is listed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._cli import main
from persist.errors import FormatError, PersistError

CORPUS = Path(__file__).parents[1] / "corpus"
WRITTEN = {"persist": ".persist", "torch-zip": ".pt", "npz": ".npz", "safetensors": ".safetensors", "pickle": ".pkl"}  # fmt: skip
GENUINE = {
    "joblib": "sklearn/sklearn-0.22.2-py38-mlp-joblib/mlp.joblib",
    "keras-zip": "keras/keras-3.0.5-py311-keras-mlp/model.keras",
    "keras-h5": "keras/keras-1.2.2-py27-theano-gates/model.h5",
    "torch-legacy": "torch/torch-1.0.0-py27-kitchen-sink/checkpoint.pth.tar",
    "hdf5": "hdf5/h5py-3.16-filters/filters.h5",
}
# Formats that state a checksum of each member, or place each tensor by itself.
CHECKED = ("persist", "torch-zip", "npz")


def tree() -> dict[str, Any]:
    return {
        f"layer{number}": {"W": np.arange(200.0) + number, "b": np.full(7, number, "i4")}
        for number in range(6)
    }


@pytest.fixture(scope="module", params=[*WRITTEN, *GENUINE])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:  # fmt: skip
    """(format, bytes, suffix, arrays) of a file without damage."""
    format, folder = request.param, tmp_path_factory.mktemp("whole")
    if format in WRITTEN:
        path = folder / f"whole{WRITTEN[format]}"
        flat = {f"{k}/{n}": a for k, layer in tree().items() for n, a in layer.items()}
        persist.save(flat if format in ("npz", "safetensors") else tree(), path, format=format)
        data, suffix = path.read_bytes(), path.suffix
    else:
        path = CORPUS / GENUINE[format]
        if format == "hdf5":  # its filters
            pytest.importorskip("lz4")
            pytest.importorskip("zstandard")
        data, suffix = path.read_bytes(), path.suffix
    with persist.open(path) as file:
        arrays = {name: np.array(array) for name, array in file.arrays.items()}
    return format, data, suffix, arrays


def repaired(data: bytes, suffix: str, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Repair a file; return the report, and the arrays of the new one."""
    damaged, new = folder / f"damaged{suffix}", folder / "new.persist"
    damaged.write_bytes(data)
    new.unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = persist.repair(damaged, new, durable=False)
    assert damaged.read_bytes() == data
    with persist.open(new, verify="always") as file:
        assert file.damage == []
        return done, {name: np.array(array) for name, array in file.arrays.items()}


def assert_same(found: dict[str, Any], arrays: dict[str, Any]) -> None:
    for name, array in found.items():
        wanted = [arrays[name]] if name in arrays else arrays.values()
        assert any(
            array.dtype == one.dtype and array.tobytes() == one.tobytes() for one in wanted
        ), name


def test_a_truncated_file_gives_what_lies_before_its_end(whole: Any, tmp_path: Path) -> None:
    format, data, suffix, arrays = whole
    most = 0
    for percent in (30, 40, 50, 60, 70, 80, 90, 97, 99):
        length = len(data) * percent // 100
        try:
            done, found = repaired(data[:length], suffix, tmp_path)
        except FormatError:
            assert not (tmp_path / "new.persist").exists()
            continue  # nothing can be read: it begins with what all else needs
        assert_same(found, arrays)
        assert done.arrays == len(found)
        assert not done.is_whole or len(found) == len(arrays)
        assert done.format == format
        most = max(most, len(found))
    # In HDF5 the names of what was written first may be at the end, in an old stream all arrays are.
    assert most >= (1 if format in ("keras-zip", "torch-legacy") else len(arrays) // 4), most


@pytest.mark.parametrize("format", CHECKED)
def test_a_flipped_bit_loses_one_member(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{WRITTEN[format]}"
    flat = {f"{k}/{n}": a for k, layer in tree().items() for n, a in layer.items()}
    persist.save(flat if format == "npz" else tree(), path, format=format)
    data = bytearray(path.read_bytes())
    data[data.index((np.arange(200.0) + 3).tobytes()) + 804] ^= 2
    done, found = repaired(bytes(data), path.suffix, tmp_path)
    assert_same(found, flat)
    assert {*flat} - {*found} == {"layer3/W"}
    assert not done.is_whole
    said = "\n".join([*done.damage, *done.lost])
    assert "layer3/W" in said
    if format != "npz":
        assert [*done.lost] == ["layer3/W"]
        made = persist.load(tmp_path / "new.persist")
        assert [*made["layer3"]] == ["b"]  # not there, rather than wrong
        assert [*made["layer2"]] == ["W", "b"]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_repaired_is_never_another_number(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of a container: bits flipped, bytes overwritten, cut off, in any combination."""
    folder = tmp_path_factory.mktemp("never")
    flat = {f"{k}/{n}": a for k, layer in tree().items() for n, a in layer.items()}
    persist.save(tree(), folder / "net.persist", durable=False)
    made = bytearray((folder / "net.persist").read_bytes())
    for at, bit in data.draw(st.lists(st.tuples(st.integers(0, len(made) - 1), st.integers(0, 7)), max_size=3)):  # fmt: skip
        made[at] ^= 1 << bit
    at = data.draw(st.integers(0, len(made) - 1))
    made[at : at + data.draw(st.integers(0, 2000))] = b""
    try:
        done, found = repaired(bytes(made), ".persist", folder)
    except FormatError:
        return
    for name, array in found.items():
        assert array.tobytes() == flat[name].tobytes(), name
    assert len(found) == len(flat) or not done.is_whole


def test_places_that_cannot_be_left_out_are_none(tmp_path: Path) -> None:
    path = tmp_path / "net.persist"
    value = [np.arange(200.0), (np.arange(200.0) + 1, "x"), {"k": np.arange(200.0) + 2}]
    persist.save(value, path, metadata={"run": 7})
    data = bytearray(path.read_bytes())
    for number in (0, 1, 2):
        data[data.index((np.arange(200.0) + number).tobytes()) + 800] ^= 1
    path.write_bytes(data)
    done = persist.repair(path, tmp_path / "new.persist")
    assert persist.load(tmp_path / "new.persist") == [None, (None, "x"), {}]
    assert [*done.lost] == ["0", "1/0", "2/k"]
    with persist.open(tmp_path / "new.persist") as file:
        assert file.structure["metadata"] == {"run": 7}
        assert [entry["action"] for entry in file.history] == ["saved", "repaired"]
        assert [*file.history[-1]["lost"]] == ["0", "1/0", "2/k"]


def test_a_whole_file_stays_whole_and_the_source_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "net.persist"
    persist.save(tree(), path)
    done = persist.repair(path, tmp_path / "new.npz")
    assert done.is_whole
    assert done.target_format == "npz"
    assert np.load(tmp_path / "new.npz")["layer5/b"].tolist() == [5] * 7
    with pytest.raises(PersistError, match="another name"):
        persist.repair(path, path)
    (tmp_path / "link.persist").symlink_to(path)
    with pytest.raises(PersistError, match="another name"):
        persist.repair(path, tmp_path / "link.persist")


class Layer:
    """Saved by the next test."""

    def __init__(self) -> None:
        self.w, self.b = np.arange(300.0), np.zeros(3)


def test_records_of_a_container_stay_records_of_their_schema(tmp_path: Path) -> None:
    registry = persist.Registry("repair")
    registry.register(Layer, version=1, fields=("w", "b"), schema="repair.Layer")
    path = tmp_path / "net.persist"
    persist.save({"a": Layer(), "b": Layer()}, path, registry=registry)
    data = bytearray(path.read_bytes())
    at = data.index(np.arange(300.0).tobytes())
    data[at + 9] ^= 1
    path.write_bytes(data)
    persist.repair(path, tmp_path / "new.persist", registry=registry)
    with persist.open(tmp_path / "new.persist", registry=registry) as file:
        assert [*file.arrays] == ["a/b", "b/w", "b/b"]
        assert file.structure["schemas"][0]["name"] == "repair.Layer"


def test_the_command_lists_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.pt"
    persist.save(tree(), path, format="torch")
    path.write_bytes(path.read_bytes()[:-2500])
    out = tmp_path / "new.pt"
    assert main(["repair", str(path), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "lost: layer5/W: the 1,600 bytes of storage" in text
    assert f"{out}: torch-zip, " in text
    with persist.open(out) as file:
        assert file.format == "torch-zip"
        assert "layer0/W" in file.arrays
        assert "layer5/W" not in file.arrays
    assert main(["repair", str(path), "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["repair", str(path), "--out", str(out), "--force", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["lost"]["layer5/W"]
    assert said["is_whole"] is False
    path.write_bytes(b"nothing")
    assert main(["repair", str(path), "--out", str(tmp_path / "none.persist")]) == 1
    assert not (tmp_path / "none.persist").exists()
