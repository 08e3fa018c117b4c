"""Texts that a rename over a whole repository made longer or shorter, in pickles of every protocol."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import persist
from persist._wire.pickle.replaced_text import replaced_texts

STATE = {
    "major_comp": [1, 2.5, None],
    "runs": {"major_comp/loss": (1, "x"), "acc": b"abc"},
    "text": "a major_comp within a longer text, which goes on",
    "last": 0.5,
}


def renamed(state: object, old: str, new: str) -> object:
    if isinstance(state, dict):
        return {renamed(key, old, new): renamed(value, old, new) for key, value in state.items()}
    return state.replace(old, new) if isinstance(state, str) else state


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("new", ["major_complexes", "major", "x", "major_complex" * 4, "sä"])
def test_what_was_replaced_is_named_and_can_be_read(protocol: int, new: str) -> None:
    data = pickle.dumps(STATE, protocol).replace(b"major_comp", new.encode())
    with pytest.raises(persist.errors.DamagedFileError, match="a program replaced text") as caught:
        persist.open(data)
    assert "salvage=True" in str(caught.value)
    file = persist.open(data, salvage=True)
    assert file.tree == renamed(STATE, "major_comp", new)
    assert len(file.damage) == 1
    assert "; 2 more texts are too long or too short:" in file.damage[0]


def test_a_text_that_became_too_long_for_its_opcode() -> None:
    data = pickle.dumps({"k": "a" * 250, "n": 1}, 4).replace(b"a" * 250, b"b" * 290)
    assert persist.open(data, salvage=True).tree == {"k": "b" * 290, "n": 1}


def test_a_text_of_the_same_length_is_no_damage() -> None:
    data = pickle.dumps(STATE, 4).replace(b"major_comp", b"minor_comp")
    assert persist.open(data).damage == []


@given(st.binary(max_size=40), st.integers(0, 100))
def test_other_damage_is_not_taken_for_it(noise: bytes, at: int) -> None:
    whole = pickle.dumps(STATE, 4)
    data = whole[: at % len(whole)] + noise
    for one in replaced_texts(data):
        assert data[one.begin : one.begin + one.length].decode() == one.text


def test_sound_pickles_have_none() -> None:
    for protocol in range(6):
        assert replaced_texts(pickle.dumps(STATE, protocol)) == []
        assert replaced_texts(pickle.dumps(["a", "a", ("b",) * 3], protocol)) == []
