"""The way back: a grid of today becomes a file that the class of 2020 loads, with Python 2.7 alone.

    python downgrade.py FOLDER    # after make.py FOLDER

`persist convert --as-of 1.0` writes the layout that the lock file has of release 1.0: the tuple
``(W, b)``, without a version, for a class that knows nothing of persist.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

# The module of 2020, as a machine with Python 2.7 still has it.
OF_2020 = '''
class Grid(object):
    """Where stations are."""

    def __init__(self, W, b):
        self.W, self.b = W, b

    def __getstate__(self):
        return self.W, self.b

    def __setstate__(self, state):
        self.W, self.b = state
'''
READ = """
import pickle
with open("grid.pkl", "rb") as file:
    grid = pickle.load(file)
print("%s %r %r" % (type(grid).__name__, grid.W, grid.b))
"""


def write_back(story: Any) -> str:
    """Save a grid with today's class, write it as release 1.0 had it, and return what the old class reads.

    Args:
        story: the finished project (`make.write_project`).
    """
    folder = story.folder / "of-2020"
    (folder / "weather").mkdir(parents=True, exist_ok=True)
    story.python('persist.save(Grid(1.5, 2.5), "grid.persist")')
    story.persist(
        "convert grid.persist --to pickle --as-of 1.0 --protocol 2 --import weather.models --out of-2020/grid.pkl"
    )
    (folder / "weather/__init__.py").write_text("", encoding="utf-8")
    (folder / "weather/models.py").write_text(OF_2020, encoding="utf-8")
    (folder / "read.py").write_text(READ, encoding="utf-8")
    done = subprocess.run(
        [python_27() or sys.executable, "read.py"],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip()


def python_27() -> str:
    """The path of a Python 2.7; "" where there is none."""
    installed = sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
    return str(installed[0]) if installed else shutil.which("python2.7") or ""


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from make import Story

    print(write_back(Story(Path(sys.argv[1]).absolute())))
