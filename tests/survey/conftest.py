"""Folders of old files, made of the genuine ones of the corpus and of pickles written by hand."""

from __future__ import annotations

import datetime
import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

CORPUS = Path(__file__).parents[1] / "corpus" / "pickle"
# The class of four years: a bare tuple, two fields, four fields, and five under another name.
GENERATIONS = {1: "2012-05-01", 2: "2014-06-01", 3: "2016-07-01", 4: "2019-08-01"}


def _dated(path: Path, date: str) -> Path:
    """Give a file a date of modification."""
    seconds = datetime.datetime.fromisoformat(f"{date}T12:00:00+00:00").timestamp()
    os.utime(path, (seconds, seconds))
    return path


@pytest.fixture
def evolution(tmp_path: Path) -> Path:
    """A folder of four generations of one class, with the dates of their years."""
    folder = tmp_path / "runs"
    folder.mkdir()
    for number, date in GENERATIONS.items():
        (source,) = (CORPUS / f"pickle-evolution-gen{number}").glob("*.pkl")
        _dated(Path(shutil.copy(source, folder)), date)
    return folder


def _pickled(module: str, name: str, state: Any, *, args: tuple[Any, ...] = ()) -> bytes:
    """A pickle of an instance of a class that is not here, of any name."""
    texts = b""
    for text in (module, name):
        data = text.encode("utf-8", "surrogatepass")
        texts += b"X" + len(data).to_bytes(4, "little") + data
    inner, arguments = (pickle.dumps(one, 2)[2:-1] for one in (state, args))
    return b"\x80\x04" + texts + b"\x93" + arguments + b"\x81" + inner + b"b."


@pytest.fixture
def old() -> SimpleNamespace:
    """Makers of old files: ``pickled`` and ``dated``, and where the corpus is."""
    return SimpleNamespace(pickled=_pickled, dated=_dated, corpus=CORPUS)
