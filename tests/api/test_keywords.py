"""Keywords that several functions share: written once, shown and checked as ordinary ones."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import persist
from persist import typing as types
from persist._api.detect import readers
from persist._api.keywords import OPEN_DEFAULTS
from persist._api.save import writer_of
from persist._layouts.checks import POLICIES

VERBS = [persist.open, persist.load, persist.restore, persist.explain]


def keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters that a function shows."""
    shown = inspect.signature(function).parameters.values()
    return {each.name: each for each in shown if each.kind is each.KEYWORD_ONLY}


def lasts(options: Any) -> set[str]:
    """The keys of a `TypedDict`."""
    return {*options.__required_keys__, *options.__optional_keys__}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_every_verb_shows_the_shared_keywords_with_their_defaults(verb: Any) -> None:
    shown = keywords(verb)
    assert lasts(types.OpenOptions) == set(OPEN_DEFAULTS)
    assert {name: shown[name].default for name in OPEN_DEFAULTS} == OPEN_DEFAULTS
    parameters = inspect.signature(verb).parameters.values()
    assert not [each for each in parameters if each.kind is each.VAR_KEYWORD]
    assert "storage_options: 'Mapping" in pydoc.plain(pydoc.render_doc(verb))


@pytest.mark.parametrize("verb", [*VERBS, persist.save], ids=lambda verb: verb.__name__)
def test_the_docstring_explains_every_keyword(verb: Any) -> None:
    arguments = (verb.__doc__ or "").partition("Args:")[2].partition("Returns:")[0]
    named = {
        name
        for line in arguments.splitlines()
        for name in line.partition(":")[0].replace(",", " ").split()
    }
    assert set(keywords(verb)) - named == set()


def test_the_dicts_of_keywords_are_those_of_the_functions() -> None:
    assert lasts(types.LoadOptions) == set(keywords(persist.load))
    assert lasts(types.SaveOptions) == set(keywords(persist.save))
    assert lasts(types.StepOptions) == lasts(types.LoadOptions) - {"step"}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_an_unknown_keyword_is_refused_and_the_nearest_named(verb: Any) -> None:
    into = ({},) if verb is persist.restore else ()
    with pytest.raises(TypeError, match=rf"{verb.__name__}\(\).*'slavage'. Did you mean 'salvage'"):
        verb(b"", *into, slavage=True)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'qqqq'. It takes .*mmap"):
        verb(b"", *into, qqqq=True)


def test_a_keyword_of_the_function_itself_is_suggested_too() -> None:
    with pytest.raises(TypeError, match="Did you mean 'trust'"):
        persist.load(b"", trsut=())  # type: ignore[call-overload]


def test_the_shared_keywords_reach_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", w=np.arange(3))
    with pytest.raises(persist.PersistError, match="paths"):
        list(persist.open(tmp_path / "w.npz", limits={"paths": 0}).arrays)
    with pytest.raises(persist.PersistError, match="no kind of array"):
        persist.load(tmp_path / "w.npz", arrays="jax")  # type: ignore[call-overload]


def test_the_formats_are_those_that_readers_write() -> None:
    for name in get_args(types.Format):
        assert writer_of(name).writes
    named = {writer_of(name).name for name in get_args(types.Format)}
    assert named == {reader.name for reader in readers() if reader.writes}


def test_the_layout_policies_are_those_that_are_checked() -> None:
    assert get_args(types.LayoutPolicy) == POLICIES
