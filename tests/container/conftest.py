"""The 60-line reader of ``docs/container.md``, as the page has it, and how files are written here."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

PAGE = Path(__file__).parents[2] / "docs" / "container.md"


@pytest.fixture(scope="session")
def sixty_lines() -> str:
    """The text of the reader on the page."""
    (code,) = re.findall(
        r"```python\n(import functools, io.*?)```", PAGE.read_text("utf-8"), re.DOTALL
    )
    return code


@pytest.fixture(scope="session")
def plain_reader(sixty_lines: str) -> Callable[[Any], Any]:
    """The reader that needs only the standard library and NumPy."""
    names: dict[str, Any] = {}
    exec(compile(sixty_lines, str(PAGE), "exec"), names)
    return names["read_container"]  # type: ignore[no-any-return]
