"""Checkpoints of several files: shards, distributed parts, archives; and the flat buffer of mobile."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import persist
from persist.errors import DamagedFileError, FormatError, PersistError, UnknownFormatError

CORPUS = Path(__file__).parents[1] / "corpus" / "torch"
PARTS = CORPUS / "torch-2.13.0-py311-distributed" / "step-3"
SHARDS = CORPUS / "huggingface-hub-2.4.0-py311-shards-safetensors" / "model"
FLAT = CORPUS / "torch-2.13.0-py311-flatbuffer" / "net.ptl"
DQN = CORPUS / "stable-baselines3-2.9.2-py311-dqn" / "dqn.zip"


def names(file: Any) -> list[str]:
    with persist.open(file) as opened:
        return list(opened.arrays)


# Parts.


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp", "__1_0.distcp"])
def test_a_distributed_checkpoint_is_opened_by_any_file_of_it(name: str) -> None:
    with persist.open(PARTS / name) as file:
        assert file.format == "torch-distributed"
        whole = np.arange(15, dtype="f4").reshape(5, 3)
        np.testing.assert_array_equal(file.arrays["model/fc.columns"], whole)
        np.testing.assert_array_equal(file.arrays["model/fc.weight"][3:], whole[3:])
        assert file.structure["tensors"]["model.fc.weight"] == {"chunks": 2}


def test_a_part_that_is_missing_is_named_and_salvage_gives_the_rest(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PARTS, tmp_path / "run"))
    (folder / "__1_0.distcp").unlink()
    with pytest.raises(DamagedFileError, match=r"'__1_0.distcp' is missing, which holds 'model"):
        persist.open(folder)
    with persist.open(folder, salvage=True) as file:
        assert file.damage
        assert all("__1_0.distcp" in note for note in file.damage)


def test_a_part_that_is_cut_is_reported_with_the_item(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PARTS, tmp_path / "run"))
    data = (folder / "__1_0.distcp").read_bytes()
    (folder / "__1_0.distcp").write_bytes(data[:200])
    with pytest.raises(DamagedFileError, match=r"__1_0.distcp.* left"):
        persist.open(folder)


def test_a_part_of_another_checkpoint_is_no_part_of_this_one(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PARTS, tmp_path / "run"))
    (folder / "__1_0.distcp").write_bytes(20_000 * b"\0")
    with pytest.raises(FormatError, match=r"__1_0.distcp"), persist.open(folder) as file:
        np.asarray(file.arrays["model/fc.weight"])


# Shards.


def test_shards_are_opened_by_the_folder_or_by_their_map() -> None:
    with persist.open(SHARDS) as file:
        assert file.format == "shards"
        assert file.structure["index"] == "model.safetensors.index.json"
        np.testing.assert_array_equal(file.arrays["layer.0.bias"], np.arange(5))
        found = list(file.arrays)
    assert names(SHARDS / "model.safetensors.index.json") == found
    assert found == ["embed.weight", "layer.0.weight", "layer.0.bias", "head.weight"]


def test_a_shard_that_is_missing_is_named_and_salvage_gives_the_rest(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHARDS, tmp_path / "model"))
    gone = folder / "model-00001-of-00002.safetensors"
    gone.unlink()
    with pytest.raises(DamagedFileError, match=r"'model-00001-of-00002.safetensors'.* is missing"):
        persist.open(folder)
    with persist.open(folder, salvage=True) as file:
        assert len(file.damage) == 1
        assert 0 < len(file.arrays) < 4


def test_a_name_that_its_shard_does_not_hold_is_reported(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHARDS, tmp_path / "model"))
    index = folder / "model.safetensors.index.json"
    reported = json.loads(index.read_text())
    reported["weight_map"]["more"] = "model-00002-of-00002.safetensors"
    index.write_text(json.dumps(reported))
    with pytest.raises(DamagedFileError, match=r"'more' is not in 'model-00002-of-00002"):
        persist.open(folder)
    reported["weight_map"]["more"] = "../model.safetensors"
    index.write_text(json.dumps(reported))
    with pytest.raises(DamagedFileError, match="is missing"):
        persist.open(folder)


# Archives.


def packed(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def array(value: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, value)
    return out.getvalue()


@pytest.mark.parametrize(
    "form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["ustar", "gnu", "pax"]
)  # fmt: skip
def test_what_can_be_read_in_a_tar_is_read_under_its_path(form: int) -> None:
    long = "/".join(["runs"] + 12 * ["folder-of-a-run"]) + "/w.npy"
    files = {"./a.npy": array([1, 2]), long: array([3]), "notes.txt": b"see there", "empty": b""}
    with persist.open(packed(files, form)) as file:
        assert file.format == "archive"
        assert np.asarray(file.arrays["a.npy"]).tolist() == [1, 2]
        assert np.asarray(file.arrays[long]).tolist() == [3]
        assert file.structure["others"] == ["empty"]
        assert file.scalars["notes.txt"] == "see there"
        assert "not read empty" in str(file)


def test_the_files_of_stable_baselines_are_each_under_their_name() -> None:
    with persist.open(DQN) as file:
        assert file.format == "archive"
        assert "Python" in file.scalars["system_info.txt"]
        assert "policy_class" in file.tree["data"]
        assert file.scalars["policy.optimizer.pth/param_groups/0/betas/1"] == 0.999


def test_files_in_an_archive_find_their_neighbours() -> None:
    files = {f"model/{path.name}": path.read_bytes() for path in SHARDS.iterdir()}
    with persist.open(packed(files)) as file:
        found = file.arrays["model/model.safetensors.index.json/layer.0.bias"]
        np.testing.assert_array_equal(found, np.arange(5))


def test_one_file_of_an_archive_that_is_damaged_is_reported_and_the_others_are_read() -> None:
    whole = (CORPUS / "torch-1.6.0-py38-mydict" / "mydict").read_bytes()
    with persist.open(packed({"a.npy": array([1]), "b.npy": array(range(99))[:-9]})) as file:
        assert list(file.arrays) == ["a.npy"]
        assert file.damage[0].startswith("b.npy could not be read")
    data = packed({"net.pt": whole, "b.npy": array(range(999))})
    with persist.open(data[: data.index(b"NUMPY") + 500]) as file:
        assert "b.npy has 8,120 bytes, beyond the end of the archive" in file.damage


def test_an_archive_of_nothing_that_is_known_lists_what_is_in_it() -> None:
    with pytest.raises(UnknownFormatError, match=r"a tar archive of 2 files: 'a.txt', 'b.txt'; no"):
        persist.open(packed({"a.txt": b"hello", "b.txt": b"there"}))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("word/document.xml", "<w/>")
        file.writestr("[Content_Types].xml", "<t/>")
    with pytest.raises(UnknownFormatError, match="a ZIP archive of 2 files"):
        persist.open(out.getvalue())


# The flat buffer.


def test_a_flat_buffer_tells_its_code_and_what_shares_memory() -> None:
    with persist.open(FLAT) as file:
        assert file.format == "torchscript-flat"
        assert np.shares_memory(file.arrays["tied"], file.arrays["part/weight"])
        assert file.arrays["part/weight"].shape == (3, 2)
        assert file.structure["extra"]["note.txt"] == "hello"
        assert any("def forward" in text for text in file.structure["code"].values())
        calls = [name for found in file.structure["functions"].values() for name in found]
        assert "aten::mm" in calls


@given(st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_flat_buffer_that_is_altered_gives_an_error_of_ours_or_a_tree(
    changes: list[tuple[int, int]],
) -> None:
    data = bytearray(FLAT.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    try:
        with persist.open(bytes(data)) as file:
            for name in file.arrays:
                np.asarray(file.arrays[name])
            json.dumps(file.structure)
    except PersistError:
        pass


@pytest.mark.parametrize("length", [16, 64, 700, 5000, 11_000])
def test_a_flat_buffer_that_is_cut_says_so(length: int) -> None:
    with pytest.raises(DamagedFileError, match=r"bytes are claimed|the file ends"):
        persist.open(FLAT.read_bytes()[:length])
