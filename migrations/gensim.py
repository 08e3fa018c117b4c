"""gensim: how word vectors of every release become `KeyedVectors` of the installed one.

The vectors were ``syn0`` (until 3.2), the words ``index2word`` and ``vocab``, a dict of word to an object with
its position and count. Since 4.0 they are ``vectors``, ``index_to_key``, ``key_to_index`` and ``expandos``.

Evidence: ``models/keyedvectors.py`` of 1.0 to 4.4 (``KeyedVectors.__init__``, ``_upconvert_old_vocab``), and
vectors that these releases wrote (``tests/foundry/boosters``).
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from persist.errors import RestoreError
from persist.packs import Record
from persist.registry import Registry
from persist.typing import State

__all__ = ["NEWEST", "OLDEST", "pack"]

OLDEST, NEWEST = "4.0", "4.4"
"""The releases of gensim for which objects are made."""

_MODULE = "gensim.models.keyedvectors"
_CLASSES = (
    "KeyedVectors",
    "Word2VecKeyedVectors",
    "EuclideanKeyedVectors",
    "WordEmbeddingsKeyedVectors",
)

pack = Registry("gensim")


@functools.cache
def _check_installed() -> str:
    from packaging.version import Version

    release = str(importlib.import_module("gensim").__version__)
    if not Version(OLDEST) <= Version(release) < Version(f"{NEWEST}.9999"):
        raise RestoreError(
            f"gensim {release} is installed, and vectors are made for {OLDEST} to {NEWEST}"
        )
    return release


@pack.rebuild(
    *(f"{_MODULE}.{name}" for name in _CLASSES), library="gensim", requires=_check_installed
)
def vectors(record: Record) -> object:
    """Vectors with their words; norms are computed again when they are asked for."""
    _check_installed()
    state = record.state
    if not isinstance(state, dict):
        raise RestoreError("its state is no dict of attributes")
    array = _first(state, "vectors", "syn0")
    words = _first(state, "index_to_key", "index2word", "index2entity")
    if not isinstance(array, np.ndarray) or array.ndim != 2 or not isinstance(words, list):
        raise RestoreError("its vectors or words are not in it: they may be in files next to it")
    if len(words) != len(array):
        raise RestoreError(f"it has {len(words)} words and {len(array)} vectors")
    places = {word: place for place, word in enumerate(words)}
    if len(places) != len(words):
        raise RestoreError("it names a word twice")
    made = importlib.import_module("gensim.models.keyedvectors").KeyedVectors(
        array.shape[1], dtype=array.dtype
    )
    made.index_to_key, made.key_to_index, made.vectors = words, places, array
    made.next_index = state.get("next_index", len(words))
    made.expandos = _expandos(state, words)
    return made


def _first(state: State, *names: str) -> Any:
    return next((state[name] for name in names if state.get(name) is not None), None)


def _expandos(state: State, words: list[Any]) -> dict[str, Any]:
    """What is noted of each word, in the order of the words: its count, mostly."""
    found = state.get("expandos")
    if isinstance(found, dict):
        return found
    vocabulary = state.get("vocab")
    if not isinstance(vocabulary, dict) or vocabulary.keys() != set(words):
        raise RestoreError("its vocabulary is not that of its words")
    by_word = [vocabulary[word] for word in words]
    places = [fields.get("index") for fields in by_word]
    if places != list(range(len(words))):
        raise RestoreError("its vocabulary places the words elsewhere")
    made = {}
    for name in sorted({name for fields in by_word for name in fields} - {"index"}):
        values = [fields.get(name) for fields in by_word]
        if name in ("count", "sample_int") and all(type(value) is int for value in values):
            made[name] = np.array(values, "i8" if name == "count" else "u4")
    return made


@pack.rebuild(f"{_MODULE}.Vocab", library="gensim")
def fields_of_word(record: Record) -> object:
    """What releases before 4.0 noted of a word, for the vectors that hold it."""
    if not isinstance(record.state, dict):
        raise RestoreError("its state is no dict of attributes")
    return record.state
