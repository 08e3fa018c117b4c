"""A small project of its own for each test: a package, its settings, and the command run in it."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest
import warm

TOP = Path(__file__).parents[2]

SETTINGS = """\
[project]
name = "ourlab"
version = "1.0"

[tool.persist]
import = ["ourlab.models"]
lock = "schemas.lock"
golden = "tests/golden"
"""


class Place:
    """A project in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("pyproject.toml", SETTINGS)
        self.write("ourlab/__init__.py", "")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def models(self, text: str) -> None:
        """Write the module that declares the classes."""
        head = "import attrs\nimport numpy as np\nimport persist\n\n\n"
        self.write("ourlab/models.py", head + textwrap.dedent(text).lstrip("\n"))

    def change(self, old: str, new: str) -> None:
        text = self.read("ourlab/models.py")
        assert old in text
        self.write("ourlab/models.py", text.replace(old, new))

    def python(self, code: str, status: int = 0) -> str:
        """Run code in the project; return what it printed."""
        return self._run(["-c", textwrap.dedent(code)], status)

    def persist(self, line: str, status: int = 0) -> str:
        """Run the command in the project; return what it printed."""
        call = "import sys; from persist._cli import main; sys.exit(main())"
        return self._run(["-c", call, *line.split()], status)

    def pytest(self, line: str = "", status: int = 0) -> str:
        plugin = ["-p", "persist.testing.plugin"] if not _is_installed() else []
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *line.split()]
        return self._run([*words], status)

    def _run(self, words: list[str], status: int) -> str:
        path = os.pathsep.join([str(self.folder), str(TOP)])
        env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        env["SOURCE_DATE_EPOCH"] = "1700000000"
        done = warm.run(words, self.folder, env)
        assert done.returncode == status, done.stdout
        return done.stdout


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(one.value == "persist.testing.plugin" for one in entry_points(group="pytest11"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
