"""One meaning of a folder: the verbs walk through it; a slip of the pen is reported with what is meant."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import persist
from persist._cli import main

CASES = Path(__file__).parents[1] / "cases"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Numbered experiments of two years, and what lies next to them."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs"
    (folder / "2017").mkdir(parents=True)
    for name in ("2016-exp00", "2016-exp01", "2017/exp00"):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps({"w": np.arange(3.0), "name": name}))
    (folder / "notes.txt").write_text("notes\n")
    return folder


def test_explain_walks_through_a_folder(runs: Path, capsys: Captured) -> None:
    assert main(["explain", "runs"]) == 0
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "runs/2016-exp00.pkl",
        "runs/2016-exp01.pkl",
        "runs/2017/exp00.pkl",
    ]
    assert "1 is not an experiment file: runs/notes.txt" in err


def test_explain_walks_through_a_series(tmp_path: Path, capsys: Captured) -> None:
    with persist.Checkpoints(tmp_path / "ck") as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, {"i": step})
    assert main(["explain", str(tmp_path / "ck")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_explain_strict_and_trust(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02cnobodys_lab\nNet\n)\x81}U\x01WK\x01sb.")
    assert main(["explain", str(path)]) == 0
    assert main(["explain", str(path), "--strict"]) == 1
    assert "not declared: nobodys_lab.Net" in capsys.readouterr().err
    assert main(["explain", str(path), "--strict", "--trust", "nobodys_lab.*"]) == 0


def test_verify_and_inspect_walk_through_a_folder(runs: Path, capsys: Captured) -> None:
    assert main(["verify", "runs"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["inspect", "runs"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_convert_walks_through_a_folder(runs: Path, capsys: Captured) -> None:
    persist.save({"w": np.ones(2)}, runs / "have.npz", format="npz")
    assert main(["convert", "runs", "--to", "npz", "--out", "flat"]) == 0
    found = sorted(path.relative_to("flat").as_posix() for path in Path("flat").rglob("*.npz"))
    assert found == ["2016-exp00.pkl.npz", "2016-exp01.pkl.npz", "2017/exp00.pkl.npz"]
    assert np.load("flat/2017/exp00.pkl.npz")["w"].tolist() == [0, 1, 2]
    assert "notes.txt" in capsys.readouterr().err
    assert main(["convert", "runs", "--to", "persist"]) == 0
    assert persist.load("runs/2017/exp00.pkl.persist")["name"] == "2017/exp00"


def test_undo_and_compact_of_a_folder(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "ck"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "undo_lab.py").write_text(
        "import persist\n"
        "class Net(persist.Versioned, version=2, schema='undo.Net'): persistent = ('w',)\n"
        "persist.migration(Net, 1, persist.ops.rename('W', 'w'))\n"
    )
    for name in ("a.persist", "deep/b.persist"):
        persist.save(persist.Record("undo.Net", {"W": 1}, version=1), folder / name)
    persist.save({"w": 1}, folder / "today.persist")
    (folder / "notes.txt").write_text("notes\n")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["undo", str(folder)]) == 1
    assert "it contains no file that has an older generation" in capsys.readouterr().err
    lab = ["--import", str(tmp_path / "undo_lab.py")]
    assert main(["upgrade", "--in-place", "--keep", str(folder), *lab]) == 0
    assert main(["undo", str(folder)]) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert main(["compact", str(folder)]) == 0
    assert persist.open(folder / "a.persist").tree.state == {"W": 1}


# What was not understood.


@pytest.mark.parametrize(
    ("word", "words"),
    [("inspet", "Did you mean 'inspect'?"), ("upgrad", "'upgrade'"), ("xyz", "The verbs are")],
)
def test_a_misspelt_verb(word: str, words: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main([word, "file"])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert f"there is no verb {word!r}" in err
    assert words in err


def test_a_path_that_nothing_matches(runs: Path, capsys: Captured) -> None:
    assert main(["inspect", "--path", "nam", "runs/2016-exp00.pkl"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "runs/2016-exp00.pkl: no path matches 'nam'. There are name, w." in err
    # What the error says works.
    assert main(["inspect", "--path", "name", "runs/2016-exp00.pkl"]) == 0
    assert main(["inspect", "--path", "nothing/*", "runs"]) == 1
    assert "no path in any file matches" in capsys.readouterr().err
    persist.save({"other": 1}, runs / "z.persist")
    assert main(["inspect", "--path", "w", "runs"]) == 0
    out, err = capsys.readouterr()
    assert "z.persist" not in out + err


def test_several_pickles_of_one_file_are_reported(capsys: Captured) -> None:
    assert main(["inspect", str(CASES / "several_pickles" / "svm_means")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  format   pickle (7 pickles, one after another; ")
    assert lines[3] == "    7 pickles"


def test_inspect_knows_the_users_classes(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02cold_inspected\nNet\n)\x81}U\x01WU\x01\xfcsb.")
    lab = tmp_path / "inspect_lab.py"
    lab.write_text(
        "import persist\n"
        "class Net(persist.Versioned, schema='inspected.Net'): persistent = ('W',)\n"
        "persist.alias('old_inspected.Net', Net)\n"
    )
    assert main(["inspect", "--import", str(lab), str(path)]) == 0
    assert "old_inspected.Net  is now inspect_lab.Net" in capsys.readouterr().out
    assert main(["inspect", "--json", "--py2-str", "latin-1", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["scalars"]["W"] == "ü"
    assert main(["inspect", "--import", "./nothing.py", str(path)]) == 2


def test_what_was_chosen_is_on_the_page(tmp_path: Path, capsys: Captured) -> None:
    for step in (1, 2):
        persist.save({"i": step}, tmp_path / f"epoch-{step}.pkl", format="pickle")
    with persist.open(tmp_path) as file:
        assert "  note     of 2 checkpoints the latest is opened, epoch-2.pkl" in str(file)
    shutil.rmtree(tmp_path)
