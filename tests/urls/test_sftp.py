"""SFTP: files are read by ranges, written under a temporary name and renamed; passwords are not shown."""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy as np
import pytest

import persist
from persist.errors import PersistError, StorageError

STATE = {"w": np.arange(30_000.0), "n": 3}


@pytest.mark.parametrize("format", ["persist", "torch", "pickle"])
def test_there_and_back(sftp: tuple[str, Path], format: str) -> None:
    url, folder = sftp
    persist.save(STATE, f"{url}/of-{format}", format=format)
    assert (folder / f"of-{format}").exists()
    loaded = persist.load(f"{url}/of-{format}")
    assert (np.asarray(loaded["w"]) == STATE["w"]).all()
    assert loaded["n"] == 3
    with persist.open(f"{url}/of-{format}") as file:
        assert "hidden" not in file.name + repr(file)


def test_a_save_that_fails_leaves_the_old_file(sftp: tuple[str, Path]) -> None:
    url, folder = sftp
    persist.save({"a": 1}, f"{url}/kept.persist")
    with pytest.raises(PersistError):
        persist.save({"a": np.zeros(9), "b": lambda: None}, f"{url}/kept.persist", format="pickle")
    assert persist.load(f"{url}/kept.persist") == {"a": 1}
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_a_wrong_password(sftp: tuple[str, Path]) -> None:
    url = sftp[0].replace("hidden-pass", "hidden-wrong")
    with pytest.raises(StorageError) as caught:
        persist.load(f"{url}/a.persist")
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


def test_what_is_not_there(sftp: tuple[str, Path]) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        persist.load(f"{sftp[0]}/none.persist")
    assert "hidden" not in str(caught.value)


def test_a_run(sftp: tuple[str, Path]) -> None:
    with persist.Checkpoints(f"{sftp[0]}/run", keep_last=2) as runs:
        for step in range(4):
            runs.save(step, {"w": np.full(3, step)}, metrics={"loss": step})
        assert runs.steps() == [2, 3]
        assert runs.restore()["w"].tolist() == [3, 3, 3]
        assert "hidden" not in repr(runs)
    assert sorted(path.name for path in (sftp[1] / "run").iterdir()) == [
        "step-0000000002.persist",
        "step-0000000003.persist",
    ]
