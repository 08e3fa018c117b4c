"""How objects of foreign libraries are made of their records: what a pack declares about that.

A pack names the classes whose old states it knows how to bring to the layout of the installed
release, each with a function that makes the object of a record. Nothing of the library is imported
before such a record is met, and never on behalf of a name that no pack has listed.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from persist.tree import ABSENT

__all__ = ["Importable", "Inherited", "Rebuild", "is_installed"]

Inherited = Callable[[dict[Any, Any], type, type, frozenset[str]], dict[Any, Any]]
"""The state of an instance of a user's subclass, as it is today; see `Registry.rebuild`."""


def _any(qualname: str) -> bool:
    return True


def _nothing() -> None:
    return None


def _no_names(state: dict[str, object]) -> Iterable[str]:
    return ()


@attrs.frozen
class Rebuild:
    """The function that makes objects of records of some classes.

    Attributes:
        function: takes the record, whose parts are objects already, and returns the object; raises
            `persist.errors.RestoreError` with the reason where that is not possible.
        library: the import name of the package that must be installed.
        takes_names: whether names of classes and functions inside may be given to the function as
            the `Global` that the file has.
        knows: whether objects of a dotted name are made, of those that a prefix covers.
        requires: raises `persist.errors.RestoreError` if objects are not made for the installed
            release; asked before one is saved.
        always: objects are made whatever ``live=`` says, since the library is never missing.
        taken: what takes an object apart when it is saved, as ``__reduce_ex__(2)`` does; None is that.
        caches: of the attributes of a record, the names of those that are not made.
        whole: raises `persist.errors.RestoreError` if an instance of a user's subclass, which is
            declared, lacks what the library's class has today; takes the instance and that class.
        inherited: brings the state of such an instance to the layout of the installed release, as far
            as it is the library's; `Registry.rebuild` says what it takes.
        stamp: the key under which states record the release of the library that wrote them.
    """

    function: Callable[..., Any]
    library: str
    takes_names: bool = False
    knows: Callable[[str], bool] = _any
    requires: Callable[[], object] = _nothing
    always: bool = False
    taken: Callable[[Any], Any] | None = None
    caches: Callable[[dict[str, Any]], Iterable[str]] = _no_names
    whole: Callable[[Any, type], None] | None = None
    inherited: Inherited | None = None
    stamp: str | None = None

    def needed(self, state: object) -> Any:
        """The state of a record without what its library computes again."""
        if type(state) is not dict:
            return state
        left_out = frozenset(self.caches(state))
        return (
            {name: value for name, value in state.items() if name not in left_out}
            if left_out
            else state
        )

    @property
    def distribution(self) -> str:
        """The name under which the package index has the library."""
        return {"sklearn": "scikit-learn"}.get(self.library, self.library)


@attrs.frozen
class Importable:
    """A function or class of a library that states refer to by name.

    Attributes:
        library: the import name of the package that must be installed.
        substitute: given in the place of what the installed release may not have; or ABSENT.
        always: it is found whatever ``live=`` says, since the library is never missing.
        instances: of a class: its instances are made, too, as their pickles say.
    """

    library: str
    substitute: Any = ABSENT
    always: bool = False
    instances: bool = False


@functools.cache
def _is_findable(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def is_installed(library: str) -> bool:
    """Whether a package is imported, or could be."""
    return library in sys.modules or _is_findable(library)
