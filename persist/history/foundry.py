"""Golden files written by an old release of the user's own package.

    [tool.persist.foundry.v1]
    install = ["mylib==1.4", "numpy<2"]
    python = "python3.9"                       # the one that runs persist by default
    script = "tests/foundry/write_v1.py"       # is given the folder to write into

One environment at a time: it is made, the script runs in it, and it is removed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from persist.errors import PersistError
from persist.history import golden
from persist.history.project import Project

__all__ = ["run"]

_KEYS = {"install", "python", "script", "options"}


def run(project: Project, name: str, *, force: bool = False) -> list[golden.Golden]:
    """Let a recipe write files, and add them.

    Args:
        project: whose recipe.
        name: of the recipe.
        force: replace golden files of the same name.

    Raises:
        PersistError: there is no such recipe, or a part of it fails, with its last lines.
    """
    recipe = _recipe(project, name)
    with tempfile.TemporaryDirectory(prefix="persist-foundry-") as text:
        folder = Path(text)
        python = _environment(folder / "env", recipe, name)
        out = folder / "files"
        out.mkdir()
        if recipe.get("install"):
            options = list(recipe.get("options", ()))
            _call(
                [python, "-m", "pip", "install", "--quiet", *options, *recipe["install"]],
                project,
                name,
            )
        _call([python, str(project.folder / recipe["script"]), str(out)], project, name)
        written = sorted(path for path in out.iterdir() if not path.name.startswith("."))
        if not written:
            raise PersistError(
                f"the recipe {name!r} wrote no files.",
                file=recipe["script"],
                remedy="Its script is given a folder as its first argument, and writes into that.",
            )
        note = f"written by the recipe {name} ({', '.join(recipe.get('install', ()))})"
        return [
            golden.add(project, path, name=f"{name}-{path.name}", note=note, force=force)
            for path in written
        ]


def _recipe(project: Project, name: str) -> dict[str, Any]:
    recipe = project.recipes.get(name)
    place = str(project.folder / "pyproject.toml")
    if not isinstance(recipe, dict):
        raise PersistError(
            f"there is no recipe {name!r}; there are: {', '.join(project.recipes) or 'none'}.",
            file=place,
            remedy=f'Add [tool.persist.foundry.{name}] with install = ["yourpackage==1.0"] and script = "...".',
        )
    unknown = sorted(recipe.keys() - _KEYS)
    if unknown or "script" not in recipe:
        raise PersistError(
            f"the recipe {name!r} has {', '.join(unknown) or 'no script'}.",
            file=place,
            remedy=f"It may have {', '.join(sorted(_KEYS))}; script is needed.",
        )
    return recipe


def _environment(folder: Path, recipe: dict[str, object], name: str) -> str:
    wanted = recipe.get("python")
    if wanted is None:
        venv.EnvBuilder(with_pip=bool(recipe.get("install"))).create(folder)
    else:
        # pip takes seconds to install, and only a recipe that installs something runs it.
        options = [] if recipe.get("install") else ["--without-pip"]
        _call([str(wanted), "-m", "venv", *options, str(folder)], None, name)
    return str(
        folder
        / ("Scripts" if os.name == "nt" else "bin")
        / ("python.exe" if os.name == "nt" else "python")
    )


def _call(words: list[str], project: Project | None, name: str) -> None:
    here = None if project is None else str(project.folder)
    clean = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")
    }
    try:
        done = subprocess.run(
            words, cwd=here, env=clean, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise PersistError(
            f"the recipe {name!r} cannot run {words[0]!r}: {error}.",
            remedy='Name an interpreter that is installed: python = "..." in the recipe.',
        ) from error
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise PersistError(
            f"the recipe {name!r} failed at `{' '.join(words[1:4])} ...` (status {done.returncode}):\n{last}",
            remedy=f"It ran with {sys.version.split()[0]} of Python unless the recipe names another.",
        )
