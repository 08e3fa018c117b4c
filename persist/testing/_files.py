"""Golden files in a project's own tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from persist.history.checking import ERROR
from persist.history.golden import golden_files, verify
from persist.history.project import Project, find_project

__all__ = ["check_golden", "check_loads_without"]


def check_golden(
    schema: str = "", version: int | None = None, *, project: Project | None = None
) -> None:
    """Load the golden files of a schema, and compare them with what is recorded.

    Args:
        schema: its name; "" for all files.
        version: of the schema in the file; None for every one.
        project: whose; the one of the working directory by default.

    Raises:
        AssertionError: there is no such file, or one does not load to what is recorded.
    """
    project = find_project() if project is None else project
    files = [
        one
        for one in golden_files(project)
        if not schema or (schema in one.schemas and version in (None, one.schemas[schema]))
    ]
    if not files:
        number = "" if version is None else f" of version {version}"
        raise AssertionError(
            f"there is no golden file{number} of {schema or 'any schema'} in "
            f"{project.shown(project.golden_path)}: add one with `persist golden add FILE`."
        )
    faults = [
        str(finding)
        for one in files
        for finding in verify(project, one)[0]
        if finding.severity == ERROR
    ]
    if faults:
        raise AssertionError("\n".join(faults))


_WITHOUT = """\
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError("No module named %r (left out by the test)" % name, name=name)
sys.meta_path.insert(0, Absent())
from pathlib import Path
from persist.history.project import find_project
from persist.testing import check_golden
check_golden(project=find_project(Path({folder!r})))
"""


def check_loads_without(*packages: str, project: Project | None = None) -> None:
    """Load every golden file in a process in which packages cannot be imported.

    Args:
        packages: top-level names, such as ``"torch"``.
        project: whose; the one of the working directory by default.

    Raises:
        AssertionError: a file does not load there.
    """
    folder = (find_project() if project is None else project).folder
    code = _WITHOUT.format(packages=set(packages), folder=str(Path(folder).absolute()))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("AssertionError: ")[2]
        raise AssertionError(f"without {', '.join(packages)}: {last}")
