"""A folder of numbered checkpoints of one run, opened at its latest step or at any other.

Written by  every training loop: ``model-10.pth``, ``mlp-0010.params``,
            ``epoch_10.h5``, Keras' ``weights.{epoch:02d}-{val_loss:.2f}.hdf5``,
            Lightning's ``epoch=3-step=400.ckpt``, and the folders by version
            that TensorFlow Serving keeps (``00000123/saved_model.pb``).
Evidence    The savers named above; TensorFlow's own folders are read by
            `persist.readers.tensorflow.checkpoint`, with their state file.
Traps       ``model-00001-of-00002`` and ``model_rank0`` are parts, not steps; ``0.35`` in a
            name is a loss; ``resnet50`` has a number that is not a step, ``2016-exp07`` two.
            Several kinds of file may have the same steps (the model and its optimizer). Only names
            that pass strict rules (`persist._wire.base.series_names`) form a series.
Gives       The content of the file of the chosen step; for several kinds of file a dict by
            their names without the number. ``structure``: ``series`` with all steps, the chosen
            step and the files. ``notes`` state which step was chosen, and which files were left
            out, unless the step was requested and nothing was left out.
"""

from __future__ import annotations

from typing import Any

from persist._runtime.lazy_regex import regex
from persist._wire.base.numbered_steps import Step, chosen
from persist._wire.base.series_names import Folder, look
from persist._wire.base.source import Source
from persist._wire.tensorflow.checkpoint_files import STATE, is_state
from persist.errors import FormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["SeriesReader"]

_VERSION = regex(r"\d{1,18}\Z")
_MODELS = ("saved_model.pb", "saved_model.pbtxt")
_MOST = 100_000  # largest number of names in a folder that is examined


class SeriesReader(Reader):
    """Numbered checkpoints of one run in one folder."""

    name = "series"
    is_many = True

    def claims(self, source: Source) -> str | None:
        if source.kind != "folder":
            return None
        try:
            series = _folder(source).series
        except (FormatError, OSError):
            return None
        if not series:
            return None
        shown = ", ".join(sorted(series)[:3])
        count = len({step.number for steps in series.values() for step in steps})
        return f"a folder of {count} numbered checkpoints ({shown})"

    def read(self, source: Source, options: Options) -> Content:
        folder = _folder(source)
        series = folder.series
        every = sorted({step.number for steps in series.values() for step in steps})
        picked = chosen([Step(number, "") for number in every], options.step, source.name).number
        names = {
            pattern: step.name
            for pattern, steps in series.items()
            for step in steps
            if step.number == picked
        }
        contents = {pattern: _open(source, name, options) for pattern, name in names.items()}
        notes = _notes(folder, every, picked, names, options.step is not None)
        described = {
            "steps": every,
            "step": picked,
            "files": {
                str(number): [
                    step.name
                    for steps in series.values()
                    for step in steps
                    if step.number == number
                ]
                for number in every
            },
        }
        if len(series) == 1:
            (content,) = contents.values()
            inner = content.structure
            content.structure = lambda: {
                "series": described,
                **(inner() if callable(inner) else inner),
            }
            content.format = "series"
            content.notes[:0] = notes
            return content
        result = _together(contents, list(series), described)
        result.notes[:0] = notes
        return result


def _notes(
    folder: Folder, every: list[int], picked: int, names: dict[str, str], is_asked: bool
) -> list[str]:
    """Return messages for the user about the choice of the step."""
    notes = []
    if not is_asked and len(every) > 1:
        shown = " and ".join(names.values())
        notes.append(
            f"of {len(every):,} checkpoints the latest is opened, {shown}; step= chooses another"
        )
    lacking = [pattern for pattern in folder.series if pattern not in names]
    if lacking:
        notes.append(f"there is no step {picked} of {' and '.join(lacking)}")
    if folder.left:
        more = f" and {len(folder.left) - 4:,} more" if len(folder.left) > 4 else ""
        notes.append(
            f"{', '.join(folder.left[:4])}{more} in the folder have no step number and are left out; "
            "open them by name"
        )
    return notes


def _together(
    contents: dict[str, Content], patterns: list[str], described: dict[str, object]
) -> Content:
    """Combine several kinds of file of one step, each under its name without the number."""
    names = {pattern: _without_number(pattern) for pattern in patterns}
    if len(set(names.values())) < len(names):
        names = {pattern: pattern for pattern in patterns}
    result = Content({names[pattern]: content.tree for pattern, content in contents.items()})

    def structure() -> dict[str, Any]:
        parts = {}
        for pattern, content in contents.items():
            inner = content.structure
            parts[names[pattern]] = inner() if callable(inner) else inner
        return {"series": described, "parts": parts}

    result.structure = structure
    for content in contents.values():
        result.damage += content.damage
        result.notes += content.notes
        result.globals |= content.globals
        result.writer.update(content.writer)
    return result


def _without_number(pattern: str) -> str:
    """``optimizer-#.pth`` -> ``optimizer``."""
    stem = pattern.partition("#")[0].rstrip("-_.= ")
    return stem or pattern


def _open(source: Source, name: str, options: Options) -> Content:
    found = source.child(name)
    if found is None or options.open_nested is None:
        raise FormatError(
            f"{name} is no longer there.", file=source.name, remedy="Open the folder again."
        )
    return options.open_nested(found)


def _folder(source: Source) -> Folder:
    """Return the series of a folder: pattern -> steps. Of several, those with the most steps."""
    names = source.children()
    if len(names) > _MOST:
        return Folder({}, [], [])
    if any(name.endswith(".index") or name in _MODELS for name in names):
        return Folder({}, [], [])  # read by the readers of TensorFlow
    if STATE in names and (state := source.child(STATE)) is not None and is_state(state):
        return Folder({}, [], [])
    found = look(names)
    return found if found.series else found._replace(series=_versions(source, names))


def _versions(source: Source, names: list[str]) -> dict[str, list[Step]]:
    """Folders named by a number, each with a saved model."""
    steps = []
    for name in names:
        if not _VERSION.match(name):
            continue
        inner = source.child(name)
        if inner is None or inner.kind != "folder":
            return {}
        if any(model in inner.children() for model in _MODELS):
            steps.append(Step(int(name), name))
    return {"#": sorted(steps, key=lambda step: step.number)} if steps else {}
