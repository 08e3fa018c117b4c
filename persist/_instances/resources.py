"""What is not saved with an instance but opened again when it is loaded."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from persist.errors import SchemaError
from persist.schema import dotted
from persist.tree import ABSENT

if TYPE_CHECKING:
    from persist.typing import MissingResource

__all__ = ["Resource", "loading_from", "resource", "stored"]


_T = TypeVar("_T")


class Resource(Generic[_T]):
    """What is not saved with an instance but opened again: see `resource`."""

    _persist_resource = True

    def __init__(
        self, field: str, open: Callable[[Any], _T], missing: MissingResource | None
    ) -> None:
        self.field = field
        self.open = open
        self.missing = missing
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, obj: None, owner: type | None = None) -> Resource[_T]: ...

    @overload
    def __get__(self, obj: object, owner: type | None = None) -> _T: ...

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is None:
            return self
        value = stored(obj, self.name)
        if value is ABSENT or type(value) is _Later:
            with contextlib.nullcontext() if value is ABSENT else _looking_in(value.folder):
                value = self.opened(obj)
            self.__set__(obj, value)
        return value

    def __set__(self, obj: Any, value: Any) -> None:
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

    def __delete__(self, obj: Any) -> None:
        if hasattr(obj, "__dict__"):
            obj.__dict__.pop(self.name, None)
        elif id(obj) in _aside:
            _aside[id(obj)][1].pop(self.name, None)

    def opened(self, obj: Any) -> Any:
        """Open it; a relative path is looked for next to the file that is being loaded.

        Raises:
            SchemaError: it does not exist, and the policy is "error" or "lazy".
        """
        path = getattr(obj, self.field)
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
                remedy=f"Put the file there, set {self.field!r} to where it is, or declare it with "
                'missing=None or missing="lazy".',
                resource=self.name,
                path=path,
            ) from error

    def reopen(self, obj: Any) -> None:
        """Open it after a load, as its policy says."""
        if self.missing == "lazy":
            self.__delete__(obj)
            if _folder.get() is not None:
                self.__set__(obj, _Later(_folder.get()))
        else:
            self.__set__(obj, self.opened(obj))


class _Later:
    """Stands for a resource that is opened at first use, in the folder of the file it came with."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder


_aside: dict[int, tuple[Any, dict[str, Any]]] = {}


def _forget(key: int, reference: object) -> None:
    _aside.pop(key, None)


def stored(obj: Any, name: str) -> Any:
    """Return what is kept of a resource for an instance, or ABSENT where it is not open."""
    if hasattr(obj, "__dict__"):
        return obj.__dict__.get(name, ABSENT)
    return _aside.get(id(obj), (None, {}))[1].get(name, ABSENT)


@overload
def resource(
    field: str, *, open: Callable[[Any], _T], missing: MissingResource = "error"
) -> Resource[_T]: ...


@overload
def resource(field: str, *, open: Callable[[Any], _T], missing: None) -> Resource[_T | None]: ...


def resource(
    field: str, *, open: Callable[[Any], object], missing: MissingResource | None = "error"
) -> Resource[Any]:
    """Declare an attribute that is not saved with an instance, but opened again when it is loaded.

        class Trainer(persist.Versioned):
            persistent = ("epoch", "training_set_file")
            training_set = persist.resource("training_set_file", open=load_data)

    A relative path is looked for next to the file that is loaded, then as given. For a file that was
    loaded from a URL, ``open`` gets the URL of the neighbouring file (for ``file://``, its path).

    Args:
        field: the attribute that holds the path; if it is None, so is the resource.
        open: path -> the resource.
        missing: what to do if ``open`` raises an ``OSError``: "error", None
            (the resource is None), or "lazy" (it is opened at first use only).
    """
    if missing not in ("error", "lazy", None):
        raise ValueError(f"missing={missing!r}: use 'error', 'lazy' or None.")
    return Resource(field, open, missing)


_folder: contextvars.ContextVar[str | None] = contextvars.ContextVar("persist_folder", default=None)


@contextlib.contextmanager
def loading_from(file: str | os.PathLike[str] | None) -> Iterator[None]:
    """Context manager: resources are looked for next to this file while it is loaded."""
    with _looking_in(None if file is None else _folder_of(os.fspath(file))):
        yield


def _folder_of(file: str) -> str:
    """The folder of a file: a path, or the URL with its last slash."""
    from persist._wire.base.urls import is_url, plain_path

    file = plain_path(file)
    if is_url(file):
        return file[: file.rindex("/") + 1] if "/" in file else "memory://"
    return os.path.dirname(os.path.abspath(file))


@contextlib.contextmanager
def _looking_in(folder: str | None) -> Iterator[None]:
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def _in_folder(path: Any) -> Any:
    folder = _folder.get()
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
