"""Golden files, the pytest plugin, and the laws."""

from __future__ import annotations

import sys
from typing import Any

CONFIG = """
@attrs.define(eq=False)
class Config(persist.Versioned, version={}, schema="ourlab.Config"):
    rate: float = 0.1
    w: np.ndarray = attrs.field(factory=lambda: np.zeros(3))
"""


def aged(place: Any, step: str) -> None:
    """Version 1 is locked and has a golden file; version 2 comes with a step."""
    place.models(CONFIG.format(1))
    place.persist("lock")
    place.python(
        "import persist; from ourlab.models import *; persist.save(Config(0.5, np.arange(3.0)), 'old.persist')"
    )
    place.persist("golden add old.persist")
    place.models(CONFIG.format(2) + "\n\n" + step)
    place.persist("lock")


def test_a_golden_file_that_loads_to_other_values(place: Any) -> None:
    aged(place, 'persist.migration(Config, 1, persist.ops.scale("rate", 2.0))\n')
    assert "nothing is recorded for ourlab.Config 2" in place.persist("check")
    place.persist("golden update")
    assert "as released" in place.persist("check --coverage")
    assert "1 passed" in place.pytest()
    place.change("2.0", "3.0")
    said = place.persist("check", 1)
    assert "loads to other values than it did" in said
    assert "~ rate: was 1.0, and is 1.5" in said
    assert "~ rate: was 1.0, and is 1.5" in place.pytest(status=1)


def test_a_golden_file_that_no_longer_loads(place: Any) -> None:
    aged(place, "")
    said = place.persist("check", 1)
    assert "no longer loads" in said
    assert "no migrations lead from version 1" in said


def test_bytes_that_changed(place: Any) -> None:
    aged(place, 'persist.migration(Config, 1, persist.ops.scale("rate", 2.0))\n')
    path = place.folder / "tests/golden/old.persist"
    path.write_bytes(path.read_bytes() + b"\0")
    assert "its bytes changed" in place.persist("check", 1)


def test_a_step_that_no_golden_file_covers(place: Any) -> None:
    place.models(
        CONFIG.format(2) + '\n\npersist.migration(Config, 1, persist.ops.scale("rate", 2.0))\n'
    )
    place.persist("lock")
    assert "warning: no golden file covers the step 1 → 2" in place.persist("check")
    assert "ourlab.Config 1 → 2: none" in place.persist("check --coverage", 1)
    place.persist("golden make ourlab.Config")
    assert "error: no golden file covers" in place.persist("check", 1)


def test_a_recipe_of_the_foundry(place: Any) -> None:
    settings = place.read("pyproject.toml")
    recipe = f"[tool.persist.foundry.v1]\npython = {sys.executable!r}\nscript = 'write.py'\n"
    place.write("pyproject.toml", settings + "\n" + recipe)
    place.write("write.py", "import pickle, sys\nfrom pathlib import Path\n"
                "(Path(sys.argv[1]) / 'a.pkl').write_bytes(pickle.dumps({'a': 1}, 2))\n")  # fmt: skip
    place.models(CONFIG.format(1))
    place.persist("lock")
    assert "v1-a.pkl: plain values; written by the recipe v1" in place.persist("golden foundry v1")
    place.persist("check")
    place.write("write.py", "raise SystemExit('no such release')")
    assert "no such release" in place.persist("golden foundry v1 --force", 2)
    assert "there is no recipe 'v2'; there are: v1" in place.persist("golden foundry v2", 2)


BROKEN = {
    "up": 'def step(state):\n    return {"rate": 1 / state["rate"], "w": state["w"]}\n',
    "same": 'import random\ndef step(state):\n    return {**state, "rate": random.random()}\n',
    "inside": 'def step(state):\n    state["w"] += 1\n    return state\n',
    "back": 'def step(state):\n    return {**state, "rate": -state["rate"]}\n\n\n@step.downgrade\ndef back(state):\n    return state\n',
}  # fmt: skip


def test_each_law_finds_the_step_that_breaks_it(place: Any) -> None:
    place.models(CONFIG.format(1))
    place.persist("lock")
    place.write("test_laws.py", "import persist.testing\n\ntest_laws = persist.testing.laws()\n")
    for law, text in BROKEN.items():
        text = text.replace("def step", "@persist.migration(Config, 1)\ndef step")
        place.models(CONFIG.format(2) + "\n\n" + text)
        said = place.pytest("test_laws.py --no-header -rf", 1)
        assert f"ourlab.Config-1-{law}]" in said.partition("short test summary")[2], (law, said)


def test_steps_that_keep_all_laws(place: Any) -> None:
    aged(
        place,
        'persist.migration(Config, 1, persist.ops.rename("w", "v"), persist.ops.rename("v", "w"))\n',
    )
    place.write("pyproject.toml", place.read("pyproject.toml") + "laws = true\n")
    assert "6 passed" in place.pytest()  # five laws and the golden file


def test_files_load_where_a_package_is_not_there(place: Any) -> None:
    aged(place, 'persist.migration(Config, 1, persist.ops.scale("rate", 2.0))\n')
    place.write(
        "test_bare.py",
        "import persist.testing\n\n\ndef test_bare():\n    persist.testing.check_loads_without('h5py')\n",
    )
    assert "1 passed" in place.pytest("test_bare.py")
    place.write(
        "test_bare.py",
        "import persist.testing\n\n\ndef test_bare():\n    persist.testing.check_loads_without('attrs', 'attr')\n",
    )
    assert "left out by the test" in place.pytest("test_bare.py", 1)
