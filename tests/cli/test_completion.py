"""Shell completion and the man page are made from the parser, so they know every verb and option."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from persist._cli import main, verb_names

TOP = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]


@pytest.mark.extra("shtab")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_knows_every_verb(shell: str, capsys: Captured) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for verb in verb_names():
        assert verb in script
    assert "in-place" in script


@pytest.mark.extra("shtab")
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_a_verb_and_an_option(tmp_path: Path, capsys: Captured) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    ask = (
        f"source {script}; COMP_WORDS=(persist {{}}); COMP_CWORD=$((${{{{#COMP_WORDS[@]}}}} - 1));"
        " _shtab_persist; echo ${{COMPREPLY[@]}}"
    )
    for words, expected in (("insp", "inspect"), ("inspect --sor", "--sort")):
        run = subprocess.run(
            ["bash", "-c", ask.format(words)], capture_output=True, text=True, check=True
        )
        assert expected in run.stdout.split()


def test_without_shtab_it_says_what_to_install(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert "persist-state[completion]" in capsys.readouterr().err


@pytest.mark.checkout
def test_the_man_page() -> None:
    spec = importlib.util.spec_from_file_location("make_man", TOP / "docs" / "make_man.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.page()
    for verb in verb_names():
        assert f".SS {verb}\n" in page
    assert "\\-\\-in\\-place" in page
    if shutil.which("man"):
        run = subprocess.run(
            ["man", "--warnings", "-l", "-"], input=page, capture_output=True, text=True
        )
        assert "warning" not in run.stderr
