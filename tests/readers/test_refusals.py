"""What is not read is named, with the library that reads it; each remedy is followed here."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

import persist
from persist._cli import main
from persist.errors import UnknownFormatError

CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.onnx", ["an ONNX model, written by pytorch", "onnx.load"]),
        ("net.weights", ["Darknet", "0.2.0", "32,000 images", ".cfg"]),
        ("model.pdiparams", ["PaddlePaddle", ".pdmodel"]),
        ("model.dy", ["DyNet", "dynet"]),
        ("model.cntk", ["CNTK 2", "cntk"]),
        ("Data.fs", ["ZODB", "pickles"]),
        ("tensor.lushbin", ["Lush", "NORB"]),
    ],
)
def test_a_format_that_is_not_read_is_named(name: str, words: list[str]) -> None:
    with pytest.raises(UnknownFormatError) as caught:
        persist.open(CASES / "unnamed_formats" / name)
    for word in words:
        assert word in str(caught.value)


def test_folders_of_orbax_and_zarr_are_named(tmp_path: Path) -> None:
    for name, word in (("_CHECKPOINT_METADATA", "orbax.checkpoint"), (".zgroup", "zarr")):
        folder = tmp_path / word
        folder.mkdir()
        (folder / name).write_text("{}")
        with pytest.raises(UnknownFormatError, match=word):
            persist.open(folder)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["_METADATA", "_sharding", "ocdbt.process_0/d/1a", "d/2b"], ["Orbax", "PyTreeCheckpointer"]),
        (["ocdbt.process_0/manifest.ocdbt"], ["Orbax", "PyTreeCheckpointer"]),
        (["default/_METADATA", "metrics/metrics"], ["Orbax", "the items default"]),
        (["0/_CHECKPOINT_METADATA", "5/default/manifest.ocdbt"], ["the steps 0, 5", "CheckpointManager"]),
        (["step_10/state/_METADATA"], ["the steps step_10"]),
        (["checkpoint", "params.kernel/.zarray"], ["Orbax"]),
        (["w/.zarray", "b/zarr.json"], ["Zarr: b, w"]),
    ],
)  # fmt: skip
def test_each_shape_of_a_foreign_folder_is_named(
    tmp_path: Path, files: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x01\x02\x03")
    with pytest.raises(UnknownFormatError) as caught:
        persist.open(tmp_path)
    for word in words:
        assert word in str(caught.value)
    main(["inspect", str(tmp_path)])  # walks through: a folder may hold other files, too
    shown = capsys.readouterr().err
    assert ("some are parts of a folder of" in shown) == (files[0] != "checkpoint")  # hidden files


@pytest.mark.parametrize("name", ["manifest.ocdbt", "_METADATA", "ocdbt.process_3/d/0f", ".zarray"])
def test_a_part_of_a_foreign_folder_is_called_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x0c\xdb\x3a\x2a" + bytes(40))
    if name.endswith("0f"):
        path = path.parent.parent / "0f"
        path.write_bytes(b"\x0c\xdb" + bytes(40))
    with pytest.raises(UnknownFormatError, match="a part of a folder of (Orbax|Zarr)"):
        persist.open(path)


def test_folders_of_other_files_are_no_foreign_ones(tmp_path: Path) -> None:
    for name in ("1/a.txt", "checkpoint", "d/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with pytest.raises(UnknownFormatError, match="no reader knows this folder"):
        persist.open(tmp_path)


def test_pickles_that_became_text_and_the_way_back() -> None:
    folder = CASES / "text_of_a_pickle"
    value = {"loss": [0.5, 0.25]}
    text = (folder / "base64.txt").read_bytes()
    with pytest.raises(UnknownFormatError, match=r"pickle in base64.*base64\.b64decode\(text\)"):
        persist.open(text)
    assert persist.load(base64.b64decode(text)) == value
    data = (folder / "utf8.pkl").read_bytes()
    with pytest.raises(UnknownFormatError, match="encoded as UTF-8"):
        persist.open(data)
    assert persist.load(data.decode("utf-8").encode("latin-1")) == value
    data = (folder / "bom.pkl").read_bytes()
    with pytest.raises(UnknownFormatError, match="byte order mark"):
        persist.open(data)
    assert persist.load(data[3:]) == value


@pytest.mark.parametrize(
    "data", [b"\x08\x08", b"\x08", b"\x00" * 19, b"\x08\x08\x12\x3f", b"A" * 30]
)
def test_short_files_are_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises(persist.PersistError):
        persist.open(data)
