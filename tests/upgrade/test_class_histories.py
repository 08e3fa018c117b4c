"""Random histories of classes: what any generation wrote loads as the last one has it.

A history is one to three classes of any kind over three to six generations. Between two of them a class
changes: fields are renamed, added, dropped, converted, split, merged or moved to a new base; another base comes or
is merged into the class; the class gets another name or is written in another way. Each generation writes its objects as the library of its
day did: as an unversioned pickle, a pickle of `Versioned`, or a container. The expected values are worked
out on plain dicts, without a step.

``PERSIST_EXAMPLES=5000 pytest tests/upgrade/test_class_histories.py`` tries more (``make fuzz``).
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import persist
from persist._api.renew import renew
from persist._api.save import save_tree
from persist._upgrade.records import upgrade

EXAMPLES = int(os.environ.get("PERSIST_EXAMPLES", "200"))
IS_FUZZED = "PERSIST_EXAMPLES" in os.environ
LAB = "histories_lab"
KINDS = ("plain", "open", "slots", "attrs", "dataclass", "codec")
UNDECLARED = ("plain", "slots", "attrs", "dataclass")  # kinds without persist

Values = dict[str, Any]


@attrs.define
class Spec:
    """One class at one time.

    Attributes:
        key: what it is called for ever.
        name: its name in the module now.
        kind: how it is written.
        fields: its own fields, in their order.
        version: of its schema.
        steps: the source of each step so far.
        base: the fields of its base, or None if it has none.
        base_version: of the base.
        mixin: the fields of another base, or None.
        is_mixin_last: whether that one is the last of the bases.
        names: all names that it had.
        is_reversible: whether each step has a way back that loses nothing.
        forms: field -> what its values are like: a function of one that draws plain values.
    """

    key: str
    name: str
    kind: str
    fields: list[str]
    version: int = 1
    steps: list[str] = attrs.field(factory=list)
    base: list[str] | None = None
    base_version: int = 1
    mixin: list[str] | None = None
    is_mixin_last: bool = True
    names: list[str] = attrs.field(factory=list)
    is_reversible: bool = True
    forms: dict[str, Callable[[Any], Any]] = attrs.field(factory=dict)

    @property
    def schema(self) -> str:
        return f"histories.{self.key}"

    def step(self, *ops: str) -> None:
        """Count the version up."""
        self.steps.append(f"r.migration({self.schema!r}, {self.version}, {', '.join(ops)})")
        self.version += 1

    def function_step(self, source: str) -> None:
        """Count the version up with a function that knows no way back."""
        self.steps.append(f"r.migration({self.schema!r}, {self.version})({source})")
        self.version += 1
        self.is_reversible = False

    def form(self, name: str) -> Callable[[Any], Any]:
        return self.forms.pop(name, _plain)

    def base_step(self, op: str) -> None:
        self.steps.append(f"r.migration({self.schema + 'Base'!r}, {self.base_version}, {op})")
        self.base_version += 1

    def source(self, is_declared: bool) -> str:
        """The source of the class, of its base and of its steps."""
        if not is_declared:
            return _class(self.kind, self.name, "", [*self.fields, "fmt"])
        lines = []
        bases = "persist.Versioned"
        if self.base is not None:
            head = (
                f"{bases}, version={self.base_version}, schema={self.schema + 'Base'!r}, registry=r"
            )
            lines.append(_class("plain", f"{self.name}Base", head, self.base, is_declared=True))
            bases = f"{self.name}Base"
        if self.mixin is not None:
            head = f"persist.Versioned, schema={self.schema + 'Mixin'!r}, registry=r"
            body = f"persistent = {dict.fromkeys(self.mixin, 0)}"
            lines.append(f"class {self.name}Mixin({head}):\n    {body}")
            both = [f"{self.name}Base"] * (self.base is not None) + [f"{self.name}Mixin"]
            bases = ", ".join(both if self.is_mixin_last else both[::-1])
        head = f"{bases}, version={self.version}, schema={self.schema!r}, registry=r"
        lines.append(_class(self.kind, self.name, head, self.fields, is_declared=True))
        lines.append(f"r.stamp({self.schema!r}, key='fmt')")
        lines += self.steps
        for name in self.names:
            lines.append(f"{name} = {self.name}")
            if name != self.name:
                lines.append(f"r.alias('{LAB}.{name}', {self.name})")
        return "\n".join(lines)


def _class(kind: str, name: str, head: str, fields: list[str], is_declared: bool = False) -> str:
    decorator = {
        "attrs": "@attrs.define(slots=False, eq=False)\n",
        "dataclass": "@dataclasses.dataclass(eq=False)\n",
    }
    listed = f"({''.join(f'{field!r}, ' for field in fields)})"
    if kind in decorator:
        body = "\n    ".join(f"{field}: object = None" for field in fields) or "pass"
    elif kind == "slots":
        body = f"__slots__ = {listed}"
    elif kind == "codec":
        values = "".join(f"self.{field}, " for field in fields)
        body = f"def __getstate__(self): return ({values})\n    "
        body += (
            f"def __setstate__(self, state): ({values}) = state"
            if fields
            else "def __setstate__(self, state): pass"
        )
    else:
        body = f"persistent = {listed}" if kind == "plain" and is_declared else "pass"
    return f"{decorator.get(kind, '')}class {name}({head}):\n    {body}"


def _plain(drawn: Any) -> Any:
    return drawn()


# Changes: each draws what it needs, changes the spec, and returns what it does to plain values.

Change = Callable[[Spec, Any, Callable[[], str]], Callable[[Values], Values] | None]


def _pick(draw: Any, names: list[str]) -> str:
    return str(draw(st.sampled_from(names)))


def rename(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    if not spec.fields:
        return None
    old, new = _pick(draw, spec.fields), fresh()
    spec.fields[spec.fields.index(old)] = new
    spec.forms[new] = spec.form(old)
    if spec.kind == "codec":
        spec.function_step("lambda state: state")
    else:
        spec.step(f"ops.rename({old!r}, {new!r})")
    return lambda values: {new if name == old else name: item for name, item in values.items()}


def add(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    new, value = fresh(), draw(st.sampled_from([0, None, "text", 2.5]))
    spec.fields.append(new)
    if spec.kind == "codec":
        spec.function_step(f"lambda state: (*state, {value!r})")
    else:
        spec.step(f"ops.add({new!r}, {value!r})")
        spec.is_reversible = False  # an older version cannot hold what is there now
    return lambda values: {**values, new: value}


def drop(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    if spec.kind == "codec" or len(spec.fields) < 2:
        return None
    old = _pick(draw, spec.fields)
    spec.fields.remove(old)
    spec.step(f"ops.drop({old!r})")
    spec.is_reversible = False
    return lambda values: {name: item for name, item in values.items() if name != old}


def convert(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    if not spec.fields:
        return None
    name = _pick(draw, spec.fields)
    if spec.kind == "codec":
        n = spec.fields.index(name)
        spec.function_step(f"lambda state: (*state[:{n}], [state[{n}]], *state[{n + 1}:])")
    elif draw(st.booleans()):
        spec.step(f"ops.convert({name!r}, lambda value: [value], inverse=lambda value: value[0])")
    else:  # a function that takes the state apart and leaves the rest alone
        spec.function_step(f"lambda state: {{**state, {name!r}: [state[{name!r}]]}}")
    form = spec.form(name)
    spec.forms[name] = lambda drawn: [form(drawn)]
    return lambda values: {**values, name: [values[name]]}


def merge(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    if spec.kind == "codec" or len(spec.fields) < 2:
        return None
    one, two, new = *draw(st.permutations(spec.fields))[:2], fresh()
    spec.fields = [name for name in spec.fields if name not in (one, two)] + [new]
    spec.steps.append(
        f"@r.migration({spec.schema!r}, {spec.version})\n"
        f"def merge_{new}(state):\n"
        f"    state[{new!r}] = (state.pop({one!r}), state.pop({two!r}))\n    return state\n"
        f"@merge_{new}.downgrade\n"
        f"def part_{new}(state):\n"
        f"    state[{one!r}], state[{two!r}] = state.pop({new!r})\n    return state"
    )
    spec.version += 1
    first, second = spec.form(one), spec.form(two)
    spec.forms[new] = lambda drawn: (first(drawn), second(drawn))

    def merged(values: Values) -> Values:
        rest = {name: item for name, item in values.items() if name not in (one, two)}
        return {**rest, new: (values[one], values[two])}

    return merged


def split(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    if spec.kind == "codec" or not spec.fields:
        return None
    old, one, two = _pick(draw, spec.fields), fresh(), fresh()
    spec.fields = [name for name in spec.fields if name != old] + [one, two]
    spec.steps.append(
        f"@r.migration({spec.schema!r}, {spec.version})\n"
        f"def split_{one}(state):\n"
        f"    rest = {{name: item for name, item in state.items() if name != {old!r}}}\n"
        f"    return {{**rest, {one!r}: state[{old!r}], {two!r}: [state[{old!r}]]}}\n"
        f"@split_{one}.downgrade\n"
        f"def joined_{one}(state):\n"
        f"    del state[{two!r}]\n    state[{old!r}] = state.pop({one!r})\n    return state"
    )
    spec.version += 1
    spec.forms[one] = spec.form(old)
    spec.is_reversible = False

    def parted(values: Values) -> Values:
        rest = {name: item for name, item in values.items() if name != old}
        return {**rest, one: values[old], two: [values[old]]}

    return parted


def rename_class(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    spec.name = f"C{fresh()}"
    spec.names.append(spec.name)
    return lambda values: values


def another_kind(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    kinds = [
        kind
        for kind in KINDS
        if kind != spec.kind and (kind != "codec" or (spec.base is None and spec.mixin is None))
    ]
    kind = draw(st.sampled_from(kinds))
    if "codec" in (kind, spec.kind):
        if not spec.fields:
            return None
        names = ", ".join(map(repr, spec.fields))
        spec.step(f"ops.{'pack' if kind == 'codec' else 'unpack'}({names})")
    spec.kind = kind
    return lambda values: values


def move(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    if spec.kind == "codec" or spec.base is not None or len(spec.fields) < 2:
        return None
    changed = [name for name in spec.fields if name in spec.forms]
    moved = _pick(draw, changed or spec.fields)  # what older steps had to do with, if anything
    spec.base = [moved]
    spec.fields.remove(moved)
    spec.step(f"ops.to_base({spec.schema + 'Base'!r}, {moved!r})")
    return lambda values: values


def change_base(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    if not spec.base:
        return None
    (old,), new = spec.base, fresh()
    spec.base = [new]
    spec.forms[new] = spec.form(old)
    spec.base_step(f"ops.rename({old!r}, {new!r})")
    return lambda values: {new if name == old else name: item for name, item in values.items()}


def add_mixin(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    """Another base is put among the bases; what it adds has a default, so that no step is due."""
    if spec.kind == "codec" or spec.mixin is not None:
        return None
    new = fresh()
    spec.mixin, spec.is_mixin_last = [new], draw(st.booleans())
    spec.is_reversible = False
    return lambda values: {**values, new: 0}


def merge_mixin(spec: Spec, draw: Any, fresh: Callable[[], str]) -> Any:
    """That base is gone, and its fields are those of the class; older files know nothing of it."""
    if spec.mixin is None or spec.kind == "codec":
        return None
    (name,), spec.mixin = spec.mixin, None
    spec.fields.append(name)
    spec.step(f"ops.from_base({spec.schema + 'Mixin'!r}, {name!r}, optional=True)")
    spec.function_step(f"lambda state: {{{name!r}: 0, **state}}")
    return lambda values: values


CHANGES: list[Change] = [
    rename, add, drop, convert, merge, split, rename_class, another_kind, move, move, change_base, add_mixin, merge_mixin,
]  # fmt: skip


NEED_PERSIST = (move, change_base, rename_class, another_kind, add_mixin, merge_mixin)


# Histories.


@attrs.define
class File:
    """What one generation wrote.

    Attributes:
        data: a pickle or a container.
        expected: the values of each object, as they are to be in the last generation.
        how: "unversioned", "pickle" or "container".
    """

    data: bytes
    expected: list[tuple[str, Values]]
    how: str


class Reference:
    """The place of another object among plain values."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"<object {self.number}>"


def execute(specs: list[Spec], is_declared: bool) -> Any:
    made: Any = types.ModuleType(LAB)
    sys.modules[LAB] = made
    text = "import attrs, dataclasses, persist\nfrom persist import ops\nr = persist.Registry('history')\n"
    text += "\n".join(spec.source(is_declared) for spec in specs)
    made.text = text
    exec(compile(text, f"<{LAB}>", "exec"), made.__dict__)
    return made


class SharedArray:
    """The place of an array that several values may share."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"<array {self.number}>"


def attribute(spec: Spec, name: str) -> str:
    """What Python calls a field in an instance's dict."""
    if not name.startswith("__"):
        return name
    return f"_{spec.name}{'Base' * (name in (spec.base or ()))}{name}"


def instances(lab: Any, specs: list[Spec], values: list[tuple[str, Values]]) -> list[Any]:
    classes = {spec.key: getattr(lab, spec.name) for spec in specs}
    made = [object.__new__(classes[key]) for key, _ in values]
    by_key = {spec.key: spec for spec in specs}
    arrays = [array_of(number) for number in range(3)]

    def live(value: Any) -> Any:
        if isinstance(value, Reference):
            return made[value.number]
        if isinstance(value, SharedArray):
            return arrays[value.number]
        return type(value)(map(live, value)) if isinstance(value, list | tuple) else value

    for obj, (key, own) in zip(made, values, strict=True):
        for name, value in own.items():
            setattr(obj, attribute(by_key[key], name), live(value))
    return made


def array_of(number: int) -> Any:
    return np.arange(3.0) + number


@st.composite
def histories(draw: Any) -> tuple[list[Spec], list[File], Any]:
    """The last generation's classes, the files of all, and the last generation's module."""
    counter = iter(range(10_000))

    def fresh(*, may_be_private: bool = False) -> str:
        is_private = may_be_private and not draw(st.integers(0, 4))
        return f"{'__' * is_private}f{next(counter)}"

    undeclared = draw(st.integers(0, 2))  # generations without persist
    kinds = UNDECLARED if undeclared else KINDS
    specs = []
    for number in range(draw(st.integers(1, 3))):
        fields = [fresh(may_be_private=True) for _ in range(draw(st.integers(1, 4)))]
        spec = Spec(f"K{number}", f"C{number}", draw(st.sampled_from(kinds)), fields)
        spec.names.append(spec.name)
        specs.append(spec)
    files: list[File] = []
    lab = None
    for generation in range(draw(st.integers(3, 6))):
        is_declared = generation >= undeclared
        if generation:
            changed = _change(draw, specs, fresh, is_declared)
            for file in files:
                file.expected = [
                    (key, changed.get(key, lambda values: values)(values))
                    for key, values in file.expected
                ]
        lab = execute(specs, is_declared)
        values = _values(draw, specs)
        written = instances(lab, specs, values)
        if not is_declared:
            by_key = {spec.key: spec for spec in specs}
            for obj, (key, _) in zip(written, values, strict=True):
                obj.fmt = by_key[key].version
            first = 2 if any(spec.kind == "slots" for spec in specs) else 0
            protocol = draw(st.integers(first, 5))
            files.append(File(pickle.dumps(written, protocol), values, "unversioned"))
            continue
        files.append(File(pickle.dumps(written), values, "pickle"))
        files.append(File(saved(written, lab.r), values, "container"))
    if generation < undeclared:
        lab = execute(specs, True)
    return specs, files, lab


def _change(
    draw: Any, specs: list[Spec], fresh: Any, is_declared: bool
) -> dict[str, Callable[[Values], Values]]:
    """Change some classes, each in some ways."""
    changed: dict[str, Callable[[Values], Values]] = {}
    for spec in specs:
        for _ in range(draw(st.integers(0, 2))):
            change = draw(st.sampled_from(CHANGES))
            if not is_declared and change in NEED_PERSIST:
                continue
            done = change(spec, draw, fresh)
            if done is not None:
                changed[spec.key] = _after(changed.get(spec.key), done)
    return changed


def _after(first: Any, then: Any) -> Callable[[Values], Values]:
    return then if first is None else lambda values: then(first(values))


def _values(draw: Any, specs: list[Spec]) -> list[tuple[str, Values]]:
    count = draw(st.integers(1, 4))
    scalars = st.sampled_from([0, -3, 2.5, "text", None, True])
    chosen = [draw(st.sampled_from(specs)) for _ in range(count)]
    made = []
    for spec in chosen:

        def drawn() -> Any:
            kind = draw(st.integers(0, 5))
            if kind > 1:
                return draw(scalars) if kind > 2 else SharedArray(draw(st.integers(0, 2)))
            reference = Reference(draw(st.integers(0, count - 1)))
            return reference if draw(st.booleans()) else [reference, 1]

        names = (*(spec.base or ()), *(spec.mixin or ()), *spec.fields)
        own = {name: spec.forms.get(name, _plain)(drawn) for name in names}
        made.append((spec.key, own))
    return made


def saved(obj: Any, registry: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    persist.save(obj, file, registry=registry, **options)
    return file.getvalue()


# The check.


def check(
    objects: list[Any], expected: list[tuple[str, Values]], specs: list[Spec], lab: Any
) -> None:
    classes = {spec.key: (spec, getattr(lab, spec.name)) for spec in specs}
    assert len(objects) == len(expected)
    arrays: dict[int, Any] = {}
    for obj, (key, values) in zip(objects, expected, strict=True):
        spec, cls = classes[key]
        assert type(obj) is cls
        assert {*values} == {*spec.fields, *(spec.base or ()), *(spec.mixin or ())}
        found = {name: getattr(obj, attribute(spec, name)) for name in values}
        assert alike(found, values, objects, arrays), (spec.name, found, values)
        names = {attribute(spec, name) for name in values}
        assert {*getattr(obj, "__dict__", names)} <= names
    assert len({id(array) for array in arrays.values()}) == len(arrays)


def alike(found: Any, value: Any, objects: list[Any], arrays: dict[int, Any]) -> bool:
    if isinstance(value, Reference):
        return found is objects[value.number]
    if isinstance(value, SharedArray):
        is_one = arrays.setdefault(value.number, found) is found
        return (
            is_one and type(found) is np.ndarray and bool((found == array_of(value.number)).all())
        )
    if type(found) is not type(value):
        return False
    if isinstance(value, dict):
        return found.keys() == value.keys() and all(
            alike(found[k], value[k], objects, arrays) for k in value
        )
    if isinstance(value, list | tuple):
        return len(found) == len(value) and all(
            alike(a, b, objects, arrays) for a, b in zip(found, value, strict=True)
        )
    return bool(found == value)


def check_file(file: File, specs: list[Spec], lab: Any, folder: Path) -> None:
    registry = lab.r
    check(persist.load(file.data, registry=registry), file.expected, specs, lab)
    if file.how != "container":
        check(pickle.loads(file.data), file.expected, specs, lab)
    path = folder / "x.persist"
    with persist.open(file.data, registry=registry) as opened:
        tree, _ = upgrade(opened.tree, registry, names="schema", read=True)
    save_tree(tree, path, registry=registry)
    check(persist.load(path, registry=registry), file.expected, specs, lab)
    if file.how == "container":
        path.write_bytes(file.data)
        renew(path, registry=registry)
        check(persist.load(path, registry=registry), file.expected, specs, lab)
    if all(spec.is_reversible for spec in specs):
        versions = {spec.schema: 1 for spec in specs}
        objects = persist.load(file.data, registry=registry)
        older = saved(objects, registry, versions=versions)
        check(persist.load(older, registry=registry), file.expected, specs, lab)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@settings(
    max_examples=EXAMPLES,
    derandomize=not IS_FUZZED,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(history=histories())
def test_every_generation_loads_as_the_last_one(folder: Path, history: Any) -> None:
    specs, files, lab = history
    sys.modules[LAB] = lab
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for file in files:
            check_file(file, specs, lab, folder)
