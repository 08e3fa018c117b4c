"""The wheel and the source archive hold what they should, and nothing else.

``python tests/house/test_wheel.py WHEEL`` compares a wheel that was built already.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

TOP = Path(__file__).parents[2]


def expected() -> set[str]:
    """What of the checkout is shipped, under the names that it has in a wheel."""
    names = set()
    for path in (TOP / "persist").rglob("*"):
        if path.is_file() and path.suffix in (".py", ".typed", ".js", ".css"):
            names.add(path.relative_to(TOP).as_posix())
    for path in (TOP / "migrations").rglob("*"):
        if path.suffix in (".py", ".tsv"):
            names.add(f"persist/{path.relative_to(TOP).as_posix()}")
    names.add("persist/demo/files.zip")  # the files that README and docs use
    return names


def shipped(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def compare(wheel: Path) -> None:
    """Fail where a wheel holds more or less than it should."""
    found, wanted = shipped(wheel), expected()
    assert found == wanted, f"missing {sorted(wanted - found)}, too much {sorted(found - wanted)}"
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        reported = Parser().parsestr(archive.read(name).decode())
        assert reported["Name"] == "persist-state"
        assert reported["License-Expression"] == "BSD-3-Clause"
        needed = [
            line for line in reported.get_all("Requires-Dist") or [] if "extra ==" not in line
        ]
        assert sorted(line.split(">")[0] for line in needed) == ["attrs", "numpy", "packaging"]
        assert any(name.endswith("LICENSE") for name in archive.namelist())
        points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "persist = persist._cli:main" in archive.read(points).decode()


if __name__ == "__main__":
    compare(Path(sys.argv[1]))
    print(f"{Path(sys.argv[1]).name}: {len(expected())} files, as they should be")
    sys.exit()

import pytest  # noqa: E402

pytestmark = pytest.mark.checkout

FRAMEWORKS = (
    *("torch", "tensorflow", "keras", "theano", "mxnet", "jax", "scikit-learn", "pandas", "scipy"),
    *("joblib", "dill", "cloudpickle"),
)


def test_the_packages_in_pyproject_are_those_of_the_checkout() -> None:
    import tomllib

    settings = tomllib.loads((TOP / "pyproject.toml").read_text())
    folders = {
        path.parent for top in ("persist", "migrations") for path in (TOP / top).rglob("*.py")
    }
    names = {".".join(folder.relative_to(TOP).parts) for folder in folders}
    names = {f"persist.{name}" if name.startswith("migrations") else name for name in names}
    assert set(settings["tool"]["setuptools"]["packages"]) == names


def test_no_extra_installs_a_framework() -> None:
    import tomllib

    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    for lines in (project["dependencies"], *project["optional-dependencies"].values()):
        assert not [line for line in lines if line.lower().startswith(FRAMEWORKS)]


def test_the_wheel_holds_the_package_and_the_packs_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    pytest.importorskip("pip")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("persist", "migrations", ".ci"):  # the build backend is in .ci
        shutil.copytree(TOP / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TOP / name, copy)
    command = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation"]
    run = subprocess.run(
        [*command, "--wheel-dir", str(tmp_path), str(copy)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    compare(wheel)
