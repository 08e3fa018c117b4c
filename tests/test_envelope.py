"""The envelope: distinguished from any older state, the same in a live pickle and in an inert tree."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import persist
from persist._envelope import Layer, refuse_newer, seal, unwrap, wrap
from persist.errors import FutureVersionError


class Base(persist.Versioned, version=2, schema="envelope.Base"):
    persistent = ("a",)


class Heir(Base, version=3, schema="envelope.Heir"):
    persistent = ("b",)


def heir() -> Heir:
    made = Heir()
    made.a, made.b = [1.5], "x"
    return made


@pytest.mark.parametrize("protocol", range(6))
def test_an_envelope_is_found_in_an_inert_tree(protocol):
    """A plain pickle that our machine read still says schema and version of each class."""
    record = persist.open(pickle.dumps(heir(), protocol)).tree
    envelope = unwrap(record.state)
    assert list(envelope.states()) == [
        ("envelope.Base", 2, {"a": [1.5]}),
        ("envelope.Heir", 3, {"b": "x"}),
    ]
    assert envelope.fields() == {"a": [1.5], "b": "x"}


def test_fields_go_by_their_own_paths():
    """The envelope is transparent to natural paths."""
    file = persist.open(pickle.dumps({"net": heir()}))
    assert dict(file.scalars) == {"net/a": [1.5], "net/b": "x"}
    assert file.scalars["net/a/0"] == 1.5


def test_the_header_is_written_once_a_file():
    """A hundred instances cost their values, not a hundred headers."""
    one = len(pickle.dumps([heir()]))
    many = len(pickle.dumps([heir() for _ in range(101)]))
    assert (many - one) / 100 < 50
    assert pickle.dumps([heir(), heir()]).count(b"persist.envelope") == 1


@pytest.mark.parametrize(
    "state",
    [
        None, {}, {"persist.envelope": 1}, (), ((),), ({}, None), (None, {"a": 1}), ("persist.envelope", 1),
        (("persist.envelope", 1, ()),), (("persist.envelope", 1, (("s", 1, "", "fields", ("a",)),)),),
        (("persist.envelope", 1, (("s", 1, "", "fields", ("a",)),)), (1, 2)),
        (("persist.envelope", 1, (("s", True, "", "codec", None),)), 1),
        (("persist.envelope", 1, (("s", 1, "", "other", None),)), 1),
        (("persist.envelope", 1, (("s", 1, "", []),)), 1),
        ((np.zeros(3), np.zeros(3), np.zeros(3)), 1), (np.zeros(3), 1), (("persist.envelope", np.zeros(3), ()), 1),
    ],
)  # fmt: skip
def test_a_state_of_old_is_no_envelope(state):
    """Whatever a class's own state was, it is not taken for ours."""
    assert unwrap(state) is None
    refuse_newer(state)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4) | st.just("persist.envelope"),
        lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    )
)  # fmt: skip
def test_looking_never_raises(state):
    """Any value whatever is an envelope or is not."""
    found = unwrap(state)
    assert found is None or found.layers


def test_a_codec_may_return_anything():
    """Even None is inside an envelope, which is never empty."""
    layer = Layer("s", 1, "", "codec", None)
    for state in (None, 0, (), {}, [1], (1, 2)):
        assert unwrap(wrap(seal([layer]), [state])).values == [state]


def test_names_that_two_classes_use_are_both_shown():
    """Nothing is dropped from the natural paths."""
    layers = [Layer("a", 1, "", "fields", ("w",)), Layer("b", 1, "", "fields", ("w",))]
    assert unwrap(wrap(seal(layers), [(1,), (2,)])).fields() == {"w": 1, "w~2": 2}


def test_a_later_form_is_refused_with_the_cure():
    """A program does not guess at an envelope that a later release wrote."""
    state = (("persist.envelope", 2, "whatever"), 1)
    assert unwrap(state) is None
    with pytest.raises(FutureVersionError, match="form 2.*form 1.*pip install -U"):
        refuse_newer(state)
    with pytest.raises(FutureVersionError, match="form 2"):
        Heir.__new__(Heir).__setstate__(state)


def test_the_mark_and_the_names_in_files_stay():
    """Users' pickles bear them for ever: docs/envelope.md."""
    import persist.versioned as home

    header = heir().__reduce_ex__(2)[2][0]
    assert header == (
        "persist.envelope",
        1,
        (
            ("envelope.Base", 2, "eea2eae0", "fields", ("a",)),
            ("envelope.Heir", 3, "fc0c8bd8", "fields", ("b",)),
        ),
    )
    assert callable(home._array)
    assert callable(home._constant)
    assert callable(home._set_state)
