"""Arrays and objects that are rarely pickled, of old and new NumPy: each has its natural names."""

from __future__ import annotations

import datetime
import pickle
from pathlib import Path

import numpy as np
import pytest

import persist

CORPUS = Path(__file__).parents[1] / "corpus" / "pickle" / "odd-arrays"


@pytest.mark.parametrize("name", ["numpy-1.16-py27", "numpy-2.3-py313"])
def test_each_has_its_names(name: str) -> None:
    with persist.open(CORPUS / f"{name}.pkl") as file:
        assert [file.scalars[f"matrix/{row}"] for row in ("0/0", "0/1", "1/0", "1/1")] == [
            "a",
            1,
            None,
            2.5,
        ]
        assert (file.scalars["masked/0"], file.scalars["masked/1"]) == (1, "a")
        assert file.arrays["masked/mask"].tolist() == [False, True]
        assert file.arrays["records"].tolist() == [(1, 3.0), (2, 4.0)]
        assert file.arrays["records/mask"].tolist() == [(False, False), (True, True)]
        assert file.arrays["readings"].tolist() == [1.0, 2.0, 3.0]
        assert file.arrays["readings/mask"].tolist() == [False, True, False]
        assert file.scalars["readings/fill_value"] == -9.0
        assert file.scalars["empty"] == []
        assert file.scalars["method/state/2/base"] == 2
        assert set(file.arrays) | set(file.scalars)


def test_the_state_of_a_bit_generator_is_no_pair_of_slots() -> None:
    with persist.open(CORPUS / "numpy-2.3-py313.pkl") as file:
        assert file.scalars["rng/args/0/state/0/bit_generator"] == "MT19937"
        assert file.arrays["rng/args/0/state/0/state/key"].shape == (624,)
    with persist.open(CORPUS / "numpy-1.16-py27.pkl") as file:
        assert file.arrays["rng/state/1"].shape == (624,)


def test_what_an_instance_was_called_with_is_its_arguments() -> None:
    with persist.open(CORPUS / "numpy-2.3-py313.pkl") as file:
        assert file.scalars["called/args/0"] == 1
        assert file.scalars["called/callable/state/2/k"] == 2


def test_text_of_any_length_is_an_array(tmp_path: Path) -> None:
    with persist.open(CORPUS / "numpy-2.3-py313.pkl") as file:
        assert file.arrays["text"].tolist() == ["a", "a longer text, kept elsewhere", ""]
        assert file.arrays["missing"].tolist() == ["a", None]
        persist.save({"text": file.tree["text"]}, tmp_path / "text.persist")
    with persist.open(tmp_path / "text.persist") as again:
        assert [*np.asarray(again.tree["text"])] == ["a", "a longer text, kept elsewhere", ""]


def test_an_empty_key_of_the_root_is_found_as_it_is_listed() -> None:
    with persist.open(pickle.dumps({"": {"x": 1}, "a": {"": 2}})) as file:
        assert dict(file.scalars) == {"x": 1, "a/": 2}
        assert all(file.scalars[name] == value for name, value in dict(file.scalars).items())


def test_the_types_of_constants_are_names() -> None:
    with persist.open(pickle.dumps([type(None), type(...), type(NotImplemented)])) as file:
        assert [item.name for item in file.tree] == ["NoneType", "ellipsis", "NotImplementedType"]


def test_a_time_with_a_zone_keeps_it() -> None:
    moment = datetime.time(1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    with persist.open(pickle.dumps(moment, 2)) as file:
        assert file.tree == moment


def test_keywords_of_a_class_are_its_own_at_every_protocol() -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        with persist.open(pickle.dumps(Made(7, unit="m"), protocol)) as file:
            assert file.tree.cls.name == "Made"
            assert (file.scalars["args/0"], file.scalars["kwargs/unit"]) == (7, "m")
            assert file.scalars["made"] is True


class Made:
    """Pickled by ``__getnewargs_ex__``: before protocol 4 as a partial of ``__new__``, called."""

    def __new__(cls, *args: object, **kwargs: object) -> Made:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.made = True

    def __getnewargs_ex__(self) -> tuple[tuple[object, ...], dict[str, object]]:
        return (7,), {"unit": "m"}


def test_one_object_behind_a_wrapper_of_protocol_0_is_claimed() -> None:
    with persist.open(
        CORPUS.parents[1] / "joblib" / "joblib-0.11-py27-p0-object" / "none.pkl"
    ) as file:
        assert file.format == "joblib"
        assert file.scalars[""] is None
