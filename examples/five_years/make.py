"""Five years of a small project, made with its own git history: ``python make.py FOLDER``.

Each generation changes a class. Some forget the version, and `persist check` finds it; `persist draft`
writes the step, each time by other evidence: names, files, the code of ``__setstate__``. In the end
the files of all five years load, the laws hold, and the history names the commits that wrote each file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SETTINGS = """\
[project]
name = "weather"
version = "{release}"

[tool.persist]
import = ["weather.models"]
lock = "schemas.lock"
golden = "tests/golden"
laws = true
"""

HEAD = "import attrs\nimport numpy as np\n\nimport persist\n\n\n"

MODEL = '''\
@attrs.define(eq=False)
class Model(persist.Versioned, version=1, schema="weather.Model"):
    """A forecast."""

    lr: float = 0.1
    W: np.ndarray = attrs.field(factory=lambda: np.zeros(3))
'''

GRID = '''

class Grid(persist.Versioned, version=1, schema="weather.Grid"):
    """Where stations are."""

    def __init__(self, W, b):
        self.W, self.b = W, b

    def __getstate__(self):
        return self.W, self.b

    def __setstate__(self, state):
        self.W, self.b = state
'''

GRID_TODAY = '''

class Grid(persist.Versioned, version=1, schema="weather.Grid"):
    """Where stations are."""

    def __init__(self, west, base):
        self.west, self.base = west, base

    def __getstate__(self):
        return {"west": self.west, "base": self.base}

    def __setstate__(self, state):
        if isinstance(state, tuple):
            W, b = state
            self.west = W
            self.base = b
        else:
            self.west = state["west"]
            self.base = state["base"]
'''


class Story:
    """A project in a folder, its commands, and what they said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.year = 2019  # of the last commit

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def change(self, old: str, new: str) -> None:
        """Edit the module of the classes."""
        text = (self.folder / "weather/models.py").read_text(encoding="utf-8")
        if old not in text:
            raise SystemExit(f"{old!r} is not in weather/models.py")
        self.write("weather/models.py", text.replace(old, new))

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command in the project, and stop where it does not end as it should."""
        env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PYTHONDONTWRITEBYTECODE": "1"}
        env["PYTHONPATH"] = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        done = self.call(words, env)
        shown = " ".join(words[3:] if words[1:3] == ("-c", CALL) else words)
        self.said.append(f"$ {shown}\n{done.stdout}")
        if done.returncode != status:
            raise SystemExit(f"`{shown}` ended with {done.returncode}\n{done.stdout}")
        return done.stdout

    def call(self, words: Sequence[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Start a process; a test that has a cheaper one overrides this."""
        return subprocess.run(
            words, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip

    def persist(self, line: str, status: int = 0) -> str:
        """Run the command ``persist``."""
        words = ["persist", *line.split()]
        self.said.append(f"# {' '.join(words)}")
        return self.run(sys.executable, "-c", CALL, *line.split(), status=status)

    def python(self, code: str) -> str:
        """Run a line of the project's code."""
        head = "import numpy as np, persist\nfrom weather.models import *\n"
        return self.run(sys.executable, "-c", head + code)

    def commit(self, text: str) -> None:
        """Commit all, in the next year."""
        self.year += 1
        self.run("git", "add", "-A")
        who = (
            "-c",
            "user.name=Weather",
            "-c",
            "user.email=weather@example.org",
            "-c",
            "commit.gpgsign=false",
        )
        self.run("git", *who, "commit", "-q", "--date", f"{self.year}-05-01T12:00:00Z", "-m", text)


CALL = "import sys; from persist._cli import main; sys.exit(main())"


def write_project(folder: Path) -> Story:
    """Make the project, generation after generation; return what was printed."""
    story = Story(folder)
    folder.mkdir(parents=True, exist_ok=True)
    story.run("git", "init", "-q")
    first(story)
    second(story)
    third(story)
    fourth(story)
    fifth(story)
    return story


def first(story: Story) -> None:
    """2020: two classes, a lock, a golden file."""
    story.write("pyproject.toml", SETTINGS.format(release="1.0"))
    story.write("weather/__init__.py", "")
    story.write("weather/models.py", HEAD + MODEL + GRID)
    story.persist("lock")
    story.python('persist.save(Model(0.5, np.arange(3.0)), "2020.persist")')
    story.persist("golden add 2020.persist --note written-by-1.0")
    story.python('persist.save(Grid(1.5, 2.5), "grid-2020.persist")')
    story.persist("golden add grid-2020.persist --note written-by-1.0")
    story.persist("check")
    story.commit("Two classes")


def second(story: Story) -> None:
    """2021: the rate gets its full name, and the version is forgotten; the names are evidence."""
    story.change("lr: float = 0.1", "learning_rate: float = 0.1")
    story.persist("check", status=1)
    story.persist("draft --yes")
    released(story, "1.1", "The rate is called by its name")


def third(story: Story) -> None:
    """2022: ``W`` becomes ``field``: the names are no evidence, and files are."""
    story.python('persist.save(Model(0.25, np.array([1.0, 4.0, 9.0])), "before.persist")')
    story.change("    W: np.ndarray", "    field: np.ndarray")
    story.python(
        "registry = persist.registry.default\n"
        'registry.layout_policy = "ignore"\n'
        'persist.save(Model(0.25, np.array([1.0, 4.0, 9.0])), "after.persist")'
    )
    story.persist("check", status=1)
    story.persist("draft --yes --from before.persist --to after.persist")
    released(story, "1.2", "What the model holds has a name", *("before.persist", "after.persist"))


def fourth(story: Story) -> None:
    """2023: the grid's tuple becomes a dict with other names; the code of ``__setstate__`` is evidence."""
    text = (story.folder / "weather/models.py").read_text(encoding="utf-8")
    story.write("weather/models.py", text.replace(GRID, GRID_TODAY))
    story.persist("check", status=1)
    story.persist("draft --yes")
    released(story, "1.3", "The grid's parts have names")


def fifth(story: Story) -> None:
    """2024: a field more; then all laws are tried, and every file of five years loads."""
    story.change(
        "    learning_rate: float = 0.1\n",
        "    learning_rate: float = 0.1\n    momentum: float = 0.0\n",
    )
    story.persist("draft --yes")
    released(story, "2.0", "Momentum")
    story.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin())
    story.persist("schemas --changelog")
    archaeology(story)


def archaeology(story: Story) -> None:
    """Which layouts the classes ever had, by the history of their source; and the commits of each old file."""
    story.persist("survey --git . --no-cache")
    story.persist(f"date {' '.join(OLD_FILES)} --git . --no-cache")


OLD_FILES = {
    "tests/golden/2020.persist": "Two classes",
    "tests/golden/grid-2020.persist": "Two classes",
    "tests/golden/weather-Model-2.persist": "The rate is called by its name",
    "tests/golden/weather-Model-3.persist": "What the model holds has a name",
}


def plugin() -> list[str]:
    """How pytest finds the plugin where persist is not installed, but on the path."""
    from importlib.metadata import entry_points

    named = any(one.value == "persist.testing.plugin" for one in entry_points(group="pytest11"))
    return [] if named else ["-p", "persist.testing.plugin"]


def released(story: Story, release: str, text: str, *rubbish: str) -> None:
    """Lock, record what the old files load to now, check, commit."""
    for name in rubbish:
        (story.folder / name).unlink()
    story.write("pyproject.toml", SETTINGS.format(release=release))
    story.persist("lock")
    story.persist("golden update")
    story.persist("check --coverage")
    story.commit(text)


if __name__ == "__main__":
    print("\n".join(write_project(Path(sys.argv[1]).absolute()).said))
