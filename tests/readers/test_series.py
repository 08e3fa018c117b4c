"""Folders of numbered checkpoints: which files are steps, and which of them is opened."""

from __future__ import annotations

import gzip
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._wire.base.numbered_steps import grouped
from persist.errors import FormatError, UnknownFormatError

CORPUS = Path(__file__).parents[1] / "corpus"
MODULE = CORPUS / "mxnet" / "made-1.9.1-py38-module-series"
SIMPLE = CORPUS / "tensorflow" / "tf-1.15.5-py37-saved-model-simple" / "export"


def lay(folder: Path, *names: str) -> Path:
    """Files that each hold their own name."""
    folder.mkdir(exist_ok=True)
    for name in names:
        if name.endswith(".npz"):
            np.savez(folder / name, name=np.array(list(name.encode())))
        elif name.endswith(".gz"):
            (folder / name).write_bytes(gzip.compress(pickle.dumps({"name": name})))
        else:
            (folder / name).write_bytes(pickle.dumps({"name": name}))
    return folder


def steps(names: list[str]) -> dict[str, list[int]]:
    return {pattern: [step.number for step in found] for pattern, found in grouped(names).items()}


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["model.ckpt-2", "model.ckpt-10"], {"model.ckpt-#": [2, 10]}),
        (["mlp-0001", "mlp-0010", "mlp-0002"], {"mlp-#": [1, 2, 10]}),
        (["weights.01-0.35", "weights.02-0.30"], {"weights.#-#": [1, 2]}),
        (["epoch=3-step=400", "epoch=4-step=500"], {"epoch=#-step=#": [3, 4]}),
        (["epoch=3-step=400", "epoch=3-step=500"], {"epoch=#-step=#": [400, 500]}),
        (["resnet50-epoch-3", "resnet50-epoch-12"], {"resnet#-epoch-#": [3, 12]}),
        (["resnet50-epoch-3"], {"resnet#-epoch-#": [3]}),
        (["cp-0001.ckpt", "cp-0002.ckpt"], {"cp-#.ckpt": [1, 2]}),
        (["model-00001-of-00002", "model-00002-of-00002"], {}),
        (["model-1.5", "final"], {}),
        (["a1", "a2", "b1"], {"a#": [1, 2], "b#": [1]}),
        (["x" + "9" * 30], {}),
    ],
)
def test_which_number_is_the_step(names: list[str], wanted: dict[str, list[int]]) -> None:
    assert steps(names) == wanted


@pytest.mark.parametrize(
    "names",
    [
        ["model-1.pth", "model-2.pth", "model-10.pth"],
        ["epoch_1.pkl", "epoch_2.pkl", "epoch_10.pkl"],
        ["net.001.pkl.gz", "net.002.pkl.gz", "net.010.pkl.gz"],
        ["checkpoint_1.pt", "checkpoint_2.pt", "checkpoint_10.pt", "readme.txt", "best.pt"],
    ],
)
def test_a_folder_opens_at_its_last_step_or_at_any(tmp_path: Path, names: list[str]) -> None:
    folder = lay(tmp_path / "run", *names)
    with persist.open(folder) as file:
        assert file.format == "series"
        assert file.structure["series"]["steps"] == [1, 2, 10]
        assert file.structure["series"]["step"] == 10
        assert file.scalars["name"] == names[2]
        assert file.structure["series"]["files"]["2"] == [names[1]]
    with persist.open(folder, step=2) as file:
        assert file.scalars["name"] == names[1]
    with pytest.raises(FormatError, match="no step 3") as caught:
        persist.open(folder, step=3)
    assert "1, 2, 10" in caught.value.remedy


def test_genuine_epochs_of_mxnet_with_their_symbol() -> None:
    with persist.open(MODULE) as file, persist.open(MODULE / "run-0003.params") as own:
        assert file.format == "series"
        assert set(file.arrays) == set(own.arrays)
        assert file.structure["series"]["steps"] == [1, 2, 3]
        assert file.structure["symbol"]["nodes"]
    with persist.open(MODULE, step=1) as file, persist.open(MODULE / "run-0001.params") as own:
        for name in own.arrays:
            assert np.array_equal(file.arrays[name], own.arrays[name])


def test_several_kinds_of_one_step_stand_side_by_side(tmp_path: Path) -> None:
    kinds = ("model", "optimizer")
    names = [f"{kind}-{number}.pth" for kind in kinds for number in (1, 2, 3)]
    with persist.open(lay(tmp_path / "run", *names[:-1])) as file:
        assert file.structure["series"]["steps"] == [1, 2, 3]
        assert dict(file.scalars) == {"model/name": "model-3.pth"}
    with persist.open(tmp_path / "run", step=2) as file:
        assert dict(file.scalars) == {
            "model/name": "model-2.pth",
            "optimizer/name": "optimizer-2.pth",
        }


def test_a_stray_number_is_no_step(tmp_path: Path) -> None:
    folder = lay(tmp_path / "run", "e-1.npz", "e-2.npz", "e-3.npz", "data-7.npz")
    with persist.open(folder) as file:
        assert file.structure["series"]["steps"] == [1, 2, 3]


@pytest.mark.parametrize("names", [["mnist_784.npz"], ["a.pkl", "b.pkl"], ["notes-1.txt"]])
def test_other_folders_are_no_series(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(UnknownFormatError):
        persist.open(lay(tmp_path / "data", *names))


def test_one_checkpoint_is_a_series_if_it_is_called_one(tmp_path: Path) -> None:
    with persist.open(lay(tmp_path / "run", "epoch-7.pkl")) as file:
        assert file.structure["series"]["steps"] == [7]


def test_versions_of_a_saved_model(tmp_path: Path) -> None:
    for version in ("00000002", "00000010"):
        shutil.copytree(SIMPLE, tmp_path / version)
    with persist.open(tmp_path) as file:
        assert file.structure["series"]["steps"] == [2, 10]
        assert "hidden/weights" in file.arrays


def test_a_broken_step_is_reported_and_the_others_can_be_had(tmp_path: Path) -> None:
    folder = lay(tmp_path / "run", "epoch-1.pkl", "epoch-2.pkl")
    (folder / "epoch-2.pkl").write_bytes(b"\x80\x04")
    with pytest.raises(FormatError, match=r"epoch-2\.pkl"):
        persist.open(folder)
    with persist.open(folder, step=1) as file:
        assert file.scalars["name"] == "epoch-1.pkl"


def test_options_reach_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"epoch-{number}.pkl").write_bytes(b"S'caf\\xe9'\n.")
    seen: list[Any] = []
    for text in ("latin-1", "bytes"):
        with persist.open(folder, py2_str=text) as file:
            seen.append(file.tree)
    assert seen == ["café", b"caf\xe9"]


# What is chosen is said; what is doubtful is refused, with the choices.

RANKS = Path(__file__).parents[1] / "cases" / "ranks_as_steps"


@pytest.mark.parametrize("case", ["sharded", "tensor-parallel", "trainer", "zero"])
def test_ranks_of_a_distributed_run_are_no_steps(case: str) -> None:
    with pytest.raises(UnknownFormatError, match="are ranks or parts of one state") as caught:
        persist.open(RANKS / case)
    names = [path.name for path in (RANKS / case).iterdir() if path.suffix != ".bin"]
    for name in names:
        assert name in caught.value.remedy
        with persist.open(RANKS / case / name) as file:  # what the remedy says works
            assert file.arrays


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["2016-exp00.pkl", "2016-exp01.pkl", "2017-exp00.pkl"], "not by the steps of a run"),
        (["exp1.pkl", "exp2.pkl"], "not by the steps of a run"),
        (["1.pkl", "2.pkl"], "nothing shows that the numbers are steps"),
        (["2016-epoch10.pt", "2017-epoch10.pt"], "bear years"),
        (["2016-epoch10.pt", "2017-epoch20.pt"], "differ in several numbers"),
        (["a2016.pt", "a2017.pt"], "bear years"),
        (["epoch1-a.pt", "epoch01-a.pt"], "several files of one step"),
        (["fold1_epoch10.pt", "fold2_epoch20.pt"], "not by the steps of a run"),
        (["model_rank0_step10.pt", "model_rank0_step20.pt"], "ranks or parts"),
        (["layer_00-model_00.pt", "layer_01-model_00.pt"], "ranks or parts"),
        (["shard_000.npz", "shard_001.npz"], "ranks or parts"),
    ],
)
def test_doubtful_numbers_are_refused_with_the_choices(
    tmp_path: Path, names: list[str], why: str
) -> None:
    folder = lay(tmp_path / "run", *names)
    for verb in (persist.open, persist.load, persist.explain):
        with pytest.raises(UnknownFormatError, match=why) as caught:
            verb(folder)
        assert all(name in caught.value.remedy for name in names)


@pytest.mark.parametrize(
    ("names", "step"),
    [
        (["weights.01-0.35.hdf5", "weights.02-0.30.hdf5"], 2),
        (["epoch=3-step=400.ckpt", "epoch=4-step=500.ckpt"], 4),
        (["resnet50-epoch-3.pth", "resnet50-epoch-12.pth"], 12),
        (["10_epoch.pkl", "20_epochs.pkl", "30_epoch.pkl"], 30),
        (["generator-100.pth", "generator-200.pth"], 200),
        (["mlp-0001.params", "mlp-0010.params"], 10),
        (["2016-05-epoch-1.pkl", "2016-05-epoch-2.pkl"], 2),
    ],
)
def test_steps_are_known_by_the_words_next_to_them(
    tmp_path: Path, names: list[str], step: int
) -> None:
    with persist.open(lay(tmp_path / "run", *names)) as file:
        assert file.structure["series"]["step"] == step


def test_what_was_chosen_is_said(tmp_path: Path) -> None:
    folder = lay(tmp_path / "run", "model-1.pth", "model-2.pth", "optimizer-1.pth", "best.pt")
    with persist.open(folder) as file:
        assert file.notes == [
            "of 2 checkpoints the latest is opened, model-2.pth; step= chooses another",
            "there is no step 2 of optimizer-#.pth",
            "best.pt in the folder have no step number and are left out; open them by name",
        ]
    with pytest.warns(persist.errors.ChoiceWarning) as reported:
        persist.load(folder)
    assert "of 2 checkpoints the latest" in str(reported[0].message)
    assert len(reported) == 3
    (folder / "best.pt").unlink()
    with persist.open(folder, step=1) as file:
        assert file.notes == []


def test_a_folder_of_files_is_refused_with_their_names(tmp_path: Path) -> None:
    folder = lay(tmp_path / "run", *(f"{name}.pkl" for name in "abcdefghij"))
    with pytest.raises(UnknownFormatError, match="no reader knows this folder") as caught:
        persist.open(folder)
    assert "a.pkl, b.pkl" in caught.value.remedy
    assert "and 2 more" in caught.value.remedy
