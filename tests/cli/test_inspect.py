"""`persist inspect` and `head` on models that do not fit on a screen, and what `convert` exports."""

from __future__ import annotations

import json
import pickle
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._cli import main

CORPUS = Path(__file__).parents[1] / "corpus"
METRICS = CORPUS / "numpy/numpy-1.11.3-py27-npy-structured/metrics.npy"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tree = {
        f"layer.{i}.{name}": np.full(shape, 0.1, "f4")
        for i in range(40)
        for name, shape in (("weight", (8, 8)), ("bias", (8,)))
    }
    persist.save(tree, tmp_path / "model.safetensors", format="safetensors")
    return tmp_path / "model.safetensors"


def test_totals_come_first_and_layers_are_folded(model: Path, capsys: Captured) -> None:
    assert main(["inspect", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  holds"))
    assert lines[at] == "  holds    80 arrays, 2,880 numbers, 11.2 KiB"
    assert lines[at + 1] == "  tree"
    text = "\n".join(lines)
    assert "layer.[0-39].weight: float32 (8, 8)  40 of 256 B, 10.0 KiB in all" in text
    assert main(["inspect", str(model), "--lines", "500"]) == 0
    assert "layer.39.weight: float32 (8, 8)  256 B" in capsys.readouterr().out
    assert main(["inspect", str(model), "--depth", "1"]) == 0
    assert "layer.*: 80 arrays, 11.2 KiB" in capsys.readouterr().out
    assert main(["inspect", str(model), "--arrays", "--sort", "size"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert (len(listed), "weight" in listed[1], "bias" in listed[-1]) == (81, True, True)


def test_json_of_one_file_is_a_document_and_of_many_a_line_each(
    model: Path, capsys: Captured
) -> None:
    assert main(["inspect", "--json", str(model)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["totals"] == {"arrays": 80, "numbers": 2880, "bytes": 11520, "shared": []}
    persist.save({"x": 1}, model.parent / "x.persist")
    for words in ([str(model), "x.persist"], ["."]):
        assert main(["inspect", "--json", *words]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert {json.loads(line)["format"] for line in lines} == {"safetensors", "persist"}
        assert len(lines) == 2


def test_tied_weights_of_torch_are_named_and_counted_once(tmp_path: Path, capsys: Captured) -> None:
    weight = np.ones((100, 2), "f4")
    path = tmp_path / "tied.pt"
    persist.save({"emb": weight, "head": weight, "b": np.zeros(3)}, path, format="torch")
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "2 arrays, 203 numbers, 824 B; head = emb (shared, counted once)" in out
    assert "head: the same as 'emb'" in out


def test_names_in_a_folder_are_relative_to_it(model: Path, capsys: Captured) -> None:
    (model.parent / "deep").mkdir()
    (model.parent / "deep" / "a.pkl").write_bytes(pickle.dumps([np.ones(3)] * 2))
    assert main(["inspect", str(model.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["model.safetensors", "deep/a.pkl"]
    assert "1 array, 24 B" in lines[1]


class Terminal:
    """Standard output that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("is_paged", [True, False])
def test_on_a_terminal_it_goes_through_the_pager(
    is_paged: bool, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = model.parent / "paged"
    script = f"import sys; open({str(got)!r}, 'w').write(sys.stdin.read())"
    monkeypatch.setenv("PAGER", shlex.join([sys.executable, "-c", script]))
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["inspect", str(model), *([] if is_paged else ["--no-pager"])]) == 0
    assert got.exists() == is_paged
    assert "layer.[0-39].weight" in (got.read_text() if is_paged else terminal.text)
    monkeypatch.setenv("PAGER", "no-such-pager")
    assert main(["inspect", str(model)]) == 0
    assert "layer.[0-39].weight" in terminal.text


def test_head_shows_tables_and_first_rows(tmp_path: Path, capsys: Captured) -> None:
    assert main(["head", str(METRICS)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1:] == [
        "  (root): 2 rows of 3 fields",
        "    epoch  loss    tag",
        "        1   0.5   b'a'",
        "        2  0.25  b'bc'",
    ]
    path = tmp_path / "log.pkl"
    log = {"epoch": np.arange(50), "day": np.arange(50).astype("M8[D]")}
    path.write_bytes(
        pickle.dumps({"log": log, "w": np.ones((90, 9), "f4"), "names": list("abcdefgh")})
    )
    assert main(["head", str(path), "-n", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  log: 50 rows of 2 columns",
        "    epoch         day",
        "        0  1970-01-01",
        "        1  1970-01-02",
        "  w: float32 (90, 9)",
        "    1.0 1.0 1.0 1.0 1.0 1.0 1.0 1.0 ... 1 more",
        "    1.0 1.0 1.0 1.0 1.0 1.0 1.0 1.0 ... 1 more",
        "  names: list of 8",
        "    'a'",
        "    'b'",
    ]
    assert main(["head", str(path), "log"]) == 0
    assert "w:" not in capsys.readouterr().out
    assert main(["head", str(path), "lgo"]) == 1
    assert "lgo" in capsys.readouterr().err


def converted(path: Path, form: str) -> Path:
    assert main(["convert", str(path), "--to", form, "--out", f"{path}.{form}"]) == 0
    return Path(f"{path}.{form}")


def test_convert_exports_json(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "a.pkl"
    tree: dict[str, Any] = {"w": np.array([0.1, np.nan], "f4"), "n": {"lr": 0.5, "name": "x"}}
    path.write_bytes(pickle.dumps(tree))
    assert json.loads(converted(path, "json").read_text()) == {
        "w": [pytest.approx(0.1), "NaN"],
        "n/lr": 0.5,
        "n/name": "x",
    }
    assert main(["convert", str(path), "--to", "json"]) == 1
    assert "--force" in capsys.readouterr().err


@pytest.mark.extra("pyarrow")
def test_convert_exports_a_table_to_parquet(tmp_path: Path, capsys: Captured) -> None:
    from pyarrow import parquet

    path = tmp_path / "metrics.npy"
    path.write_bytes(METRICS.read_bytes())
    table = parquet.read_table(converted(path, "parquet"))
    assert table.to_pydict() == {"epoch": [1, 2], "loss": [0.5, 0.25], "tag": [b"a", b"bc"]}
    other = tmp_path / "w.npy"
    np.save(other, np.ones((2, 2)))
    assert main(["convert", str(other), "--to", "parquet"]) == 1
    assert "it holds no table" in capsys.readouterr().err


@pytest.mark.extra("asdf")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_convert_exports_asdf(tmp_path: Path) -> None:
    import asdf

    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"net": {"w": np.arange(6.0).reshape(2, 3)}, "lr": 0.5}))
    with asdf.open(converted(path, "asdf")) as read:
        assert read["net"]["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert read["lr"] == 0.5


def test_an_export_without_its_library_says_what_to_install(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asdf", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": np.ones(3)}))
    for form in ("asdf", "parquet"):
        assert main(["convert", str(path), "--to", form]) == 1
        assert f"persist-state[{form}]" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["a.pkl"]
