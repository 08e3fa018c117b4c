"""A folder of numbered checkpoints: one run, opened at its latest step or at any other.

Written by  every training loop: ``model-10.pth``, ``mlp-0010.params``,
            ``epoch_10.h5``, Keras' ``weights.{epoch:02d}-{val_loss:.2f}.hdf5``,
            Lightning's ``epoch=3-step=400.ckpt``, and the folders by version
            that TensorFlow Serving keeps (``00000123/saved_model.pb``).
Evidence    The savers named above; TensorFlow's own folders are read by
            `persist.readers.tensorflow.checkpoint`, with their state file.
Traps       ``model-00001-of-00002`` is a part, no step; ``0.35`` in a name is a
            loss; ``resnet50`` has a number that is no step. Several kinds of
            file may bear the same steps (the model and its optimizer).
Gives       What the file of the chosen step gives; of several kinds a dict by
            their names without the number. ``structure``: ``series`` with the
            steps, the one chosen and the files.
"""

from __future__ import annotations

import re
from typing import Any

from persist._runtime.lazy_regex import regex
from persist._wire.base.numbered_steps import Step, chosen, grouped
from persist._wire.base.source import Source
from persist._wire.tensorflow.checkpoint_files import STATE, is_state
from persist.errors import FormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["SeriesReader"]

_SUFFIXES = (
    ".pth", ".pt", ".ckpt", ".params", ".h5", ".hdf5", ".keras", ".npz", ".safetensors", ".pkl",
    ".pickle", ".joblib", ".persist", ".tar", ".nd",
)  # fmt: skip
_LAYERS = (".gz", ".bz2", ".xz", ".zst", ".lz4")
# What a single numbered file is called where it is a checkpoint.
_WORDS = regex(
    r"ckpt|check_?point|epoch|ep\d|step|iter|snapshot|weights|model|-\d{4,}\.params", re.IGNORECASE
)
_VERSION = regex(r"\d{1,18}\Z")
_MODELS = ("saved_model.pb", "saved_model.pbtxt")
_MOST = 100_000  # names in a folder that are looked at


class SeriesReader(Reader):
    """Numbered checkpoints of one run in one folder."""

    name = "series"
    is_many = True

    def claims(self, source: Source) -> str | None:
        if source.kind != "folder":
            return None
        try:
            series = _series(source)
        except (FormatError, OSError):
            return None
        if not series:
            return None
        shown = ", ".join(sorted(series)[:3])
        count = len({step.number for steps in series.values() for step in steps})
        return f"a folder of {count} numbered checkpoints ({shown})"

    def read(self, source: Source, options: Options) -> Content:
        series = _series(source)
        every = sorted({step.number for steps in series.values() for step in steps})
        picked = chosen([Step(number, "") for number in every], options.step, source.name).number
        names = {
            pattern: step.name
            for pattern, steps in series.items()
            for step in steps
            if step.number == picked
        }
        contents = {pattern: _open(source, name, options) for pattern, name in names.items()}
        told = {
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
            content.structure = lambda: {"series": told, **(inner() if callable(inner) else inner)}
            content.format = "series"
            return content
        return _together(contents, list(series), told)


def _together(contents: dict[str, Content], patterns: list[str], told: dict[str, Any]) -> Content:
    """Several kinds of file of one step, each under its name without the number."""
    names = {pattern: _bare(pattern) for pattern in patterns}
    if len(set(names.values())) < len(names):
        names = {pattern: pattern for pattern in patterns}
    result = Content({names[pattern]: content.tree for pattern, content in contents.items()})

    def structure() -> dict[str, Any]:
        parts = {}
        for pattern, content in contents.items():
            inner = content.structure
            parts[names[pattern]] = inner() if callable(inner) else inner
        return {"series": told, "parts": parts}

    result.structure = structure
    for content in contents.values():
        result.damage += content.damage
        result.globals |= content.globals
        result.writer.update(content.writer)
    return result


def _bare(pattern: str) -> str:
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


def _series(source: Source) -> dict[str, list[Step]]:
    """The series of a folder: pattern -> steps; of several only those of the most steps."""
    names = source.children()
    if len(names) > _MOST:
        return {}
    if any(name.endswith(".index") or name in _MODELS for name in names):
        return {}  # TensorFlow's own
    if STATE in names and (state := source.child(STATE)) is not None and is_state(state):
        return {}
    stems: dict[str, list[str]] = {}
    for name in names:
        suffix = _suffix(name)
        if suffix is not None:
            stems.setdefault(suffix, []).append(name.removesuffix(suffix))
    found = {
        pattern + suffix: [Step(step.number, step.name + suffix) for step in steps]
        for suffix, bare in stems.items()
        for pattern, steps in grouped(bare).items()
    }
    return _kept(found) if found else _versions(source, names)


def _suffix(name: str) -> str | None:
    """The suffix, if it is one of a checkpoint: its digits (``.h5``) are no step."""
    bare = name
    for layer in _LAYERS:
        bare = bare.removesuffix(layer)
    for suffix in _SUFFIXES:
        if bare.lower().endswith(suffix) and len(bare) > len(suffix):
            return name[len(bare) - len(suffix) :]
    return None


def _kept(found: dict[str, list[Step]]) -> dict[str, list[Step]]:
    """Those patterns with about as many steps as the most; a stray file makes no series."""
    most = max(len(steps) for steps in found.values())
    kept = {pattern: steps for pattern, steps in found.items() if 2 * len(steps) >= most}
    if most > 1:
        return kept
    return {pattern: steps for pattern, steps in kept.items() if _WORDS.search(steps[0].name)}


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
