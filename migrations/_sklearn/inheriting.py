"""States of users' subclasses of estimators, of which no release is recorded."""

from __future__ import annotations

import copy
import pickle
from typing import Any

from persist.migrations._sklearn.steps import CHANGES, State

from persist.errors import RestoreError

__all__ = ["without_release"]

_COUNTING = "0.23"  # since which `fit` sets n_features_in_


def without_release(name: str, short: str, state: State) -> State:
    """Return a state in today's layout, if that is the same whichever release wrote it.

    Some steps change numbers of which nothing says whether they were changed already. A state is
    therefore upgraded from each release that changed the layout of its class, on copies: from 0.23
    on if it has ``n_features_in_``, which no `fit` set before.

    Args:
        name: the dotted name of the library's class.
        short: the last part of it.
        state: its attributes; not changed.

    Raises:
        RestoreError: the results differ, or some releases' states cannot be brought over.
    """
    newest = CHANGES.newest(name)
    if newest == 1:
        return state
    is_counted = "n_features_in_" in state
    found: dict[Any, State] = {}
    for version in range(CHANGES.version(name, _COUNTING if is_counted else None), newest + 1):
        try:
            made = CHANGES.upgraded_from(name, copy.deepcopy(state), version)
        except RestoreError as error:
            raise _unknown(
                short, f"one of an old release could not be brought over: {error.what}"
            ) from error
        except Exception as error:  # a step of another release's layout may raise anything
            raise _unknown(
                short, f"a step of an old release raised {type(error).__name__}"
            ) from error
        found.setdefault(_comparable(made), made)
    if len(found) > 1:
        raise _unknown(short, "their numbers would mean different things")
    return found.popitem()[1]


def _comparable(state: State) -> Any:
    """A state's attributes as bytes, each on its own, whatever their order."""
    return tuple(sorted((name, pickle.dumps(value)) for name, value in state.items()))


def _unknown(short: str, why: str) -> RestoreError:
    return RestoreError(
        f"no release of scikit-learn is recorded in it, and states of a {short} differ by release ({why}).",
        remedy='Register a migration that sets state["_sklearn_version"] to the release that wrote it.',
    )
