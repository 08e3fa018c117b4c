"""The README: ten lines that say what this is for, and the main job in twenty."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_it_says_in_ten_lines_what_this_is_for() -> None:
    purpose = README.partition("## The main job")[0].removeprefix("# persist")
    lines = [line for line in purpose.splitlines() if line.strip()]
    assert 5 <= len(lines) <= 12


def test_the_main_job_is_shown_in_twenty_lines() -> None:
    job = re.search(r"## The main job\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert job is not None
    code = re.findall(r"^```python\n(.*?)^```", job[1], re.MULTILINE | re.DOTALL)
    lines = [line for block in code for line in block.splitlines() if line.strip()]
    assert 5 <= len(lines) <= 20
    for name in ("persist.Versioned", "persist.migration", "persist.alias", "persist.load"):
        assert name in "\n".join(code)


def test_it_tells_how_to_try_it() -> None:
    for words in ("make demo", "make test", "docs/tutorial.md", "pip install persist-state"):
        assert words in README
