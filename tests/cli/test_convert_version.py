"""`persist convert --to-version`: a file for yesterday's code, which knows nothing of persist."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from warm import run

TODAY = """
import persist
class Layer(persist.Versioned, version=2, schema="lab.Layer"):
    persistent = ("weights", "rate", "note")
    def __init__(self, weights, rate, note):
        self.weights, self.rate, self.note = weights, rate, note
persist.migration(Layer, 1, persist.ops.rename("w", "weights"), persist.ops.add("note", ""))
"""
YESTERDAY = """
class Layer(object):
    pass
"""
READ = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    layer = pickle.load(file)
assert "persist" not in sys.modules
print(type(layer).__module__, sorted(vars(layer).items()) == [("rate", 0.5), ("w", [1, 2])])
"""
_INSTALLED = sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
PYTHON_27 = str(_INSTALLED[0]) if _INSTALLED else shutil.which("python2.7") or ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("today", TODAY), ("yesterday", YESTERDAY)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "labnets.py").write_text(text)
    (tmp_path / "read.py").write_text(READ)
    make = (
        "import labnets, persist\n"
        "persist.save(labnets.Layer([1, 2], 0.5, ''), 'plain.persist', metadata={'run': 7})\n"
        "persist.save(labnets.Layer([1, 2], 0.5, 'kept'), 'noted.persist')\n"
    )
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path / "today", check=True)
    return tmp_path


def _convert(folder: Path, name: str, *more: str) -> tuple[int, str]:
    words = ["-m", "persist", "convert", name, "--to", "pickle", "--protocol", "2"]
    words += ["--import", "labnets.py", "--out", "../old.pkl", *more]
    made = run(words, folder / "today", dict(os.environ))
    return made.returncode, made.stdout


@pytest.mark.parametrize(
    "python",
    [
        sys.executable,
        pytest.param(
            PYTHON_27, marks=pytest.mark.skipif(not PYTHON_27, reason="there is no Python 2.7")
        ),
    ],
    ids=["today", "2.7"],
)
def test_a_class_of_yesterday_loads_it_with_plain_pickle(folder: Path, python: str) -> None:
    status, text = _convert(folder, "plain.persist", "--to-version", "lab.Layer=1")
    assert status == 0, text
    assert "its metadata is left out" in text
    result = subprocess.run(
        [python, str(folder / "read.py"), str(folder / "old.pkl")],
        cwd=folder / "yesterday", env={"PYTHONPATH": str(folder / "yesterday")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "labnets" in result.stdout
    assert "True" in result.stdout


def test_what_is_lost_is_listed_and_refused_without_lossy(folder: Path) -> None:
    wanted = ("--to-version", "lab.Layer=1")
    status, text = _convert(folder, "noted.persist", *wanted)
    assert status == 1
    assert "note" in text
    assert "--lossy" in text
    assert not (folder / "old.pkl").exists()
    status, text = _convert(folder, "noted.persist", *wanted, "--lossy")
    assert status == 0, text
    assert "lost: " in text
    assert "note" in text
    assert b"kept" not in (folder / "old.pkl").read_bytes()


def test_a_schema_that_is_not_there_is_an_error(folder: Path) -> None:
    status, text = _convert(folder, "plain.persist", "--to-version", "lab.Net=1")
    assert status == 1
    assert "no schema here" in text
    status, text = _convert(folder, "plain.persist", "--to-version", "lab.Layer")
    assert status == 2
    assert "SCHEMA=N" in text
