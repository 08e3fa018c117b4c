"""Where each file of a run is written to."""

from __future__ import annotations

import os
import string
from collections.abc import Callable
from pathlib import PurePath

from persist._wire.base.urls import is_url
from persist.bulk._formats import ending
from persist.bulk._job import Job
from persist.bulk._sources import Item
from persist.errors import PersistError

__all__ = ["check_template", "targets"]

_FIELDS = ("folder", "name", "stem", "suffix", "ending")


def targets(job: Job) -> Callable[[Item], str | None]:
    """Return what gives the target of a file; None for a job that writes nothing next to it."""
    if not job.writes:
        return lambda item: None
    said = job.options
    form = said.get("format") or "persist"
    suffix = f".{form}" if said.get("exporter") else ending(form)
    out, template = said.get("to"), said.get("names") or ""
    if template:
        check_template(template)
        return lambda item: _by_template(item, out, template, suffix)
    if job.name == "convert":
        return lambda item: _converted(item, out, suffix)
    return lambda item: _upgraded(item, out, suffix)


def check_template(template: str) -> None:
    """Refuse a template with fields that there are not.

    Raises:
        PersistError: with the fields that there are.
    """
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise PersistError(f"{template!r} is no template: {error}.") from error
    wrong = [name for name in fields if name not in _FIELDS]
    if wrong or not fields:
        raise PersistError(
            f"{template!r} has {'the field ' + repr(wrong[0]) if wrong else 'no field'}.",
            remedy=f"The fields of a template are {', '.join(f'{{{name}}}' for name in _FIELDS)}, "
            "as in '{stem}-v2{ending}'.",
        )


def _by_template(item: Item, out: str | None, template: str, suffix: str) -> str:
    inside = PurePath(item.inside)
    made = template.format(
        folder=os.fspath(inside.parent) if inside.parent != PurePath() else "",
        name=inside.name, stem=inside.stem, suffix=inside.suffix, ending=suffix,
    )  # fmt: skip
    made = os.path.normpath(made.lstrip("/\\"))
    if made.split(os.sep, 1)[0] == "..":
        raise PersistError(f"the template gives {made!r}, which leaves the folder.", file=item.name)
    if out is None:
        folder = _folder_of(item)
        top = (
            folder[: len(folder) - len(os.fspath(inside.parent))]
            if "{folder}" in template
            else folder
        )
        return os.path.join(top, made)
    folder = "" if "{folder}" in template else os.fspath(inside.parent)
    return _below(out, os.path.normpath(os.path.join(folder, made)))


def _folder_of(item: Item) -> str:
    if is_url(item.name):
        raise PersistError(
            f"{item.name} is a URL, and new files are written next to their sources.",
            remedy="Name a folder to write to: --to.",
        )
    return os.path.dirname(item.name)


def _upgraded(item: Item, out: str | None, suffix: str) -> str:
    """The name of the source and the suffix; under a folder a file that has the suffix keeps its name."""
    if out is None:
        _folder_of(item)
        return f"{item.name.rstrip('/')}{suffix}"
    target = _below(out, item.inside)
    return target if _keeps_its_name(item, suffix) else f"{target}{suffix}"


def _keeps_its_name(item: Item, suffix: str) -> bool:
    """Whether a file keeps its name: it has the suffix, and no other source maps to the name."""
    if not item.name.endswith(suffix):
        return False
    return is_url(item.name) or not os.path.exists(item.name[: -len(suffix)])


def _converted(item: Item, out: str | None, suffix: str) -> str:
    if out is None:
        if is_url(item.name):
            return f"{item.name.rpartition('/')[2]}{suffix}"
        return f"{item.name.rstrip('/')}{suffix}"
    if item.is_named:
        return out
    return _below(out, f"{item.inside}{suffix}")


def _below(out: str, inside: str) -> str:
    """A path below a folder, or a URL below a URL."""
    if is_url(out):
        return f"{out.rstrip('/')}/{inside.replace(os.sep, '/')}"
    return out + inside if out.endswith(os.sep) else f"{out}{os.sep}{inside}"
