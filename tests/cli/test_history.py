"""`persist history`: how a file came about."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import persist
from persist._cli import main

LAB = """
import persist

__version__ = "1.5"

@persist.register
class Net: pass

@persist.stamp("historylab.Layer")
def version_of(state):
    return 1 if "W" in state else 2

class Layer(persist.Versioned, version=2, schema="historylab.Layer"):
    persistent = ("weights",)

persist.migration(Layer, 1, persist.ops.rename("W", "weights"))
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of classes and a file of the old layout."""
    (tmp_path / "historylab.py").write_text(LAB.replace("@persist.register\nclass Net: pass\n", ""))
    record = persist.Record("historylab.Layer", {"W": 1.0})
    persist.save([record, record, persist.Record("gone.A", {"x": 1})], tmp_path / "old.persist",
                 metadata={"note": "of 2012"}, registry=persist.Registry("other"))  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    yield tmp_path
    sys.modules.pop("historylab", None)


def test_a_file_knows_where_it_comes_from(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", "old.persist", "--import", "historylab.py"]) == 0
    assert (
        main(
            [
                "upgrade",
                "old.persist.persist",
                "--force",
                "--to",
                "again",
                "--import",
                "historylab.py",
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["history", "old.persist.persist"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "old.persist.persist"
    assert "historylab 1.5" in lines[1]
    assert "    holds historylab.Layer 2, of historylab 1.5" in lines
    assert any(
        line.startswith("    upgraded 2023-11-14T22:13:20Z from old.persist (persist, persist ")
        for line in lines
    )
    assert "        1 record of historylab.Layer, version 1" in lines
    assert any(line.startswith("        step 1 → 2 of historylab.Layer, source ") for line in lines)
    assert any(line.startswith("        stamp of historylab.Layer, source ") for line in lines)
    assert "        gone.A was not declared, and stayed a record" in lines
    assert lines[-1] == '    metadata: {"note": "of 2012"}'
    main(["history", "old.persist.persist", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["origins"][0]["records"] == [["historylab.Layer", "historylab.Layer", 1, 1]]
    assert found["origins"][0]["size"] == (lab / "old.persist").stat().st_size
    assert found["metadata"] == {"note": "of 2012"}
    main(["inspect", "old.persist.persist"])
    assert (
        "  history  upgraded 2023-11-14T22:13:20Z from old.persist (persist"
        in capsys.readouterr().out
    )


def test_a_file_without_a_history(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    persist.save({"x": 1}, tmp_path / "a.persist")
    assert main(["history", str(tmp_path / "a.persist")]) == 0
    said = capsys.readouterr().out
    assert "written by persist" in said
    assert "upgraded" not in said


@pytest.mark.parametrize("said", [
    3, {"name": 5}, {"records": 7, "steps": [[1]], "date": []}, {"writer": [], "sha256": 1, "size": "x"},
    {"upgraded_from": {"upgraded_from": 1}}, {"opaque": 5}, {"records": [[1, 2, 3, "many"]]},
])  # fmt: skip
def test_metadata_can_be_anything(
    said: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    persist.save({"x": 1}, tmp_path / "a.persist", metadata={"upgraded_from": said})
    assert main(["history", str(tmp_path / "a.persist")]) == 0
    assert main(["history", "--json", str(tmp_path / "a.persist")]) == 0
    assert main(["inspect", str(tmp_path / "a.persist")]) == 0
