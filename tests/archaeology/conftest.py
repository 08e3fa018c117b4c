"""Repositories made for the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Maker = Callable[[str], "Repo"]

if shutil.which("git") is None:
    collect_ignore_glob = ["test_*.py"]


class Repo:
    """A repository in a folder; each commit is a day younger than the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.day = 0
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str, data: bytes | None = None, check: bool = True) -> str:
        """Run git; return what it printed."""
        when = f"{1_325_376_000 + self.day * 86_400} +0000"
        env = {
            **os.environ, "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when, "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_CONFIG_NOSYSTEM": "1",
        }  # fmt: skip
        done = subprocess.run(
            ["git", *words], cwd=self.path, env=env, input=data, capture_output=True, check=False
        )
        assert not check or not done.returncode, done.stderr.decode()
        return done.stdout.decode("utf-8", "replace").strip()

    def commit(self, files: dict[str, str | bytes | None], subject: str = "change") -> str:
        """Write files (None: remove) and commit; return the id."""
        self.day += 1
        for name, text in files.items():
            path = self.path / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of caches."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "persist"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """An empty repository."""
    return Repo(tmp_path / "repo")
