"""What all tests share: the bare run, and packs and caches put back as they were.

``pytest --bare`` is the run with no extras installed and an empty ``migrations/``: a test that
needs an extra which is truly absent is skipped, and so is one that is marked ``packs``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # `warm` is imported by its own name

# A container states when it was saved: files of equal objects are to be equal.
os.environ.setdefault("SOURCE_DATE_EPOCH", "1700000000")

# Machines differ in speed, and a slow one is no failure; CI repeats what it found.
settings.register_profile("persist", deadline=None, print_blob=True)
settings.load_profile("persist")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bare", action="store_true", help="no extras, an empty migrations/")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "packs: needs the shipped packs of migrations/")
    config.addinivalue_line("markers", "extra(*modules): needs these extras' modules")
    config.addinivalue_line("markers", "checkout: needs the repository around the tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_checkout = (HERE.parent / "persist" / "__init__.py").is_file()
    for item in items:
        if HERE / "migrations" in item.path.parents:
            item.add_marker("packs")
        if config.getoption("--bare") and item.get_closest_marker("packs"):
            item.add_marker(pytest.mark.skip("the packs are not there"))
        if not is_checkout and item.get_closest_marker("checkout"):
            item.add_marker(pytest.mark.skip("the repository is not there"))
        for mark in item.iter_markers("extra"):
            missing = [name for name in mark.args if importlib.util.find_spec(name) is None]
            if missing:
                item.add_marker(pytest.mark.skip(f"{', '.join(missing)} is not installed"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """In the bare run, a file that wants an extra which is not installed skips its test."""
    from persist.errors import MissingExtraError

    try:
        return (yield)
    except MissingExtraError as error:
        if item.config.getoption("--bare"):
            pytest.skip(str(error))
        raise
