"""Keywords that several functions share: declared once as a `TypedDict`, seen by `help` as ordinary ones.

A function declares ``**options: Unpack[OpenOptions]`` (PEP 692), for type checkers and editors.
`shares` gives it the signature in which these keywords are listed with their defaults, for `help`,
`inspect.signature` and Jupyter; `complete` checks the names of a call and fills the defaults in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from persist.typing import OpenOptions

__all__ = ["OPEN_DEFAULTS", "complete", "shares"]

OPEN_DEFAULTS: OpenOptions = {
    "mmap": True,
    "verify": None,
    "py2_str": None,
    "salvage": False,
    "step": None,
    "storage_options": None,
    "limits": None,
    "registry": None,
    "arrays": "numpy",
    "progress": None,
}

_F = TypeVar("_F", bound=Callable[..., object])


def shares(function: _F) -> _F:
    """Decorate a function whose last parameter is ``**options: Unpack[OpenOptions]``."""
    written = inspect.signature(function)
    own = [each for each in written.parameters.values() if each.kind is not each.VAR_KEYWORD]
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=_text(OpenOptions.__annotations__[name]),
        )
        for name, default in OPEN_DEFAULTS.items()
    ]
    function.__signature__ = written.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    return function


def _text(annotation: object) -> Any:
    """An annotation as its module wrote it, which a `TypedDict` keeps as a forward reference."""
    return getattr(annotation, "__forward_arg__", annotation)


def complete(function: Callable[..., object], options: OpenOptions) -> OpenOptions:
    """Return the shared keywords of a call with the defaults filled in.

    Raises:
        TypeError: the function has no such keyword; the message names the most similar one.
    """
    if not options.keys() <= OPEN_DEFAULTS.keys():
        known = inspect.signature(function).parameters
        keywords = [each.name for each in known.values() if each.kind is not each.POSITIONAL_ONLY]
        unknown = next(name for name in options if name not in OPEN_DEFAULTS)
        raise TypeError(_refusal(function.__name__, unknown, keywords))
    return {**OPEN_DEFAULTS, **options}


def _refusal(function: str, unknown: str, keywords: Iterable[str]) -> str:
    """The message of an unknown keyword."""
    import difflib

    known = list(keywords)
    similar = difflib.get_close_matches(unknown, known, n=1, cutoff=0.6)
    hint = f"Did you mean {similar[0]!r}?" if similar else f"It takes {', '.join(known)}."
    return f"{function}() got an unexpected keyword argument {unknown!r}. {hint}"
