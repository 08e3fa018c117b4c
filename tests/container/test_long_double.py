"""``long double`` of another machine: right to the last bit of float64, or refused."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._container.reading.long_double import of_this_machine, to_double
from persist.errors import FormatError

HERE = of_this_machine()
IS_WIDE = HERE[0] == 16
needs_16 = pytest.mark.skipif(not IS_WIDE, reason="NumPy has no dtype of 16 bytes here")

# Significands, exponents and signs; what they mean is worked out by fractions.
QUAD = st.tuples(st.integers(0, 2**112 - 1), st.integers(0, 0x7FFE), st.booleans())
NEAR = st.tuples(
    st.one_of(st.integers(0, 2**112 - 1), st.integers(0, 2**53 - 1).map(lambda top: top << 59)),
    st.one_of(st.integers(15300, 15370), st.integers(16380, 16390), st.integers(17400, 17410)),
    st.booleans(),
)


def _nearest(value: Fraction, is_negative: bool) -> float:
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    return -found if is_negative else found


def _bits(array: Any) -> list[int]:
    return [int(one) for one in np.atleast_1d(np.asarray(array, "f8")).view("u8")]


@settings(max_examples=examples(400))
@given(QUAD | NEAR, st.sampled_from(["little", "big"]))
def test_a_quad_is_rounded_as_its_fraction_is(parts: tuple[int, int, bool], order: Any) -> None:
    fraction, exponent, sign = parts
    data = (sign << 127 | exponent << 112 | fraction).to_bytes(16, order)
    whole = fraction + (2**112 if exponent else 0)
    value = whole * Fraction(2) ** (max(exponent, 1) - 16383 - 112)
    made = to_double(np.frombuffer(data, "u1"), 112, order)
    assert _bits(made) == _bits(_nearest(value, sign))


@settings(max_examples=examples(400))
@given(QUAD | NEAR)
def test_an_x87_number_is_rounded_as_its_fraction_is(parts: tuple[int, int, bool]) -> None:
    fraction, exponent, sign = parts
    whole = (fraction >> 49) | (2**63 if exponent else 0)
    data = (sign << 79 | exponent << 64 | whole).to_bytes(16, "little")
    value = whole * Fraction(2) ** (max(exponent, 1) - 16383 - 63)
    made = to_double(np.frombuffer(data, "u1"), 63, "little")
    assert _bits(made) == _bits(_nearest(value, sign))


def test_what_is_no_number_stays_so() -> None:
    top = 0x7FFF
    quads = [top << 112, 1 << 127 | top << 112, top << 112 | 1, 1 << 127, 0]
    data = np.frombuffer(b"".join(one.to_bytes(16, "little") for one in quads), "u1")
    made = to_double(data.reshape(-1, 16), 112, "little")
    assert [repr(float(one)) for one in made] == ["inf", "-inf", "nan", "-0.0", "0.0"]
    pairs = np.array([[1.0, 2**-60], [np.inf, 0.0], [0.5, -0.25]])
    assert to_double(pairs.view("u1"), 106, "little").tolist() == [1.0, np.inf, 0.25]
    with pytest.raises(ValueError, match="80 bits"):
        to_double(data[:16], 80, "little")


def _quad(values: Any) -> Any:
    """Float64 as quads, in the dtype of 16 bytes that this machine has."""
    out = []
    for value in np.asarray(values, "f8").ravel():
        bits = int(np.float64(value).view("u8"))
        sign, exponent, fraction = bits >> 63, bits >> 52 & 0x7FF, bits & (2**52 - 1)
        exponent = exponent + 16383 - 1023 if exponent else 0
        out.append((sign << 127 | exponent << 112 | fraction << 60).to_bytes(16, "little"))
    return np.frombuffer(b"".join(out), np.longdouble).reshape(np.shape(values))


def _foreign(tree: Any, monkeypatch: pytest.MonkeyPatch, mantissa: int = 112) -> bytes:
    """A container as another machine writes it."""
    out = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(np, "finfo", lambda kind: SimpleNamespace(nmant=mantissa))
        persist.save(tree, out)
    return out.getvalue()


@needs_16
def test_a_container_of_a_machine_with_quads(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([[1.5, -2.0, 0.1], [3e100, 1e-300, 7.0]])
    wide = _quad(values)
    tree = {
        "w": wide, "t": wide.T, "part": wide[:, 1:], "f": np.asfortranarray(_quad(values)),
        "z": _quad(np.array([1.0, 2.0])).view(np.clongdouble), "one": _quad(0.25)[()], "b": np.ones(3),
        "many": [_quad(np.full(2, float(number))) for number in range(40)],
    }  # fmt: skip
    data = _foreign(tree, monkeypatch)
    for opened in (persist.load(data), persist.open(data, salvage=True).tree):
        assert np.asarray(opened["w"]).dtype == np.float64
        for name, wanted in (
            ("w", values),
            ("t", values.T),
            ("part", values[:, 1:]),
            ("f", values),
        ):
            assert _bits(np.asarray(opened[name]).ravel()) == _bits(wanted.ravel()), name
        assert np.asarray(opened["z"]).tolist() == [1 + 2j]
        assert opened["one"] == 0.25
        assert np.asarray(opened["b"]).tolist() == [1.0] * 3
        assert [np.asarray(one).tolist() for one in opened["many"]] == [[n, n] for n in range(40)]
    file = persist.open(data)
    assert np.asarray(file.arrays["w"]).tolist() == values.tolist()
    assert any("long double of another machine (binary128)" in note for note in file.notes)


@needs_16
def test_what_cannot_be_converted_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fields = np.zeros(2, [("a", np.longdouble), ("b", "i4")])
    for tree, mantissa in (({"s": fields}, 112), ({"w": _quad([1.0])}, 77)):
        with pytest.raises(FormatError, match="long double of another machine") as caught:
            persist.load(_foreign(tree, monkeypatch, mantissa))
        assert "float64" in caught.value.remedy
    path = tmp_path / "x.persist"
    path.write_bytes(_foreign({"w": _quad([1.0])}, monkeypatch))
    from persist import _container

    with pytest.raises(FormatError, match="cannot be kept"):
        _container.compact(path)
    assert np.asarray(persist.load(path)["w"]).tolist() == [1.0]


def test_this_machine_reads_its_own_to_the_last_bit() -> None:
    out = io.BytesIO()
    values = np.array([1, 2, 3], np.longdouble) / 3
    persist.save({"w": values}, out)
    again = persist.load(out.getvalue())["w"]
    assert again.dtype == values.dtype
    assert (again == values).all()
