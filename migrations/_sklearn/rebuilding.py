"""Records of scikit-learn's classes as objects of the installed release."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Iterable
from typing import Any

from persist.migrations._sklearn import (
    ensembles,
    linear,
    losses,
    neighbors,
    oldest,
    others,
    preprocessing,
    trees,
)
from persist.migrations._sklearn.checking import check
from persist.migrations._sklearn.classes import ESTIMATORS, FUNCTIONS, PLAIN, names
from persist.migrations._sklearn.completing import complete
from persist.migrations._sklearn.former import FORMER, Former
from persist.migrations._sklearn.inheriting import without_release
from persist.migrations._sklearn.steps import CHANGES, INSTEAD

from persist.errors import RestoreError
from persist.packs import Record
from persist.registry import Registry
from persist.tree import ABSENT
from persist.typing import State

__all__ = ["NEWEST", "OLDEST", "declare"]

STAMP = "_sklearn_version"
OLDEST, NEWEST = "1.8", "1.9"
"""The releases of scikit-learn for which objects are made: a later one may change any state."""


_FAMILIES = (
    ensembles,
    linear,
    neighbors,
    oldest,
    others,
    preprocessing,
)  # each registers its steps


def declare(pack: Registry, gone: Iterable[str] = ()) -> None:
    """Declare in a pack how objects are made, and which functions may be imported.

    Args:
        pack: the registry.
        gone: dotted names of classes that scikit-learn no longer has.
    """

    def declared(*qualnames: str) -> Any:
        return pack.rebuild(*qualnames, library="sklearn", requires=_check_installed)

    resolve = pack.resolve
    by_name = functools.partial(
        pack.rebuild, library="sklearn", takes_names=True, requires=_check_installed
    )
    by_name(*map(resolve, gone))(_gone)  # what follows has the last word
    pack.rebuild(
        *names(ESTIMATORS),
        library="sklearn",
        requires=_check_installed,
        whole=_check_subclass,
        inherited=functools.partial(inherited, resolve),
        stamp=STAMP,
    )(functools.partial(_estimator, resolve))
    declared(*names(PLAIN))(functools.partial(_plain, resolve))
    declared(*FORMER)(functools.partial(_former, resolve))
    declared("sklearn.mixture._gmm.GMM", "sklearn.mixture.gmm.GMM", "sklearn.mixture.gmm.GMM")(
        lambda record: neighbors.gaussian_mixture(_state(record))
    )
    declared("sklearn.preprocessing.imputation.Imputer")(
        lambda record: preprocessing.simple_imputer(_state(record))
    )
    declared("sklearn.tree._tree.Tree")(trees.tree)
    by_name(*trees.SPACE_TREES)(trees.space_tree)
    by_name("sklearn.metrics._dist_metrics.newObj", *trees.METRICS)(trees.metric)
    by_name(*losses.COMPILED)(functools.partial(losses.compiled, resolve))
    declared(*losses.LOSSES)(functools.partial(losses.loss, resolve))
    declared("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor")(trees.predictor)
    by_name("sklearn.utils.deprecation.DeprecationDict", "sklearn.grid_search._CVScoreTuple")(
        functools.partial(_former, resolve)
    )
    declared("sklearn.decomposition._pca.RandomizedPCA", "sklearn.decomposition.pca.RandomizedPCA")(
        lambda record: others.pca(_state(record))
    )
    declared("joblib.memory.Memory")(_memory)
    declared("sklearn.utils._bunch.Bunch")(_bunch)
    pack.importable(*names(FUNCTIONS), library="sklearn")
    pack.importable(
        "sklearn.metrics._scorer._passthrough_scorer",
        library="sklearn",
        substitute=Former("_passthrough_scorer", (), {}),
    )


@functools.cache
def _check_installed() -> str:
    """Return the release that is installed.

    Raises:
        RestoreError: it is not one of those whose states are known.
    """
    from packaging.version import Version

    release = str(importlib.import_module("sklearn").__version__)
    if not Version(OLDEST) <= Version(release) < Version(f"{NEWEST}.9999"):
        raise RestoreError(
            f"scikit-learn {release} is installed, and objects are made for {OLDEST} to {NEWEST}"
        )
    return release


def _class(qualname: str) -> Any:
    _check_installed()
    module, _, name = qualname.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RestoreError(
            f"scikit-learn {_check_installed()}, which is installed, has no {qualname}"
        ) from error


def _state(record: Record) -> State:
    if record.state is ABSENT:
        return {}
    if not isinstance(record.state, dict) or not all(isinstance(k, str) for k in record.state):
        raise RestoreError(
            f"its state is a {type(record.state).__name__} and no dict of attributes"
        )
    return {**record.state}


def _estimator(resolve: Any, record: Record) -> object:
    """An estimator; its state is brought to the installed release's layout first."""
    name = resolve(record.qualname)
    installed = _check_installed()
    state = _state(record)
    release = state.pop(STAMP, None)
    _check_release(release, installed)
    state = CHANGES.upgraded(name, state, release)
    whole = state.pop(INSTEAD, None)
    if whole is not None:
        return whole
    cls = _class(name)
    complete(cls, state, name)
    check(name.rpartition(".")[2], state)
    made = cls.__new__(cls)
    made.__dict__.update(state)
    if name == "sklearn.isotonic.IsotonicRegression" and "X_thresholds_" in state:
        made._build_f(made.X_thresholds_, made.y_thresholds_)  # as its __setstate__ does
    return made


def inherited(
    resolve: Any, state: dict[Any, Any], cls: type, base: type, releases: frozenset[str]
) -> dict[Any, Any]:
    """The state of a user's subclass, with what is scikit-learn's brought up to date.

    BaseEstimator.__getstate__ records no release for classes of others, so that it is the one that
    the file's other estimators record, or one that a step of the user's has put under `STAMP`.
    """
    try:
        installed = _check_installed()
    except RestoreError:  # as it is, and `_check_subclass` has the last word
        return state
    name = resolve(f"{base.__module__}.{base.__qualname__}")
    own = _own_parameters(cls, base)
    kept = {key: value for key, value in state.items() if key in own}
    state = {key: value for key, value in state.items() if key not in own}
    release = state.pop(STAMP, next(iter(releases)) if len(releases) == 1 else None)
    _check_release(release, installed)
    if release is None:
        state = without_release(name, base.__name__, state)
    else:
        state = CHANGES.upgraded(name, state, release)
    if INSTEAD in state:
        raise RestoreError(
            f"a {base.__name__} of its state would be a {type(state[INSTEAD]).__name__} today, which "
            f"no {cls.__name__} is."
        )
    complete(base, state, name)
    check(base.__name__, state)
    return {**state, **kept}


def _own_parameters(cls: type, base: type) -> set[str]:
    """Parameters that only the user's constructor has: theirs are the meanings and the values."""
    return {*inspect.signature(cls).parameters} - {*inspect.signature(base).parameters}


def _check_subclass(made: object, base: type) -> None:
    """Refuse an instance of a user's subclass that lacks what today's constructor sets.

    With a scikit-learn for which no objects are made, nothing has brought it up to date.
    """
    try:
        needed = set(vars(base()))
    except TypeError:  # it is made of another estimator
        needed = set(inspect.signature(base).parameters)
    lacking = sorted(needed - vars(made).keys())
    if lacking:
        raise RestoreError(
            f"it is of an older scikit-learn: it lacks {', '.join(lacking)}, which a {base.__name__} has today.",
            remedy="Register a migration that adds what it lacks; the estimators inside are of today.",
        )


def _check_release(release: Any, installed: str) -> None:
    from packaging.version import InvalidVersion, Version

    if release is None:
        return
    try:
        newer = Version(release).release[:2] > Version(NEWEST).release[:2]
    except (InvalidVersion, TypeError) as error:
        raise RestoreError(f"its _sklearn_version is {release!r}, which is no release") from error
    if newer:
        raise RestoreError(
            f"scikit-learn {release} wrote it; states up to {NEWEST} are known, and {installed} is "
            "installed"
        )


def _plain(resolve: Any, record: Record) -> Any:
    """An object whose state is its attributes; its constructor is not called with any of them."""
    name = resolve(record.qualname)
    state = CHANGES.upgraded(name, _state(record), None)
    cls = _class(name)
    made = cls.__new__(cls)
    made.__dict__.update(state)
    return made


def _former(resolve: Any, record: Record) -> object:
    """What a class that is gone held, for the step of the estimator that holds it."""
    name = resolve(record.qualname)
    state = record.state if isinstance(record.state, dict) else {}
    return Former(name.rpartition(".")[2], record.args, {**state, **dict(record.dictitems)})


def _gone(record: Record) -> object:
    """A class that is gone, and has no successor that would answer as it did."""
    raise RestoreError("scikit-learn no longer has this class")


def _memory(record: Record) -> Any:
    """The cache of ``memory=``: none, which was an object before 0.19."""
    if any(argument is not None for argument in record.args[:1]) or record.state is not ABSENT:
        raise RestoreError("it is a cache in a folder of another machine")
    return None


def _bunch(record: Record) -> object:
    bunch = _class("sklearn.utils._bunch.Bunch")
    return bunch(**dict(record.dictitems), **record.kwargs)
