"""The pickles in CPython's own test suite, as the running interpreter has it: each that CPython loads opens.

Every string of bytes that `test.test_pickle` gives to an unpickler is caught, in a process of its own.
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import persist
from persist.errors import PersistError

pytestmark = [pytest.mark.interop, pytest.mark.slow]

CATCH = """
import io, json, pickle, sys, unittest
from test import pickletester, test_pickle
caught = set()

def watched(name, loads):
    def call(self, data, **options):
        found = loads(self, data, **options)
        if not options and isinstance(data, bytes):
            caught.add(data.hex())
        return found
    return call

for cls in vars(test_pickle).values():
    if isinstance(cls, type) and issubclass(cls, unittest.TestCase) and "loads" in vars(cls):
        cls.loads = watched("loads", cls.loads)
suite = unittest.defaultTestLoader.loadTestsFromModule(test_pickle)
with open(sys.argv[1], "w") as out:
    unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    json.dump(sorted(caught), out)
"""


def test_every_pickle_of_cpythons_suite_that_it_loads_opens(tmp_path: Path) -> None:
    if (
        importlib.util.find_spec("test") is None
        or importlib.util.find_spec("test.pickletester") is None
    ):
        pytest.skip("this interpreter is installed without its test suite")
    path = f"{tmp_path}/caught.json"
    subprocess.run(
        [sys.executable, "-c", CATCH, path], check=True, capture_output=True, timeout=600
    )
    with open(path) as file:
        blobs = [bytes.fromhex(text) for text in json.load(file)]
    assert len(blobs) > 1000
    refused, wrong = [], []
    for blob in blobs:
        try:
            value = persist.open(blob).tree
        except PersistError as error:
            refused.append((blob[:60], str(error)[:200]))
            continue
        if isinstance(value, int | float | str | bytes | None) and value != pickle.loads(blob):
            wrong.append((blob[:60], value))
    assert not wrong
    assert len(refused) <= len(blobs) // 200, refused
