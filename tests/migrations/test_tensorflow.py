"""TensorFlow in pickles: eager tensors, variables, shapes and types are plain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import persist
from persist.tree import Record

CORPUS = Path(__file__).parents[1] / "corpus" / "tensorflow"
EAGER = CORPUS / "made-2.15.1-py311-pickle-eager" / "tensors.pkl"
BOOK = CORPUS / "tf-2.3.4-py38-d2l-np-save" / "mydict.npy"


def test_tensors_of_a_pickle_are_their_values() -> None:
    with persist.open(EAGER) as file:
        assert np.asarray(file.arrays["x"]).tolist() == [1, 2]
        assert np.asarray(file.arrays["s"]).tolist() == [b"a", b"b"]
        assert file.scalars["one"] == b"q"
        assert float(np.asarray(file.arrays["n"])) == 2.5
        assert isinstance(file.tree["x"], Record)


def test_a_variable_is_its_value_with_its_name_beside() -> None:
    with persist.open(EAGER) as file:
        assert np.asarray(file.arrays["v"]).tolist() == [1, 2]
        assert file.scalars["v/name"] == "vv"
        assert file.scalars["v/trainable"] is True


def test_shapes_and_types_are_plain() -> None:
    with persist.open(EAGER) as file:
        assert file.scalars["shape"] == [None, 3]
        assert file.scalars["type"] == "bfloat16"


@pytest.mark.extra("ml_dtypes")
def test_bfloat16_in_a_pickle() -> None:
    with persist.open(EAGER) as file:
        array = np.asarray(file.arrays["bf"])
        assert array.dtype.name == "bfloat16"
        assert array.astype("f4").tolist() == [1, 2]


def test_a_dict_of_tensors_that_numpy_saved() -> None:
    with persist.open(BOOK) as file:
        assert np.asarray(file.arrays["x"]).tolist() == [0, 1, 2, 3]
        assert np.asarray(file.arrays["y"]).dtype == np.float32


@pytest.mark.parametrize(
    "data",
    [
        b"ctensorflow.python.framework.ops\nconvert_to_tensor\n(tR.",
        b"ctensorflow.python.framework.dtypes\nas_dtype\n(I5\ntR.",
        b"ctensorflow.python.framework.tensor_shape\nTensorShape\n(I5\ntR.",
        b"cfunctools\npartial\n(ctensorflow.x\nV\ntR(tR.",
    ],
)
def test_other_arguments_leave_the_record(data: bytes) -> None:
    with persist.open(b"(lp0\n" + data[:-1] + b"a.") as file:
        assert list(file.arrays) == []
        list(file.scalars)
