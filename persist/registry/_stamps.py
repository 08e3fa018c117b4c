"""The part of a registry that finds the version of a state which states none.

By a stamp, which the user writes; else by its layout, where those of older versions are declared;
else by the release that the file records; else it is version 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeVar, overload

from persist._envelope import LARGEST
from persist.errors import SchemaError
from persist.registry._declarations import Origin, Stamp, call_site, origin_of
from persist.registry._migrations import Migrations
from persist.registry._names import keyed
from persist.registry._releases import listed, parsed, version_of_release
from persist.registry._shapes import (
    Shape,
    chosen,
    item_names,
    parts_of_tuple,
    shapes_of,
    without_shape,
)
from persist.schema import Schema

__all__ = ["Stamps"]

_StampFunction = TypeVar("_StampFunction", bound=Callable[[Any], int | str | bytes | None])


class Stamps(Migrations):
    """Stamps and layouts of older versions, by schema."""

    def __init__(self, name: str, parents: tuple[Self, ...] = ()) -> None:
        super().__init__(name, parents)
        self._stamps: dict[str, tuple[Stamp, ...]] = {}
        self._shapes: dict[str, tuple[tuple[Shape, ...], Origin]] = {}  # layouts of older versions

    def _implied_schema(self, name: str) -> Schema | None:
        steps = self.migrations(name)
        if steps or self.stamps(name):
            return Schema(name, max((to for _, to in steps), default=1), name)
        return None

    def _implied_names(self) -> Iterable[str]:
        return (*self._migrations, *self._stamps)

    @overload
    def stamp(
        self, schema: type | str, key: None = None
    ) -> Callable[[_StampFunction], _StampFunction]: ...

    @overload
    def stamp(self, schema: type | str, key: str) -> None: ...

    @overload
    def stamp(self, schema: type | str, *, version: int, release: str) -> None: ...

    def stamp(
        self,
        schema: type | str,
        key: str | None = None,
        *,
        version: int | None = None,
        release: str = "",
    ) -> Callable[[_StampFunction], _StampFunction] | None:
        """Register how the version of a state that bears none is known.

        The function takes the state and returns a version, or None: "not mine". Where the releases of
        the versions are declared, a release (``"1.4"``) is an answer, too, from the function or under
        the key.

        Args:
            schema: the class, or the name of its schema.
            key: the entry of the state that holds its version; then nothing is
                to be decorated.
            version: a version that is known by the release that wrote it.
            release: the releases of the package that wrote this version, such as ``>=1.2,<2``: a file
                that records its release, and whose states state no version, has this one.

        Returns:
            A decorator; with ``key`` or ``release`` None.
        """
        name = self._name_of(schema)
        if release or version is not None:
            if not release or version is None or key is not None:
                raise TypeError("a stamp by release has both version= and release=, and no key.")
            self._add_released(name, version, release, call_site("<releases>"))
            return None
        if key is not None:
            origin = call_site(f"<key {key!r}>")
            self._add_stamp(Stamp(name, lambda state: keyed(state, key), origin, key))
            return None

        def decorate(function: _StampFunction) -> _StampFunction:
            self._add_stamp(Stamp(name, function, origin_of(function)))
            return function

        return decorate

    def _add_stamp(self, stamp: Stamp) -> None:
        with self._changing():
            others = [
                other
                for other in self._stamps.get(stamp.schema, ())
                if not (stamp.repeats(other) or stamp.origin.replaces(other.origin))
            ]
            self._stamps = {**self._stamps, stamp.schema: (*others, stamp)}

    def stamps(self, schema: str) -> list[Stamp]:
        """Return the stamps of a schema, its own before its parents'."""
        found = list(self._stamps.get(schema, ()))
        for parent in self.parents:
            found += parent.stamps(schema)
        return found

    def stamp_of(self, schema: type | str, state: object) -> tuple[int, str]:
        """Return the version of a state that bears none, and how that is known.

        Raises:
            SchemaError: several stamps answer differently, with what each says;
                or one answers with something that is no version.
        """
        name = schema if isinstance(schema, str) else self._name_of(schema)
        stamps = self.stamps(name)
        if not stamps:
            return self._stamp_by_layout(name, state) or self._stamp_by_release(name)
        answers: dict[int, list[Stamp]] = {}
        for stamp in stamps:
            try:
                version = stamp.function(state)
            except Exception as error:  # whatever a stranger's function raises
                raise SchemaError(
                    f"the stamp {stamp} fails: {type(error).__name__}: {error}.",
                    remedy="It gets states of every age: let it return None for those that are not its own.",
                    schema=name,
                ) from error
            if version is None:
                continue
            if isinstance(version, str | bytes):
                version = self._version_of_answer(name, stamp, version)
            if type(version) is not int or not 1 <= version <= LARGEST:
                is_huge = type(version) is int and abs(version) > LARGEST
                shown = "a number beyond every version" if is_huge else repr(version)
                raise SchemaError(
                    f"the stamp {stamp} answers {shown}.",
                    remedy="A stamp answers with a version, a positive integer, or None.",
                    schema=name,
                )
            answers.setdefault(version, []).append(stamp)
        if len(answers) > 1:
            said = "; ".join(
                f"version {version} by {', '.join(map(str, sayers))}"
                for version, sayers in sorted(answers.items())
            )
            raise SchemaError(
                f"its stamps disagree: {said}.",
                remedy="Make all but one of them return None for this state.",
                schema=name,
                answers=sorted(answers),
            )
        if not answers:
            return self._stamp_by_layout(name, state) or self._stamp_by_release(name)
        ((version, agreed),) = answers.items()
        return version, f"stamp by {', '.join(map(str, agreed))}"

    def older_layouts(self, schema: type | str, layouts: Mapping[int, object]) -> None:
        """Declare the layouts of older versions, so that a state without a version is found by its layout.

        Stamps are asked first. The current layout is known from the class. Where a state is a tuple
        and its layout gives names, steps find its parts by name as well.

        Args:
            schema: the class, or the name of its schema.
            layouts: version -> its layout, or a list of several: a tuple of names, ``("W", "b")``, of a
                state that is a tuple; a number, of one without names; a set of names of fields; a dict of
                such names to classes or dtypes; a fingerprint, as the lock file has it.

        Raises:
            SchemaError: one is none of these, or another place declares layouts.
        """
        self._add_shapes(self._name_of(schema), layouts, call_site("<layouts>"))

    def _add_shapes(self, name: str, layouts: Mapping[int, object], place: Origin) -> None:
        made = shapes_of(layouts, name, place)
        with self._changing():
            other = self._shapes.get(name)
            if other is not None and other[0] != made and not place.replaces(other[1]):
                raise SchemaError(
                    f"the layouts of {name!r} are declared in {other[1].file}:{other[1].line} already.",
                    where=f"{place.file}:{place.line}",
                    remedy="Declare them in one place.",
                    schema=name,
                )
            self._shapes = {**self._shapes, name: (made, place)}

    def _older_shapes(self, name: str) -> tuple[Shape, ...]:
        for registry in self._lineage:
            if name in registry._shapes:
                return registry._shapes[name][0]
        return ()

    def item_names(self, schema: str, version: int, count: int) -> tuple[str, ...]:
        """Return the names of the parts of a tuple that a version has as its state; () if unknown."""
        return item_names(self._older_shapes(schema), version, count)

    def _stamp_by_layout(self, name: str, state: object) -> tuple[int, str] | None:
        """The version of a state that states none, by its layout; None if no layouts are declared.

        Raises:
            SchemaError: two fit, or none.
        """
        shapes = self._older_shapes(name)
        if not shapes:
            return None
        schema = self.schema_for(name)
        today: list[Shape] = []
        if schema is not None and schema.fields is not None and isinstance(state, dict):
            there = [one for one in schema.fields if not one.has_default or one.name in state]
            if all(one.version != schema.version for one in shapes):
                today.append(Shape(schema.version, tuple(one.name for one in there)))
        items = () if schema is None else parts_of_tuple(schema.cls)
        if schema is not None and items and all(one.version != schema.version for one in shapes):
            today = [Shape(schema.version, items, "tuple", len(items))]
        found = chosen((*shapes, *today), state, name)
        if found is not None:
            return found[0], f"stamp by its layout: {found[1]}"
        current = 1 if schema is None else schema.version
        fields = None if schema is None else schema.fields
        is_known = fields is not None
        by_position = isinstance(state, tuple | list) and len(state) == len(fields or ())
        covered = {one.version for one in shapes} >= set(range(1, current))
        if covered and is_known and not by_position:
            raise without_shape(name, state, (*shapes, *today))
        return None

    def _stamp_by_release(self, name: str) -> tuple[int, str]:
        """The version of a state that states none, by the release that the file records."""
        declared = self._released(name)
        package, release = self._recorded_release(name) if declared else ("", "")
        if not release:
            return 1, "unstamped = 1"
        found = version_of_release(name, release, declared)
        if found is None:
            return 1, f"unstamped = 1; release {release} of {package} is of no declared version"
        return found[0], f"stamp by release {release} of {package} ({found[1]})"

    def _version_of_answer(self, name: str, stamp: Stamp, answer: str | bytes) -> Any:
        """The version of a release with which a stamp answers; the answer itself if none are declared.

        Raises:
            SchemaError: the release is of no declared version, or of several.
        """
        declared = self._released(name)
        if not declared:
            return answer
        text = answer.decode("ascii", "replace") if isinstance(answer, bytes) else answer
        found = version_of_release(name, text, declared)
        if found is None:
            raise SchemaError(
                f"the stamp {stamp} answers with release {text!r}, which is of no declared version of "
                f"{name!r}: {listed(declared)}.",
                remedy=f"Let the declared releases of its version contain {text}."
                if parsed(text) is not None
                else f"It is not written as PEP 440 has it: let a stamp, a function, return the version of {text!r}.",
                schema=name,
            )
        return found[0]
