"""What joblib's wrappers state that have lost their file."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.errors import DamageWarning, OpaqueWarning, UnknownSchemaError
from persist.tree import Record

CASE = Path(__file__).parents[1] / "corpus" / "joblib" / "joblib-0.8.4-py27-znd-satellites"


def test_a_compressed_one_still_tells_dtype_and_shape(tmp_path: Path) -> None:
    shutil.copy(CASE / "model.pkl", tmp_path / "model.pkl")
    with persist.open(tmp_path / "model.pkl") as file:
        assert len(file.damage) == 5
        reported = file.structure["objects"]
        (place,) = (path for path, facts in reported.items() if facts["shape"] == [3, 6])
        assert place == "F"
        assert reported["F"]["dtype"] == "float32"
        assert file.scalars["F/missing"] == reported["F"]["missing"]
        assert file.scalars["name"] == "run30"


@pytest.mark.parametrize("copy", ["joblib", "sklearn.externals.joblib"])
def test_so_does_the_copy_in_scikit_learn(copy: str) -> None:
    out = io.BytesIO()
    fields = {"filename": "a.pkl_01.npy", "subclass": None}
    PickleWriter(out.write, 2).dump([Record(f"{copy}.numpy_pickle.NDArrayWrapper", fields)])
    with persist.open(out.getvalue()) as file:
        assert file.format == "joblib"
        assert dict(file.scalars) == {"0/missing": "a.pkl_01.npy"}


def test_loading_says_that_an_array_is_not_there(tmp_path: Path) -> None:
    shutil.copy(CASE / "model.pkl", tmp_path / "model.pkl")
    with pytest.warns(OpaqueWarning) as caught, pytest.warns(DamageWarning, match="is missing"):
        persist.load(tmp_path / "model.pkl")
    assert any("NDArrayWrapper" in str(warning.message) for warning in caught)
    with (
        pytest.warns(DamageWarning, match="is missing"),
        pytest.raises(UnknownSchemaError, match="NDArrayWrapper"),
    ):
        persist.load(tmp_path / "model.pkl", strict=True)


def test_a_name_tells_the_release() -> None:
    with persist.open(CASE / "model.pkl") as file:
        assert [reported for reported in file.evidence if reported.startswith("joblib")] == [
            "joblib older than 0.10 (it names joblib.numpy_pickle.ZNDArrayWrapper)"
        ]
