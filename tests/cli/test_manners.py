"""Manners of the command: suggestions for misspelt words, `NO_COLOR`, `python -m persist`."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import persist
from persist._cli import main
from persist._cli._out import show

LOGREG = Path(__file__).parents[1] / "corpus/pickle/pickle-evolution-gen1/logreg_v1.pkl"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["inspct", "x"], "inspect"),
        (["stat", "x"], "stats"),
        (["inspect", "x", "--jsn"], "--json"),
        (["diff", "a", "b", "--rtoll=1"], "--rtol"),
        (["golden", "make", "--outt"], None),
        (["golden", "foundry", "r", "--dry-runn"], None),
        (["--versionn"], "--version"),
        (["inspect", "x", "--qqqqqq"], None),
    ],
)
def test_a_misspelt_word_is_corrected(
    words: list[str], meant: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    if meant is not None:
        assert f"Did you mean {meant!r}?" in err
    else:
        assert words[-1] in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.extra("rich")
@pytest.mark.parametrize(("value", "is_coloured"), [("1", False), ("", True)])
def test_no_color(value: str, is_coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    show("title\n  format   pickle")
    assert ("\x1b[" in out.getvalue()) == is_coloured


def test_python_m_persist_is_the_command() -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(persist.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-m", "persist", "inspect", str(LOGREG)],
        capture_output=True, text=True, env=env, check=True,
    )  # fmt: skip
    assert "logreg.LogReg" in run.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "persist", "inspct"], capture_output=True, text=True, env=env
    )
    assert wrong.returncode == 2
    assert "inspect" in wrong.stderr
