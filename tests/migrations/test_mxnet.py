"""MXNet in pickles: arrays, sparse arrays and symbols of genuine releases are their values."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

import persist
from persist.tree import Record

CORPUS = Path(__file__).parents[1] / "corpus" / "mxnet"
PICKLES = sorted(CORPUS.glob("*/arrays.pkl"))


@pytest.mark.parametrize("path", PICKLES, ids=lambda path: path.parent.name)
def test_pickled_arrays_are_their_values(path: Path) -> None:
    expected = json.loads((path.parent / "expected.json").read_text())["arrays"]
    with persist.open(path) as file:
        assert file.format == "pickle"
        for name, reported in expected.items():
            array = np.asarray(file.arrays[name])
            assert (array.dtype.name, list(array.shape)) == (reported["dtype"], reported["shape"])
            assert hashlib.sha256(array.tobytes()).hexdigest() == reported["sha256"]
        assert np.asarray(file.arrays["rows/indices"]).tolist() == [1, 3]
        assert np.asarray(file.arrays["csr/indptr"]).tolist() == [0, 1, 1, 3]
        # The tree is as written: records of MXNet's classes.
        assert isinstance(file.tree["dense"], Record)
        assert file.tree["dense"].qualname == "mxnet.ndarray.ndarray.NDArray"


def pickled(name: str, handle: bytes) -> bytes:
    """``{"a": instance of name with {"handle": ...}}`` in protocol 0, laid by hand."""
    module, _, cls = name.rpartition(".")
    text = pickle.dumps(handle, 0)[:-1]
    return b"(dS'a'\n(i" + f"{module}\n{cls}\n".encode() + b"(dS'handle'\n" + text + b"sbs."


@pytest.mark.parametrize(
    "name",
    ["mxnet.ndarray.NDArray", "mxnet.ndarray.ndarray.NDArray", "mxnet.numpy.multiarray.ndarray"],
)
def test_the_class_in_every_place_that_it_had(name: str) -> None:
    handle = struct.pack("<IIiii2f", 1, 2, 1, 0, 0, 1.5, -2)
    with persist.open(pickled(name, handle)) as file:
        assert np.asarray(file.arrays["a"]).tolist() == [1.5, -2]


def test_bytes_of_another_layout_stay_bytes() -> None:
    with persist.open(pickled("mxnet.ndarray.NDArray", b"\xff" * 30)) as file:
        assert "a" not in file.arrays
        assert file.scalars["a/handle"] == b"\xff" * 30
