"""What is not saved with an instance but opened again when it is loaded."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from persist.errors import PersistError, SchemaError
from persist.schema import dotted
from persist.tree import ABSENT

if TYPE_CHECKING:
    from persist.typing import MissingResource, Resources

__all__ = ["Resource", "loading_from", "resource", "stored"]


_T = TypeVar("_T")


class Resource(Generic[_T]):
    """What is not saved with an instance but opened again: see `resource`."""

    _persist_resource = True

    def __init__(
        self,
        field: str,
        open: Callable[[Any], _T],
        missing: MissingResource | None,
        close: Callable[[_T], object] | None = None,
    ) -> None:
        self.field = field
        self.open = open
        self.missing = missing
        self.close = _close if close is None else close
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, obj: None, owner: type | None = None) -> Resource[_T]: ...

    @overload
    def __get__(self, obj: object, owner: type | None = None) -> _T: ...

    def __get__(self, obj: object, owner: type | None = None) -> object:
        if obj is None:
            return self
        value = stored(obj, self.name)
        if value is ABSENT or type(value) is _Later:
            with contextlib.nullcontext() if value is ABSENT else _looking_in(value.place):
                value = self.opened(obj)
            self.__set__(obj, value)
        return value

    def __set__(self, obj: object, value: object) -> None:
        if hasattr(obj, "__dict__"):
            obj.__dict__[self.name] = value
        else:
            try:
                reference = weakref.ref(obj, functools.partial(_forget, id(obj)))
            except TypeError:
                raise SchemaError(
                    f"the resource {self.name!r} has no place on an instance.",
                    where=f"class {dotted(type(obj))}",
                    remedy="Add '__weakref__' or '__dict__' to its __slots__.",
                ) from None
            _aside.setdefault(id(obj), (reference, {}))[1][self.name] = value

    def __delete__(self, obj: object) -> None:
        """Close it; it is opened again when it is next used."""
        value = stored(obj, self.name)
        if value is not ABSENT and value is not None and type(value) is not _Later:
            self.close(value)
        if hasattr(obj, "__dict__"):
            obj.__dict__.pop(self.name, None)
        elif id(obj) in _aside:
            _aside[id(obj)][1].pop(self.name, None)

    def opened(self, obj: Any) -> Any:
        """Open it; a relative path is looked for next to the file that is being loaded.

        Raises:
            SchemaError: it does not exist, and the policy is "error" or "lazy".
        """
        place = _place.get()
        path = getattr(obj, self.field)
        given, value = (False, None) if place is None else place.override(self, obj, path)
        if given and not isinstance(value, str | os.PathLike):
            return value
        path = value if given else path
        if path is None:
            return None
        try:
            return self.open(_in_folder(path))
        except OSError as error:
            if self.missing is None:
                return None
            raise SchemaError(
                f"the resource {self.name!r} of {dotted(type(obj))} cannot be opened from "
                f"{path!r}: {type(error).__name__}: {error}.",
                remedy="Put the file there, say where it is when you load "
                f"(resources={{{self.name!r}: PATH}}), or declare it with "
                'missing=None or missing="lazy".',
                resource=self.name,
                path=path,
            ) from error

    def reopen(self, obj: Any) -> None:
        """Open it after a load, as its policy says."""
        place = _place.get()
        if self.missing == "lazy":
            self.__delete__(obj)
            if place is not None:
                place.note(self, obj)
                self.__set__(obj, _Later(place))
        else:
            self.__set__(obj, self.opened(obj))
            if place is not None:
                place.opened.append((self, obj))


class _Later:
    """Takes the place of a resource that is opened at first use, as the load of its file would have done."""

    def __init__(self, place: _Place) -> None:
        self.place = place


_aside: dict[int, tuple[object, dict[str, object]]] = {}


def _forget(key: int, reference: object) -> None:
    _aside.pop(key, None)


def stored(obj: Any, name: str) -> Any:
    """Return what is kept of a resource for an instance, or ABSENT where it is not open."""
    if hasattr(obj, "__dict__"):
        return obj.__dict__.get(name, ABSENT)
    return _aside.get(id(obj), (None, {}))[1].get(name, ABSENT)


@overload
def resource(
    field: str,
    *,
    open: Callable[[Any], _T],
    missing: MissingResource = "error",
    close: Callable[[_T], object] | None = None,
) -> Resource[_T]: ...


@overload
def resource(
    field: str,
    *,
    open: Callable[[Any], _T],
    missing: None,
    close: Callable[[_T], object] | None = None,
) -> Resource[_T | None]: ...


def resource(
    field: str,
    *,
    open: Callable[[Any], object],
    missing: MissingResource | None = "error",
    close: Callable[[Any], object] | None = None,
) -> Resource[Any]:
    """Declare an attribute that is not saved with an instance, but opened again when it is loaded.

        class Trainer(persist.Versioned):
            persistent = ("epoch", "training_set_file")
            training_set = persist.resource("training_set_file", open=load_data)

    A relative path is looked for next to the file that is loaded, then as given. For a file that was
    loaded from a URL, ``open`` gets the URL of the neighbouring file (for ``file://``, its path).
    ``persist.load(..., resources=)`` states other paths, or the resources themselves.

    ``del trainer.training_set`` closes it; the next use opens it again. If a load fails, what it has
    opened is closed.

    Args:
        field: the attribute that holds the path; if it is None, so is the resource.
        open: path -> the resource.
        missing: what to do if ``open`` raises an ``OSError``: "error", None
            (the resource is None), or "lazy" (it is opened at first use only).
        close: closes what ``open`` returned; by default its own ``close``, if it has one.
    """
    if missing not in ("error", "lazy", None):
        raise ValueError(f"missing={missing!r}: use 'error', 'lazy' or None.")
    return Resource(field, open, missing, close)


def _close(value: object) -> None:
    """Close a resource that has a method for it."""
    close = getattr(value, "close", None)
    if callable(close):
        close()


class _Place:
    """Where a load looks for resources.

    Attributes:
        folder: of the file, a path or a URL; None for none.
        said: what takes the place of resources, as `persist.load` has it.
        used: the names of ``said`` that were found.
        opened: what was opened in this load, with its instance.
    """

    def __init__(self, folder: str | None, said: Resources | None) -> None:
        self.folder = folder
        self.said = said
        self.used: set[str] = set()
        self.opened: list[tuple[Resource[Any], Any]] = []

    def note(self, resource: Resource[Any], obj: object) -> str | None:
        """Return the name by which a resource is overridden, or None."""
        if self.said is None or callable(self.said):
            return None
        for name in (f"{_schema_name(obj)}.{resource.name}", resource.name):
            if name in self.said:
                self.used.add(name)
                return name
        return None

    def override(self, resource: Resource[Any], obj: object, path: object) -> tuple[bool, Any]:
        """Return whether something takes the place of a resource, and the path or the resource itself."""
        if self.said is None:
            return False, None
        if callable(self.said):
            return (False, None) if path is None else (True, self.said(path))
        name = self.note(resource, obj)
        if name is not None:
            return True, self.said[name]
        if not isinstance(path, str | os.PathLike):
            return False, None
        text = os.fsdecode(os.fspath(path))
        begun = [key for key in self.said if _is_prefix(key) and text.startswith(key)]
        if not begun:
            return False, None
        longest = max(begun, key=len)
        return True, f"{os.fspath(self.said[longest])}{text[len(longest) :]}"

    def unused(self) -> list[str]:
        """Return the names that no resource has."""
        if self.said is None or callable(self.said):
            return []
        return [key for key in self.said if not _is_prefix(key) and key not in self.used]


def _is_prefix(key: str) -> bool:
    """Whether a key of ``resources`` is the beginning of paths, and not the name of a resource."""
    return not all(part.isidentifier() for part in key.split("."))


def _schema_name(obj: object) -> str:
    from persist._instances.adapter import adapter_of

    return adapter_of(type(obj)).schema.name


_place: contextvars.ContextVar[_Place | None] = contextvars.ContextVar(
    "persist_place", default=None
)


@contextlib.contextmanager
def loading_from(
    file: str | os.PathLike[str] | None, resources: Resources | None = None
) -> Iterator[None]:
    """Context manager: resources are looked for next to this file while it is loaded.

    Args:
        file: a path or a URL; None for none.
        resources: what takes the place of resources, as for `persist.load`.

    Raises:
        PersistError: ``resources`` names what no object has.
    """
    folder = None if file is None else _folder_of(os.fspath(file))
    place = None if folder is None and resources is None else _Place(folder, resources)
    with _looking_in(place):
        try:
            yield
            _refuse_unused(place)
        except BaseException:
            for found, obj in [] if place is None else place.opened:
                found.__delete__(obj)
            raise


def _refuse_unused(place: _Place | None) -> None:
    unused = [] if place is None else place.unused()
    if unused:
        raise PersistError(
            f"resources= names {', '.join(map(repr, unused))}, and nothing that was loaded has such a "
            "resource.",
            remedy="A key is the attribute that persist.resource declares, or NAME_OF_SCHEMA.ATTRIBUTE; "
            "or, with a slash in it, the beginning of paths.",
            names=unused,
        )


def _folder_of(file: str) -> str:
    """The folder of a file: a path, or the URL with its last slash."""
    from persist._wire.base.urls import is_url, plain_path

    file = plain_path(file)
    if is_url(file):
        return file[: file.rindex("/") + 1] if "/" in file else "memory://"
    return os.path.dirname(os.path.abspath(file))


@contextlib.contextmanager
def _looking_in(place: _Place | None) -> Iterator[None]:
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def _in_folder(path: object) -> object:
    place = _place.get()
    folder = None if place is None else place.folder
    if folder is None or not isinstance(path, str | os.PathLike):
        return path
    text = os.fspath(path)
    from persist._wire.base.urls import exists, is_url

    if isinstance(text, str) and not os.path.isabs(text) and is_url(folder):
        if not is_url(text) and exists(folder + text):
            return folder + text
    elif isinstance(text, str) and not os.path.isabs(text):
        there = os.path.join(folder, text)
        if os.path.exists(there):
            return type(path)(there) if isinstance(path, os.PathLike) else there  # type: ignore[call-arg]
    return path
