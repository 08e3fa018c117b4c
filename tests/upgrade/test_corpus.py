"""Over the corpus: what is compiled gives what the general path gives, and no step runs twice.

The classes of the records in a genuine file are declared in a registry of the test, one version later
than the file, so that their records are upgraded and built.
"""

from __future__ import annotations

import keyword
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist import ops
from persist._objects.torch_values import part_at
from persist._trees.copier import records_in
from persist._trees.pack_view import PackView
from persist._upgrade import compiled
from persist.errors import FormatError, MissingExtraError, PersistError, SchemaError
from persist.tree import ABSENT, Global, LazyArray, Record

CORPUS = Path(__file__).parents[1] / "corpus"
LARGEST = 1 << 17  # bytes of a case, so that the test stays fast
TIMES = compiled.COMPILE_AFTER + 2


def small_files() -> list[Path]:
    found = []
    for spec in sorted(CORPUS.glob("*/*/expected.json")):
        files = [path for path in spec.parent.rglob("*") if path.is_file() and path != spec]
        found += [path for path in files if path.stat().st_size <= LARGEST]
    return found


def is_ordinary(name: Any) -> bool:
    return type(name) is str and name.isidentifier() and not keyword.iskeyword(name)


def fields_in(path: Path) -> dict[str, tuple[str, ...]]:
    """Class -> the names in the states of its records; of classes whose states are all named alike."""
    found: dict[str, set[tuple[str, ...] | None]] = {}
    try:
        with persist.open(path) as file:
            for record in records_in(file.tree, set()):
                state = record.state
                is_named = type(state) is dict and record.is_bare and all(map(is_ordinary, state))
                is_named = is_named and record.kind in ("newobj", "inst", "obj", "record")
                names = tuple(state) if is_named and len(state) else None
                found.setdefault(record.qualname, set()).add(names)
    except (MissingExtraError, PersistError, OSError):
        return {}
    alike = {name: one for name, (one, *rest) in found.items() if one is not None and not rest}
    return {name: names for name, names in alike.items() if "." in name}


CASES = {
    f"{path.parent.name}/{path.name}": (path, fields)
    for path in small_files()
    if (fields := fields_in(path))
}


class Steps:
    """A registry with a function and ready-made steps for each class, and the calls of the function."""

    def __init__(self, fields: dict[str, tuple[str, ...]]) -> None:
        self.calls: Counter[int] = Counter()
        self.registry = persist.Registry("corpus")
        self.classes: list[type] = []  # a registry does not keep them
        for number, (qualname, names) in enumerate(fields.items()):
            cls = type(f"Class{number}", (), {"__module__": __name__})
            self.classes.append(cls)
            now = (*names[1:], f"{names[0]}_", "added", "size")
            self.registry.register(cls, version=3, schema=qualname, fields=now)
            self.registry.migration(qualname, 1)(self.sized)
            self.registry.migration(
                qualname, 2, ops.rename(names[0], f"{names[0]}_"), ops.add("added", (1, "a"))
            )

    def sized(self, state: dict[str, Any]) -> dict[str, Any]:
        self.calls[id(state)] += 1
        self.calls[0] += 1
        return {**state, "size": len(state)}


def seen(value: Any, known: dict[int, tuple[int, Any]]) -> Any:
    """A value as what can be compared; what was seen before by its number."""
    if isinstance(value, LazyArray):
        value = value.read()
    if isinstance(value, np.generic | bytes | str | int | float | complex | bool | type(None)):
        return (type(value).__name__, repr(value))
    if id(value) in known and not isinstance(value, tuple):
        return ("again", known[id(value)][0])
    known[id(value)] = (len(known), value)  # kept, so that its id is not used again
    if isinstance(value, np.ndarray):
        if not value.dtype.hasobject:
            return (str(value.dtype), value.shape, value.tobytes(), value.flags.writeable)
        return (str(value.dtype), value.shape, [seen(item, known) for item in value.reshape(-1)])
    if isinstance(value, dict):
        pairs = [(seen(name, known), seen(item, known)) for name, item in value.items()]
        return (type(value).__name__, pairs)
    if isinstance(value, list | tuple):
        return (type(value).__name__, [seen(item, known) for item in value])
    if isinstance(value, Record):
        parts = (value.state, value.args, value.listitems, value.dictitems)
        return ("record", value.qualname, value.version, [seen(part, known) for part in parts])
    if type(value).__module__ == __name__:
        return (type(value).__name__, seen(vars(value), known))
    if isinstance(value, set | frozenset):  # of records, in no certain order
        return (type(value).__name__, sorted(map(repr, value)))
    shown = repr(value)
    return (type(value).__name__, "" if " at 0x" in shown else shown)


def outcome(path: Path, registry: persist.Registry) -> Any:
    with warnings.catch_warnings(record=True) as reported:
        warnings.simplefilter("always")
        try:
            result = seen(persist.load(path, registry=registry), {})
        except PersistError as error:
            result = (type(error).__name__, str(error))
    return result, sorted(str(one.message) for one in reported)


@pytest.mark.parametrize("case", CASES)
def test_what_is_compiled_is_the_general_path(case: str) -> None:
    path, fields = CASES[case]
    general, quick = Steps(fields), Steps(fields)
    with compiled.SWITCH.off():
        wanted = outcome(path, general.registry)
    for _ in range(TIMES):
        quick.calls.clear()
        assert outcome(path, quick.registry) == wanted
        assert quick.calls[0] == general.calls[0]


def through_a_set(tree: Any, path: str) -> bool:
    """Whether a path leads into a set, whose members have no names."""
    looker, steps = PackView(), path.split("/")
    return any(
        isinstance(part_at(tree, looker, "/".join(steps[:count])), set | frozenset)
        for count in range(1, len(steps))
    )


@pytest.mark.parametrize("path", small_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_path_of_a_plan_can_be_looked_up(path: Path) -> None:
    """With the packs in front of the records, as `load(at=...)` and `File.arrays` look."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plan = persist.explain(path)
            file = persist.open(path)
            tree = file.tree
    except (MissingExtraError, FormatError):
        return  # a part of a case that is not one alone
    written = {record.qualname for record in records_in(tree, set())}
    for entry in list(plan)[:300]:
        if entry.qualname not in written:  # a pack made it, of a config
            continue
        found = part_at(tree, file.looker, entry.path)
        if found is ABSENT:
            assert through_a_set(tree, entry.path), entry.path
        else:
            assert isinstance(found, Record)
            assert found.qualname == entry.qualname


@pytest.mark.parametrize("case", CASES)
def test_the_path_of_an_error_can_be_looked_up(case: str) -> None:
    path, fields = CASES[case]
    steps = Steps(fields)

    registry = persist.Registry("fails")
    with persist.open(path) as file:
        today = {file.knowledge.resolve(qualname) for qualname in fields}
    for cls, qualname in zip(steps.classes, sorted(today), strict=False):
        registry.register(cls, version=1, schema=qualname, fields=("absent",))
    with pytest.raises(SchemaError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        persist.load(path, registry=registry)
    where = re.fullmatch(r"record '(.*)' at (?:'(.*)'|the root)", caught.value.where or "")
    assert where is not None
    with persist.open(path) as file:
        found = part_at(file.tree, file.looker, where[2] or "")
        if found is ABSENT:
            assert through_a_set(file.tree, where[2])
        else:
            assert found.qualname == where[1]


def test_keys_of_a_list_by_value_have_one_name_everywhere(tmp_path: Path) -> None:
    """In protocols 0 and 1 the items of a subclass of list are an argument of the reconstructor."""
    record = Record("lab.Runs", kind="reconstructor", args=(Global("builtins", "list"), []))
    record.args = (record.args[0], [{"w": Record("lab.Run", {"a": np.zeros(2)})}])
    file = tmp_path / "runs.pkl"
    persist.save({"l": record}, file, format="pickle", protocol=1)
    with persist.open(file) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (array,) = opened.arrays
        named = {entry.path for entry in persist.explain(file)}
    assert array == "l/0/w/a"
    assert named == {"l", "l/0/w"}


def test_the_corpus_has_records_to_compare() -> None:
    assert len(CASES) >= 5
