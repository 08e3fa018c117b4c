"""The command, given URLs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._cli import main


def test_verbs_that_look_take_urls(
    web: tuple[str, Any, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    url, _, folder = web
    persist.save({"w": np.arange(6.0)}, folder / "seen.persist")
    for verb in ("inspect", "verify", "stats"):
        assert main([verb, f"{url}/files/seen.persist"]) == 0, verb
    assert main(["dump", f"{url}/files/seen.persist", "w"]) == 0
    assert main(["diff", f"{url}/files/seen.persist", str(folder / "seen.persist")]) == 0
    assert main(["scan", f"{url}/files/seen.persist"]) == 0
    assert "w" in capsys.readouterr().out


def test_convert_from_and_to_urls(
    web: tuple[str, Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _, folder = web
    monkeypatch.chdir(tmp_path)
    persist.save({"w": np.arange(6.0)}, folder / "old.persist")
    assert (
        main(
            ["convert", f"{url}/files/old.persist", "--to", "npz", "--out", "memory://lab/new.npz"]
        )
        == 0
    )
    assert persist.load("memory://lab/new.npz")["w"].tolist() == list(range(6))
    again = ["convert", f"{url}/files/old.persist", "--to", "npz", "--out", "memory://lab/new.npz"]
    assert main(again) == 1
    assert main([*again, "--force"]) == 0
    assert list(tmp_path.iterdir()) == []  # no folder called "memory:"
