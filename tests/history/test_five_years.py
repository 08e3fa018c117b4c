"""The example project of five years: every generation's check, draft, golden files and laws."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import warm

SCRIPT = Path(__file__).parents[2] / "examples" / "five_years" / "make.py"

pytestmark = pytest.mark.checkout


@pytest.mark.skipif(shutil.which("git") is None, reason="the project has a git history of its own")
def test_five_years(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parents[2]))
    spec = importlib.util.spec_from_file_location("five_years_make", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    make: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)

    class Story(make.Story):  # type: ignore[misc,name-defined]
        def call(self, words: Sequence[str], env: dict[str, str]) -> Any:
            if words[0] == sys.executable:
                return warm.run(words[1:], self.folder, env)
            return super().call(words, env)

    monkeypatch.setattr(make, "Story", Story)
    story = make.write_project(tmp_path / "weather")
    said = "\n".join(story.said)
    assert (
        "weather.Model changed, and its version did not (1):\n    - lr: float\n    + learning_rate: float"
        in said
    )
    assert "equal values in 1 object before and after" in said
    assert "__setstate__ puts W into self.west" in said
    text = (tmp_path / "weather" / "weather" / "models.py").read_text()
    for line in (
        'persist.migration(Model, 1, persist.ops.rename("lr", "learning_rate"))',
        'persist.migration(Model, 2, persist.ops.rename("W", "field"))',
        'persist.ops.rename({"W": "west", "b": "base"})',
        'persist.migration(Model, 3, persist.ops.add("momentum", 0.0))',
        'class Model(persist.Versioned, version=4, schema="weather.Model"):',
    ):
        assert line in text
    history = story.run("git", "log", "--format=%s")
    assert history.splitlines() == [
        "Momentum", "The grid's parts have names", "What the model holds has a name",
        "The rate is called by its name", "Two classes",
    ]  # fmt: skip
    commits = dict(
        line.split(" ", 1)[::-1] for line in story.run("git", "log", "--format=%h %s").splitlines()
    )
    dated = said[said.index("# persist date") :]
    for file, subject in make.OLD_FILES.items():
        block = dated[dated.index(f"\n{file}\n") :]
        (verdict, *_) = (line for line in block.splitlines() if line.startswith("    written by "))
        assert verdict.startswith(f"    written by {commits[subject]}"), (file, verdict)
    assert "written by" in dated
    assert "2020-05-01" in dated
    walked = said[said.index("# persist survey --git") :]
    assert 'step: unpack("W", "b"); rename({"W": "west", "b": "base"})' in walked
    assert 'step: add("momentum", 0.0)' in walked
    spec = importlib.util.spec_from_file_location(
        "five_years_back", SCRIPT.with_name("downgrade.py")
    )
    assert spec is not None
    assert spec.loader is not None
    back: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(back)
    assert back.write_back(story) == "Grid 1.5 2.5"
