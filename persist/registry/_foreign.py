"""What a registry knows of foreign classes: how their records look, and how their objects are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

import attrs

from persist.errors import SchemaError
from persist.registry._aliases import Aliases
from persist.registry._rebuilds import Importable, Inherited, Rebuild, is_installed
from persist.tree import ABSENT

__all__ = ["Foreign", "Plain"]

Plain = Callable[[Any, Any], Any]
_F = TypeVar("_F", bound=Callable[..., Any])
_PlainFunction = TypeVar("_PlainFunction", bound=Plain)


class Foreign(Aliases):
    """The part of `persist.Registry` for classes that are not the user's own."""

    def __init__(self, name: str, parents: tuple[Self, ...] = ()) -> None:
        super().__init__(name, parents)
        self._plain: dict[str, Plain] = {}
        self._plain_like: list[Plain] = []
        self._rebuilds: dict[str, Rebuild] = {}
        self._importable: dict[str, Importable] = {}

    # How foreign classes look.

    def plain(self, *qualnames: str) -> Callable[[_PlainFunction], _PlainFunction]:
        """Declare how records of these classes look: ``f(record, looker)``.

        A name that ends in ``.*`` matches all names with that prefix that have no exact entry.
        """

        def register(function: _PlainFunction) -> _PlainFunction:
            with self._changing():
                for qualname in qualnames:
                    self._plain[qualname] = function
            return function

        return register

    def plain_like(self, function: _PlainFunction) -> _PlainFunction:
        """Register a function that recognises records of unknown classes; it returns None for others."""
        with self._changing():
            self._plain_like = [*self._plain_like, function]
        return function

    def plain_for(self, qualname: str) -> Plain | None:
        """Return how records of that class look, own knowledge first."""
        found = self._plain.get(qualname)
        if found is not None:
            return found
        for parent in self.parents:
            found = parent.plain_for(qualname)
            if found is not None:
                return found
        name = qualname
        while "." in name:
            name = name.rpartition(".")[0]
            if f"{name}.*" in self._plain:
                return self._plain[f"{name}.*"]
        return None

    def plains_like(self) -> list[Plain]:
        """Return the functions that are asked about records of unknown names."""
        return [*self._plain_like, *(f for parent in self.parents for f in parent.plains_like())]

    # How objects of foreign classes are made.

    def rebuild(
        self,
        *qualnames: str,
        library: str,
        takes_names: bool = False,
        knows: Callable[[str], bool] | None = None,
        requires: Callable[[], object] | None = None,
        always: bool = False,
        taken: Callable[[Any], Any] | None = None,
        caches: Callable[[dict[str, Any]], Iterable[str]] | None = None,
        whole: Callable[[Any, type], None] | None = None,
        inherited: Inherited | None = None,
        stamp: str | None = None,
    ) -> Callable[[_F], _F]:
        """Declare how an object of a library's class is made of its record: ``f(record)``.

        The function gets a copy of the `Record` whose parts are objects already, and returns the
        object. It raises `persist.errors.RestoreError` with the reason where the state cannot be
        brought to the layout of the installed release; then the record stays, and the reason is
        part of the warning. `persist.load` calls it without ``trust=``, so it must not call what
        the file names.

        Args:
            qualnames: current dotted names of classes, or of functions that pickles call; ``lab.*`` for
                all with that prefix that have no entry of their own.
            library: the import name of the package that must be installed.
            takes_names: names of classes inside may stay names; the function knows what they mean.
            knows: whether objects of a dotted name are made, of those that a prefix covers; of all,
                by default. `persist.save` takes objects of the same classes.
            requires: raises `persist.errors.RestoreError` if objects are not made for the installed
                release; asked before one is saved.
            always: make them whatever ``live=`` says: the library is never missing.
            taken: takes an object apart when it is saved, and returns what ``__reduce_ex__(2)``
                would; None calls that.
            caches: given the attributes of a record, returns the names of those that are not made,
                since the library computes them again: views that lead back to the object.
            whole: given an instance of a declared subclass and the library's class, raises
                `persist.errors.RestoreError` if it lacks what that class has today.
            inherited: given the state of an instance of a declared subclass (a dict, with objects as
                values), the subclass, the library's class, and the releases that other states of
                the file record, returns the state in the layout of the installed release; what is
                the subclass's own is kept.
            stamp: the key under which states record the release of the library that wrote them.
        """

        def decorate(function: _F) -> _F:
            with self._changing():
                made = Rebuild(
                    function,
                    library,
                    takes_names,
                    always=always,
                    taken=taken,
                    whole=whole,
                    inherited=inherited,
                    stamp=stamp,
                )
                if knows is not None:
                    made = attrs.evolve(made, knows=knows)
                if caches is not None:
                    made = attrs.evolve(made, caches=caches)
                if requires is not None:
                    made = attrs.evolve(made, requires=requires)
                self._rebuilds = {**self._rebuilds, **dict.fromkeys(qualnames, made)}
            return function

        return decorate

    def importable(
        self,
        *qualnames: str,
        library: str,
        substitute: object = ABSENT,
        always: bool = False,
        instances: bool = False,
    ) -> None:
        """Declare functions and classes of a library to which its states refer by name.

        `persist.load` imports them where such a name is met and the library is installed; they are
        not called. A ``substitute`` takes the place of what is gone from the library.

        Args:
            qualnames: current dotted names.
            library: the import name of the package that must be installed.
            substitute: the value in the place of what is gone.
            always: find them whatever ``live=`` says: the library is never missing.
            instances: they are classes, whose instances are made as their pickles say, without
                ``trust=`` and always: making one must run nothing that a file could misuse.
        """
        with self._changing():
            made = Importable(library, substitute, always or instances, instances)
            self._importable = {**self._importable, **dict.fromkeys(qualnames, made)}

    @property
    def _upgrades_subclasses(self) -> bool:
        """Whether states of users' subclasses of its classes are brought up to date."""
        return any(one.inherited is not None for one in self._rebuilds.values())

    def rebuild_for(self, qualname: str) -> Rebuild | None:
        """Return how objects of a class are made, if its library is installed; else None."""
        found = self._rebuild_listed(qualname)
        return found if found is not None and is_installed(found.library) else None

    def _rebuild_listed(self, qualname: str) -> Rebuild | None:
        """Return how objects of a class are made, whether its library is installed or not."""
        names = [qualname]
        while "." in names[-1].removesuffix(".*"):
            names.append(f"{names[-1].removesuffix('.*').rpartition('.')[0]}.*")
        for registry in self._lineage:
            for name in names:
                found = registry._rebuilds.get(name)
                if found is not None and found.knows(qualname):
                    return found
        return None

    def importable_for(self, qualname: str) -> Importable | None:
        """Return that a name may be imported, if its library is installed; else None."""
        found = self._importable_listed(qualname)
        return found if found is not None and is_installed(found.library) else None

    def _importable_listed(self, qualname: str) -> Importable | None:
        """Return that a name may be imported, whether its library is installed or not."""
        for registry in self._lineage:
            found = registry._importable.get(qualname)
            if found is not None:
                return found
        return None

    def has_instances(self, qualname: str) -> bool:
        """Whether instances of a class are made as their pickles say, without ``trust=``."""
        try:
            listed = self._importable_listed(self.resolve(qualname))
        except SchemaError:  # circular aliases: raised where the name is met
            return False
        # Opening a file asks this: no library that it names is looked for without need.
        return listed is not None and listed.instances and is_installed(listed.library)
