"""Which files of a folder are the steps of one run, by their names alone; and which only look so.

A number in a name may be a step, but also a rank of a distributed run, a fold, a year, or the
number of an experiment. What is taken for a step wrongly gives a part of a state as the whole, so
a number counts only if the name says what it is: next to a word such as ``epoch``, ``step`` or
``model``; or as the only number of files whose suffix is that of checkpoints.
"""

from __future__ import annotations

from typing import NamedTuple

from persist._runtime.lazy_regex import regex
from persist._wire.base.numbered_steps import Number, Step, grouped, whole_numbers

__all__ = ["Folder", "look"]

_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".params", ".keras", ".safetensors")
_SUFFIXES = (
    *_CHECKPOINTS, ".h5", ".hdf5", ".npz", ".pkl", ".pickle", ".joblib", ".persist", ".tar", ".nd",
)  # fmt: skip
_LAYERS = (".gz", ".bz2", ".xz", ".zst", ".lz4")
# Words before a step, and words that may follow it.
_BEFORE = regex(
    r"(?:epochs?|ep|steps?|iters?|iterations?|it|ckpt|check_?points?|snap(?:shot)?s?|weights|model"
    r"|optim(?:izer)?|net(?:work)?|params|updates?|batch|(?<![a-z])e)[-_.= ]*\Z"
)
_BEHIND = regex(r"[-_. ]?(?:epochs?|steps?|iters?|iterations?|updates?)(?![a-z])(?![-_.= ]*\d)")
# What numbers the parts of one state, or things that are not of one run.
_PARTS = regex(
    r"(?:rank|(?<![a-z])[tpdm]p|shard|part|partition|piece|chunk|split|worker|proc(?:ess)?|gpu|device"
    r"|node|host|replica|consolidated|rng_state|layer|stage|expert)s?[-_.= ]*\Z"
)
_OTHERS = regex(
    r"(?:exp|experiment|run|trial|fold|seed|subject|sample|data|dataset|train|test|val|file|job"
    r"|task|(?<![a-z])v|version)[-_.= ]*\Z"
)
_EPOCH = regex(r"-\d{4,}")  # as MXNet's save_checkpoint writes it
_YEARS = range(1900, 2101)


class Folder(NamedTuple):
    """Series found in the names of a folder.

    Attributes:
        series: pattern -> its steps, in order.
        left: other names that have the suffix of a file that is read here.
        doubts: why a pattern of numbered names is no series, in words.
    """

    series: dict[str, list[Step]]
    left: list[str]
    doubts: list[str]


def look(names: list[str]) -> Folder:
    """Return the series among the names in a folder, and what is none."""
    stems: dict[str, list[str]] = {}
    for name in names:
        suffix = _suffix(name)
        if suffix is not None:
            stems.setdefault(suffix, []).append(name.removesuffix(suffix))
    found: dict[str, list[Step]] = {}
    doubts: list[str] = []
    for suffix, bare in stems.items():
        for pattern, steps in grouped(bare).items():
            doubt = _doubt([step.name for step in steps], steps, suffix)
            if doubt is None:
                found[pattern + suffix] = [Step(step.number, step.name + suffix) for step in steps]
            elif doubt:
                doubts.append(f"{pattern}{suffix} {doubt}")
    series = _kept(found)
    used = {step.name for steps in series.values() for step in steps}
    left = [name for name in names if _suffix(name) is not None and name not in used]
    return Folder(series, left, doubts)


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
    most = max((len(steps) for steps in found.values()), default=0)
    return {pattern: steps for pattern, steps in found.items() if 2 * len(steps) >= most}


def _doubt(stems: list[str], steps: list[Step], suffix: str) -> str | None:
    """Why names of one pattern are no steps of a run; None where they are, "" for no numbers at all."""
    rows = [whole_numbers(stem) for stem in stems]
    width = min(len(row) for row in rows)
    places = [place for place in range(width) if len({row[place].value for row in rows}) > 1] or [
        place for place in range(width) if _is_named(stems[0], rows[0][place], suffix)
    ][-1:]
    named = all(_is_named(stems[0], rows[0][place], suffix) for place in places) and bool(places)
    before = [stems[0][: one.start].lower() for one in rows[0]]
    if any(_PARTS.search(text) for text in before):
        return "are ranks or parts of one state, not steps of a run"
    if not named:
        if len(stems) == 1:
            return ""
        if any(_OTHERS.search(before[place]) for place in places):
            return "are numbered, but not by the steps of a run"
        if len(places) > 1:
            return "differ in several numbers, and nothing shows which of them is the step"
        if all(rows[index][places[0]].value in _YEARS for index in range(len(rows))):
            return "bear years, as it seems, not steps"
        if not suffix.lower().startswith(_CHECKPOINTS):
            return "are numbered, and nothing shows that the numbers are steps of a run"
    if len({step.number for step in steps}) < len(steps):
        return "have several files of one step"
    return None


def _is_named(stem: str, number: Number, suffix: str) -> bool:
    """Return whether a word next to a number marks it as a step; so does MXNet's ``run-0010.params``."""
    if suffix.lower().startswith(".params") and _EPOCH.fullmatch(stem[number.start - 1 :]):
        return True
    lower = stem.lower()
    is_before = _BEFORE.search(lower[: number.start]) is not None
    return is_before or _BEHIND.match(lower[number.end :]) is not None
