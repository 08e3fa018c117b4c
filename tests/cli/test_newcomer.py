"""A newcomer, from a new environment to the first migrated file in under ten commands; the files that others use."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

TOP = Path(__file__).parents[2]
pytestmark = pytest.mark.checkout

CLASSES = """
import attrs, numpy as np, persist
from persist import ops

@attrs.define(eq=False)
class LogReg(persist.Versioned, version=3, schema="lab.LogReg"):
    weights: np.ndarray
    bias: np.ndarray
    activation: str = "softmax"

persist.migration(LogReg, 1, ops.unpack("weights", "bias"))
persist.migration(LogReg, 2, ops.add("activation", "softmax"))
persist.alias("logreg.LogReg", LogReg)

@persist.stamp(LogReg)
def by_shape(state):
    return 1 if isinstance(state, tuple) else 2
"""

# What is typed after `pip install persist-state`; the module is written in an editor.
COMMANDS = [
    "persist demo .",
    "persist inspect runs/logreg_v1.pkl",
    "persist explain runs/logreg_v1.pkl --import lab",
    "persist upgrade runs/logreg_v1.pkl --to today --import lab",
    "persist inspect today",
]


def test_a_newcomer_needs_fewer_than_ten_commands(tmp_path: Path) -> None:
    assert 1 + len(COMMANDS) < 10
    (tmp_path / "lab.py").write_text(CLASSES)
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(persist.__file__).parents[1]), str(tmp_path)]),
    }
    said = ""
    for command in COMMANDS:
        run = subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, (command, run.stderr)
        said = run.stdout
    (made,) = (path for path in (tmp_path / "today").rglob("*") if path.is_file())
    assert made.name in said
    with np.load(made) as arrays:  # NumPy alone reads the migrated file
        assert arrays["weights"].shape == (6, 3)


def test_the_page_of_what_cannot_be_read_is_the_table() -> None:
    spec = importlib.util.spec_from_file_location(
        "cannot_read", TOP / "docs" / "make_cannot_read.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (TOP / "docs" / "cannot_read.md").read_text(encoding="utf-8") == module.page()


def test_hooks_and_action_call_verbs_and_options_that_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from persist._cli import main

    texts = [
        (TOP / name).read_text() for name in (".pre-commit-hooks.yaml", "action.yml", "AGENTS.md")
    ]
    found = {
        (verb, option)
        for text in texts
        for verb, rest in re.findall(r"persist ([a-z]+)((?: [-$A-Za-z.]+)*)", text)
        for option in [*re.findall(r"--[a-z-]+", rest), ""]
    }
    verbs = {verb for verb, _ in found} & set(
        __import__("persist._cli", fromlist=["x"]).verb_names()
    )
    assert {"check", "scan", "survey", "lock", "draft", "golden", "upgrade"} <= verbs
    for verb, option in sorted(found):
        if verb in verbs and option:
            with pytest.raises(SystemExit):
                main([verb, "--help"])
            assert option in capsys.readouterr().out, (verb, option)


@pytest.mark.skipif(shutil.which("file") is None, reason="file(1) is not installed")
def test_file_knows_a_container(tmp_path: Path) -> None:
    persist.save({"a_long_name_of_a_weight": np.ones(3)}, tmp_path / "a.persist")
    np.savez(tmp_path / "b.npz", w=np.ones(3))
    magic = str(TOP / "docs" / "persist.magic")

    def ask(name: str) -> str:
        command = ["file", "-b", "--mime-type", "-m", magic, str(tmp_path / name)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert ask("a.persist") == "application/vnd.persist+zip"
    assert ask("b.npz") != "application/vnd.persist+zip"
