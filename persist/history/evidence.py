"""Was one field renamed to another? What speaks for it: names, types, files, and `__setstate__`."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs
import numpy as np

from persist._api.open import open as open_file
from persist._envelope import unwrap
from persist._layouts.description import CODEC, ClassLayout, FieldLayout, source_of
from persist.ops._address import is_equal
from persist.registry import Registry
from persist.tree import LazyArray, Record
from persist.typing import State

__all__ = ["DOUBTFUL", "LIKELY", "Guess", "flows", "guesses", "name_likeness", "states_in"]

LIKELY = 0.5  # from here on a guess is taken without a question (--yes)
DOUBTFUL = 0.3  # from here on it is too good to be passed over without a word


@attrs.frozen
class Guess:
    """That a field was renamed, and what speaks for it.

    Attributes:
        old: the name before.
        new: the name today.
        score: from 0 to 1.
        reasons: in words, the strongest first.
    """

    old: str
    new: str
    score: float
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.old} → {self.new} ({'; '.join(self.reasons) or 'nothing speaks for it'})"


def guesses(
    old: ClassLayout,
    new: ClassLayout,
    cls: type | None,
    before: list[State],
    after: list[State],
    *,
    flows: Mapping[str, tuple[str, str]] | None = None,
) -> list[Guess]:
    """Return which dropped field may be which new one, best first.

    Args:
        old: the released layout.
        new: today's.
        cls: today's class, for its code; None for data.
        before: states of the old version.
        after: states of today's, of the same objects and in the same order.
        flows: old name -> (new name, how code shows it); None takes them from the class's code.
    """
    gone = [field for field in old.fields if new.field(field.name) is None]
    came = [field for field in new.fields if old.field(field.name) is None]
    said = dict(flows or {})
    if cls is not None and flows is None:
        said = {**_renames_by_position(old, cls), **flows_of_class(cls)}
    found = [_guess(one, other, old, new, said, before, after) for one in gone for other in came]
    return sorted(found, key=lambda guess: (-guess.score, guess.old, guess.new))


def _guess(
    one: FieldLayout,
    other: FieldLayout,
    old: ClassLayout,
    new: ClassLayout,
    said: dict[str, tuple[str, str]],
    before: list[State],
    after: list[State],
) -> Guess:
    reasons: list[tuple[float, str]] = []
    likeness, why = name_likeness(one.name, other.name)
    if why:
        reasons.append((0.45 * likeness, why))
    flow = said.get(one.name)
    if flow is not None and flow[0] == other.name:
        reasons.append((0.7, flow[1]))
    elif flow is not None:
        reasons.append((-0.6, f"{flow[1]}, which is another field"))
    equal = _equal_values(one.name, other.name, before, after)
    if equal is not None:
        reasons.append((0.8, f"equal values in {equal} object{'s' * (equal != 1)} before and after")
                       if equal else (-0.8, "other values in the files before and after"))  # fmt: skip
    reasons += _of_types(one, other, before, after)
    if old.kind != CODEC and old.names.index(one.name) == new.names.index(other.name):
        reasons.append((0.15, "same place in the class"))
    alone = len(set(old.names) - set(new.names)) == 1 == len(set(new.names) - set(old.names))
    if alone:
        reasons.append((0.2, "no other field went or came"))
    score = max(0.0, min(1.0, sum(weight for weight, _ in reasons)))
    reasons.sort(key=lambda reason: -abs(reason[0]))
    return Guess(one.name, other.name, round(score, 3), tuple(text for _, text in reasons))


def _of_types(
    one: FieldLayout, other: FieldLayout, before: list[State], after: list[State]
) -> Iterator[tuple[float, str]]:
    if one.type and other.type:
        same = one.type == other.type
        yield (0.2, f"same type {one.type}") if same else (
            -0.3, f"the type was {one.type}, and is {other.type}"
        )  # fmt: skip
    mine = (one.dtype, one.shape) if one.dtype or one.shape else _array_kind(one.name, before)
    theirs = (
        (other.dtype, other.shape) if other.dtype or other.shape else _array_kind(other.name, after)
    )
    if mine is not None and theirs is not None:
        same = mine == theirs
        yield (0.25, f"same dtype and shape {mine[0]} {mine[1]}") if same else (
            -0.2, f"the dtype and shape were {mine}, and are {theirs}"
        )  # fmt: skip


def _array_kind(name: str, states: list[State]) -> tuple[str, object] | None:
    for state in states:
        value = state.get(name)
        if isinstance(value, np.ndarray | LazyArray):
            return value.dtype.str, tuple(value.shape)
    return None


def _equal_values(old: str, new: str, before: list[State], after: list[State]) -> int | None:
    """How many objects have the same value under both names; 0 where one differs; None: unknown."""
    count = 0
    for one, other in zip(before, after, strict=False):
        if old in one and new in other:
            if not is_equal(_read(one[old]), _read(other[new])):
                return 0
            count += 1
    return count or None


def _read(value: object) -> object:
    return value.read() if isinstance(value, LazyArray) else value


# Names.


def name_likeness(one: str, other: str) -> tuple[float, str]:
    """Return how alike two names are, from 0 to 1, and why; "" where they are not."""
    a, b = _words(one), _words(other)
    if not a or not b:
        return 0.0, ""
    if a == b:
        return 1.0, "the same name in another spelling"
    short, long = sorted((a, b), key=lambda words: len("".join(words)))
    if "".join(short) == "".join(word[0] for word in long) and len(long) > 1:
        return 1.0, f"{'_'.join(short)} are the initials of {'_'.join(long)}"
    if set(short) <= set(long) and len("".join(short)) > 1:
        return 0.9, f"{'_'.join(long)} has all words of {'_'.join(short)}"
    pairs = zip(short, long, strict=False)
    if len(short) == len(long) and all(y.startswith(x) or x.startswith(y) for x, y in pairs):
        return 0.8, f"{'_'.join(short)} begins {'_'.join(long)}"
    if _is_subsequence("".join(short), "".join(long)) and long[0][0] == short[0][0]:
        return 0.7, f"{'_'.join(short)} abbreviates {'_'.join(long)}"
    ratio = difflib.SequenceMatcher(None, "".join(a), "".join(b)).ratio()
    return (ratio, f"names alike ({ratio:.0%})") if ratio >= 0.6 else (0.0, "")


def _words(name: str) -> list[str]:
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return [part.lower() for part in parts]


def _is_subsequence(short: str, long: str) -> bool:
    rest = iter(long)
    return len(short) > 1 and all(letter in rest for letter in short)


# Code.


def flows_of_class(cls: type) -> dict[str, tuple[str, str]]:
    """Return name in an old state -> (attribute today, how that is known), from a class's code."""
    found: dict[str, tuple[str, str]] = {}
    for name, value in vars(cls).items():
        if isinstance(value, property) and value.fget is not None:
            tree = source_of(value.fget)
            attribute = _only_return(tree) if isinstance(tree, ast.FunctionDef) else None
            if attribute is not None:
                found[name] = (attribute, f"the property {name} returns self.{attribute}")
    setstate = vars(cls).get("_persist_setstate") or vars(cls).get("__setstate__")
    tree = source_of(inspect.unwrap(setstate)) if callable(setstate) else None
    if isinstance(tree, ast.FunctionDef):
        for name, attribute in flows(tree).items():
            if name != attribute:
                found[name] = (attribute, f"__setstate__ puts {name} into self.{attribute}")
    return found


def _only_return(tree: ast.FunctionDef) -> str | None:
    last = tree.body[-1]
    if not isinstance(last, ast.Return) or not isinstance(last.value, ast.Attribute):
        return None
    return last.value.attr if ast.unparse(last.value.value) == "self" else None


def flows(tree: ast.FunctionDef) -> dict[str, str]:
    """Return which name of a state goes into which attribute, in the code of a ``__setstate__``.

    Followed are ``W, b = state; self.weights = W``, ``self.weights = state["W"]``,
    ``state.get("W")``, ``state.pop("W")``, and names that stand for these.
    """
    arguments = (*tree.args.posonlyargs, *tree.args.args)
    if len(arguments) < 2:
        return {}
    own, state = arguments[0].arg, arguments[1].arg
    origins: dict[str, str] = {}  # local name -> name in the state
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.value) == state:
            for target in node.targets:
                if isinstance(target, ast.Tuple | ast.List):
                    origins.update({e.id: e.id for e in target.elts if isinstance(e, ast.Name)})
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        sources = set(_sources(node.value, state, origins))
        target = node.targets[0]
        if len(sources) != 1:
            continue
        if isinstance(target, ast.Name):
            origins[target.id] = sources.pop()
        elif isinstance(target, ast.Attribute) and ast.unparse(target.value) == own:
            found.setdefault(sources.pop(), target.attr)
    return found


def _sources(value: ast.AST, state: str, origins: dict[str, str]) -> Iterator[str]:
    for node in ast.walk(value):
        key: ast.AST | None = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == state:
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr in ("get", "pop") and ast.unparse(node.func.value) == state:
                key = node.args[0]
        elif isinstance(node, ast.Name) and node.id in origins:
            yield origins[node.id]
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value


def _renames_by_position(old: ClassLayout, cls: type) -> dict[str, tuple[str, str]]:
    """What the old code and today's put into the same place of a plain tuple.

    The old ``__setstate__`` is taken from the last commit, where the source is in a git repository;
    else the lock file says which attribute stood where.
    """
    from persist._layouts.description import unpackings

    setstate = vars(cls).get("_persist_setstate") or vars(cls).get("__setstate__")
    tree = source_of(inspect.unwrap(setstate)) if callable(setstate) else None
    today = unpackings(tree) if isinstance(tree, ast.FunctionDef) else []
    released = _committed_setstate(cls)
    before = unpackings(released) if released is not None else []
    if not before and old.kind == CODEC and len(old.arities) == 1:
        before = [old.names[: old.arities[0]]]
    found: dict[str, tuple[str, str]] = {}
    for one in before:
        for other in today:
            if len(one) == len(other):
                for place, (name, attribute) in enumerate(zip(one, other, strict=True)):
                    if name and attribute and name != attribute:
                        found[name] = (attribute, f"item {place} of the state went into self.{name}, "
                                       f"and goes into self.{attribute}")  # fmt: skip
    if released is not None:
        found |= _same_keys(flows(released), flows_or_none(tree))
    return found


def _same_keys(before: dict[str, str], today: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {
        attribute: (today[key], f"the state's {key!r} went into self.{attribute}, and goes into self.{today[key]}")
        for key, attribute in before.items()
        if key in today and today[key] != attribute
    }  # fmt: skip


def flows_or_none(tree: ast.AST | None) -> dict[str, str]:
    """Return the flows of a function; none where there is no function."""
    return flows(tree) if isinstance(tree, ast.FunctionDef) else {}


def _committed_setstate(cls: type) -> ast.FunctionDef | None:
    """The ``__setstate__`` of a class in the last commit; None where there is none, or no git."""
    try:
        path = inspect.getsourcefile(cls)
    except TypeError:
        return None
    if path is None:
        return None
    place = Path(path)
    try:
        run = subprocess.run(
            ["git", "-C", str(place.parent), "show", f"HEAD:./{place.name}"],
            capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip
        tree = ast.parse(run.stdout) if run.returncode == 0 else None
    except (OSError, SyntaxError, ValueError):
        return None
    if tree is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == "__setstate__":
                    return inner
    return None


# Files.


def states_in(paths: Iterable[Path], schema: str, registry: Registry) -> list[State]:
    """Return the states of one schema's records in files, in their order; nothing is migrated."""
    found: list[State] = []
    for path in paths:
        with open_file(path, registry=registry) as file:
            for record in _records(file.tree):
                known = registry.schema_for(registry.resolve(record.qualname))
                envelope = unwrap(record.state)
                names = [] if envelope is None else [layer.schema for layer in envelope.layers]
                if schema in names or (known is not None and known.name == schema):
                    found.append(dict(record.fields()))
    return found


def _records(tree: object) -> Iterator[Record]:
    stack, seen = [tree], set()
    while stack:
        value = stack.pop()
        if id(value) in seen or not isinstance(value, Record | dict | list | tuple):
            continue
        seen.add(id(value))
        if isinstance(value, Record):
            yield value
            inner: list[object] = [value.state, value.args, value.listitems, value.dictitems]
        elif isinstance(value, dict):
            inner = list(value.values())
        else:
            inner = list(value)
        stack.extend(reversed(inner))
