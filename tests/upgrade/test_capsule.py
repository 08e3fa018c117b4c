"""Time capsules: a program that knows less of the classes than a file loads it by the file's own steps."""

from __future__ import annotations

import json
import sys
import time
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist import _cli, _container, ops
from persist._envelope import unwrap
from persist._upgrade.capsule import read_capsule
from persist.errors import (
    DamageWarning,
    FutureVersionError,
    LayoutWarning,
    MissingMigrationError,
    OpaqueWarning,
    UnknownFieldWarning,
)

STEPS = {
    1: (ops.unpack("W", "b"),),
    2: (ops.rename({"W": "weights", "b": "bias"}),),
    3: (ops.add("note", ""), ops.astype("weights", "f8", was="f4")),
}
FIELDS = {2: ("W", "b"), 3: ("weights", "bias"), 4: ("weights", "bias", "note")}


CLASS = """
class Layer(persist.Versioned, version=VERSION, schema="lab.Layer", registry=registry):
    persistent = FIELDS

    def __init__(self, **fields):
        vars(self).update(fields)
"""


def program(version: int, *steps: int) -> persist.Registry:
    """What a release of a program knows: its class, and some of the steps."""
    name = f"capsule_release_{version}"
    module = sys.modules[name] = types.ModuleType(name)
    registry = persist.Registry(name)
    vars(module).update(persist=persist, registry=registry, VERSION=version, FIELDS=FIELDS[version])
    exec(CLASS, vars(module))
    for start in steps:
        registry.migration(module.Layer, start, *STEPS[start])
    return registry


def loaded(path: Path) -> tuple[Any, list[str]]:
    """What a program that knows nothing loads, and what it is told of the capsule."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = persist.load(path, registry=persist.Registry("nothing"))
    return value, [str(one.message) for one in caught if one.category is DamageWarning]


def layer(registry: persist.Registry, **fields: Any) -> Any:
    return registry.class_for("lab.Layer")(**fields)


NEW = {"weights": np.array([[1.5, 2.5]]), "bias": 0.5, "note": ""}


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    """A file of the newest release, with all steps."""
    registry = program(4, 1, 2, 3)
    path = tmp_path / "new.persist"
    one = layer(registry, **NEW)
    persist.save(
        [one, one, layer(registry, **{**NEW, "bias": 7})], path, registry=registry, capsule=True
    )
    return path


def test_an_older_program_loads_a_newer_file(newest: Path, tmp_path: Path) -> None:
    old = program(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, same, other = persist.load(newest, registry=old)
    assert one is same
    assert type(one) is old.class_for("lab.Layer")
    assert vars(one).keys() == {"weights", "bias"}
    assert one.weights.dtype == "f4"
    assert (one.bias, other.bias) == (0.5, 7)
    plan = persist.explain(newest, registry=old)
    assert not [entry for entry in plan if entry.problem is not None]
    assert "lab.Layer 4 → 3 by the steps that the file itself holds" in str(plan)
    bare = tmp_path / "bare.persist"
    new = program(4, 1, 2, 3)
    persist.save(layer(new, **NEW), bare, registry=new)
    with pytest.raises(FutureVersionError):
        persist.load(bare, registry=old)


def test_what_the_older_program_cannot_hold_is_said(tmp_path: Path) -> None:
    new, old = program(4, 1, 2, 3), program(3, 2)
    path = tmp_path / "noted.persist"
    persist.save(layer(new, **{**NEW, "note": "kept"}), path, registry=new, capsule=True)
    with pytest.warns(UnknownFieldWarning, match="note = 'kept'"):
        persist.load(path, registry=old)
    with pytest.raises(persist.errors.SchemaError, match="note = 'kept'"):
        persist.load(path, registry=old, unknown="error")


def of_version(path: Path, number: int, **options: Any) -> Path:
    """Save a record of an old version with the steps of the newest release."""
    states = {1: (np.array([1.0, 2.0], "f4"), 0.5), 2: {"W": np.array([1.0, 2.0], "f4"), "b": 0.5}}
    record = persist.Record("lab.Layer", states[number], version=number)
    persist.save([record, record], path, registry=program(4, 1, 2, 3), capsule=True, **options)
    return path


@pytest.mark.parametrize("number", [1, 2])
def test_a_program_without_the_old_steps_loads_an_old_file(tmp_path: Path, number: int) -> None:
    path = of_version(tmp_path / "old.persist", number)
    later = program(4, 3)  # steps 1 and 2 are gone
    first, second = persist.load(path, registry=later)
    assert first is second
    assert first.weights.dtype == "f8"
    assert first.weights.tolist() == [1.0, 2.0]
    assert (first.bias, first.note) == (0.5, "")
    bare = tmp_path / "bare.persist"
    persist.save(persist.Record("lab.Layer", {"W": 1, "b": 2}, version=2), bare, registry=later)
    with pytest.raises(MissingMigrationError):
        persist.load(bare, registry=later)


def test_a_program_without_the_class_gets_the_newest_layout(tmp_path: Path) -> None:
    path = of_version(tmp_path / "old.persist", 1)
    with pytest.warns(OpaqueWarning):
        first, second = persist.load(path, registry=persist.Registry("nothing"))
    assert first is second
    assert first.version == 4
    assert first.state["weights"].tolist() == [1.0, 2.0]
    assert persist.open(path).tree[0].version == 1  # as it is in the file


def test_a_program_that_knows_the_steps_uses_its_own(tmp_path: Path) -> None:
    path = of_version(tmp_path / "old.persist", 2)
    own = program(4, 1, 3)
    own.migration(
        "lab.Layer",
        2,
        ops.rename({"W": "bias", "b": "weights"}),
        ops.convert("weights", np.asarray),
    )
    assert persist.load(path, registry=own)[0].weights.tolist() == 0.5


def test_the_capsule_holds_layouts_and_steps(newest: Path) -> None:
    (schema,) = persist.open(newest).structure["capsule"]["schemas"]
    assert (schema["name"], schema["version"]) == ("lab.Layer", 4)
    assert [one[0] for one in schema["layouts"]["4"]["fields"]] == ["weights", "bias", "note"]
    assert [(one["from"], one["to"]) for one in schema["steps"]] == [(1, 2), (2, 3), (3, 4)]
    assert schema["steps"][1]["ops"] == [{"op": "rename", "names": {"W": "weights", "b": "bias"}}]


def test_a_step_that_is_a_function_is_no_data(tmp_path: Path) -> None:
    registry = program(3)

    @registry.migration("lab.Layer", 2)
    def upgrade(state: dict[str, Any]) -> dict[str, Any]:
        return {"weights": state["W"], "bias": state["b"]}

    path = tmp_path / "f.persist"
    persist.save(
        persist.Record("lab.Layer", {"W": 1, "b": 2}, version=2),
        path,
        registry=registry,
        capsule=True,
    )
    assert (
        "upgrade" in persist.open(path).structure["capsule"]["schemas"][0]["steps"][0]["function"]
    )
    with pytest.raises(MissingMigrationError):
        persist.load(path, registry=program(3))


def test_upgrade_convert_and_compact_keep_it(newest: Path, tmp_path: Path) -> None:
    wanted = persist.open(newest).structure["capsule"]
    assert _cli.main(["compact", str(newest)]) == 0
    assert (
        _cli.main(["convert", str(newest), "--to", "persist", "--out", str(tmp_path / "c.persist")])
        == 0
    )
    assert _cli.main(["upgrade", str(newest), "--to", str(tmp_path / "to")]) == 0
    for path in (newest, tmp_path / "c.persist", tmp_path / "to" / "new.persist"):
        assert persist.open(path).structure["capsule"] == wanted


def test_upgrade_adds_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("capsule_lab.py").write_text(
        "import persist\n"
        "class Net(persist.Versioned, version=2, schema='capsule_lab.Net'):\n"
        "    persistent = ('rate',)\n"
        "persist.migration(Net, 1, persist.ops.rename('lr', 'rate'))\n"
    )
    persist.save(persist.Record("capsule_lab.Net", {"lr": 0.5}, version=1), "old.persist")
    assert _cli.main(["upgrade", "old.persist", "--capsule", "--import", "capsule_lab.py"]) == 0
    (schema,) = persist.open("old.persist.persist").structure["capsule"]["schemas"]
    assert schema["steps"] == [
        {"from": 1, "to": 2, "ops": [{"op": "rename", "names": {"lr": "rate"}}]}
    ]
    for wrong in (["--in-place"], ["--format", "pickle"]):
        assert _cli.main(["upgrade", "old.persist", "--capsule", *wrong]) == 2


# Capsules of strangers.


def hostile(path: Path, capsule: Any, state: Any = None, version: int = 1) -> Path:
    record = persist.Record("lab.Layer", {"W": 1} if state is None else state, version=version)
    _container.write([record, 5], path, capsule=lambda manifest: capsule)
    return path


def steps(*listed: Any, version: Any = 4, layouts: Any = None, **more: Any) -> dict[str, Any]:
    rows = [
        {"from": one[0], "to": one[1], "ops": one[2]} if isinstance(one, tuple) else one
        for one in listed
    ]
    return {
        "schemas": [
            {
                "name": "lab.Layer",
                "version": version,
                "steps": rows,
                "layouts": layouts or {},
                **more,
            }
        ]
    }


RENAME = [{"op": "rename", "names": {"W": "w"}}]


@pytest.mark.parametrize(
    "capsule",
    [
        7, [], {}, {"schemas": 5}, {"schemas": [5]}, {"schemas": [{}] * 2000}, {"schemas": [{"name": 5}]},
        steps(version=-1), steps(version=2**80), steps(version=True), steps(version="4"), steps(version=None),
        steps((2, 1, RENAME)), steps((1, 1, RENAME)), steps((1, 9, RENAME)), steps((-1, 2, RENAME)), steps((1.0, 2, RENAME)),
        steps((1, 2, RENAME), (1, 2, RENAME)), steps((1, 2, [])), steps((1, 2, 5)), steps((1, 2, RENAME * 2000)),
        steps(*[(n, n + 1, RENAME) for n in range(1, 700)], version=9999), steps(5), steps({}),
        steps((1, 2, [{"op": "delete"}])), steps((1, 2, [{"op": "eval", "code": "1"}])), steps((1, 2, [{"op": ["rename"]}])),
        steps((1, 2, [{"op": "Op"}])), steps((1, 2, [{"op": "rename", "names": 5}])), steps((1, 2, [{"op": "rename", "x": 1}])),
        steps((1, 2, [{"op": "convert", "name": "W", "function": {"$function": "os.system"}}])),
        steps((1, 2, [{"op": "convert", "name": "W", "function": {"$function": "bytes"}}])),
        steps((1, 2, [{"op": "convert", "name": "W", "function": {"$function": ["int"]}}])),
        steps((1, 2, [{"op": "astype", "name": "W", "dtype": "<U99999999"}])), steps((1, 2, [{"op": "astype", "name": "W", "dtype": "|O"}])),
        steps((1, 2, [{"op": "add", "name": "x", "value": {"$array": {"dtype": "<f8", "shape": [10**12], "hex": ""}}}])),
        steps((1, 2, [{"op": "drop", "names": ["nothing"]}])), steps((1, 2, [{"op": "reshape", "name": "W", "shape": [7]}])),
        steps((1, 2, RENAME), layouts={"4": {"kind": "fields", "fields": [[5]]}}), steps((1, 2, RENAME), layouts=[1]),
        steps((1, 2, RENAME), layouts={"2": {"kind": "fields", "fields": [["z"]]}}, version=2),
        steps((1, 2, RENAME), layouts={"x": {"kind": "fields", "fields": []}}), steps((1, 2, RENAME), layouts={"9" * 5000: 1}),
        steps((1, 2, RENAME), aliases=5, **{"class": []}),
    ],
)  # fmt: skip
def test_a_capsule_that_lies_changes_nothing_but_what_its_own_steps_say(
    tmp_path: Path, capsule: Any
) -> None:
    path = hostile(tmp_path / "h.persist", capsule)
    start = time.process_time()
    (record, five), faults = loaded(path)
    assert time.process_time() - start < 5
    assert five == 5
    assert record.state in ({"W": 1}, {"w": 1})
    assert (record.version, record.state) in ((1, {"W": 1}), (2, {"w": 1}))
    is_used = record.version == 2
    is_empty = capsule in (7, [])  # no capsule at all
    assert bool(faults) == (not is_used and not is_empty)


def test_nested_deep(tmp_path: Path) -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    path = hostile(
        tmp_path / "h.persist",
        steps((1, 2, [{"op": "add", "name": "x", "value": value}]), version=2),
    )
    assert read_capsule(persist.open(path).structure["capsule"]) is not None
    found = read_capsule({"schemas": [{"name": "a", "version": 2, "steps": [
        {"from": 1, "to": 2, "ops": [{"op": "add", "name": "x", "value": json.loads("[" * 900 + "]" * 900)}]}]}]})  # fmt: skip
    assert found is not None
    assert not found.faults or found.newest == {}


def test_what_the_steps_make_is_bounded(tmp_path: Path) -> None:
    grow = [
        {"op": "astype", "name": "W", "dtype": "<U1000"},
        {"op": "astype", "name": "W", "dtype": "<U999"},
    ]
    path = hostile(
        tmp_path / "h.persist", steps((1, 2, grow * 100), version=2), {"W": np.zeros(400_000)}
    )
    (record, _), (fault,) = loaded(path)
    assert "make more than a file of this size may" in fault
    assert record.version == 1
    assert record.state["W"].dtype == "f8"


def test_a_step_that_fails_leaves_the_records_as_they_are(tmp_path: Path) -> None:
    ops_of = [{"op": "rename", "names": {"W": "w"}}, {"op": "drop", "names": ["nothing"]}]
    path = hostile(tmp_path / "h.persist", steps((1, 2, ops_of), version=2))
    (record, _), (fault,) = loaded(path)
    assert "its step 1 → 2 fails" in fault
    assert (record.version, record.state) == (1, {"W": 1})


def test_a_manifest_is_readable_by_anybody(newest: Path) -> None:
    with zipfile.ZipFile(newest) as archive:
        assert json.loads(archive.read("manifest.json"))["capsule"]["schemas"][0]["steps"]


# Steps that the file names and cannot bring.

FAMILY = """
class Base(persist.Versioned, version=BASE, schema="family.Base", registry=registry):
    persistent = BASE_FIELDS

class Child(Base, version=CHILD, schema="family.Child", registry=registry):
    persistent = FIELDS
"""


def family(version: int) -> persist.Registry:
    """Two classes, of which the second hands `x` to its base between its versions 1 and 2."""
    registry = persist.Registry(f"family {version}")
    module = sys.modules["capsule_family"] = types.ModuleType("capsule_family")
    fields = {1: (("y",), ("x", "k")), 2: (("z", "x"), ("k",))}[version]
    said = {"BASE": version, "CHILD": version, "BASE_FIELDS": fields[0], "FIELDS": fields[1]}
    vars(module).update(persist=persist, registry=registry, **said)
    exec(FAMILY, vars(module))
    if version == 2:
        registry.migration("family.Base", 1, ops.rename("y", "z"))
        registry.migration("family.Child", 1, ops.to_base("family.Base", "x", version=2))
    return registry


def test_a_step_that_hands_fields_to_a_base_is_reported_and_no_class_goes_on_without_it(
    tmp_path: Path,
) -> None:
    old, path = family(1), tmp_path / "child.persist"
    child = old.class_for("family.Child")()
    child.x, child.y, child.k = 1, 2, 3
    persist.save(child, tmp_path / "old.persist", registry=old)
    tree = persist.open(tmp_path / "old.persist").tree
    new = family(2)
    with pytest.warns(LayoutWarning, match="family.Child 1 → 2"):
        persist.save(tree, path, registry=new, capsule=True)
    assert vars(persist.load(path, registry=new)) == {"x": 1, "z": 2, "k": 3}
    record, faults = loaded(path)
    versions = {one.schema: one.version for one in unwrap(record.state).layers}
    assert versions == {"family.Base": 1, "family.Child": 1}  # not a base of 2 below a child of 1
    assert len(faults) == 1
    assert "schema 'family.Child': its step 1 → 2 hands fields" in faults[0]


def test_a_record_that_a_function_would_bring_further_is_reported(tmp_path: Path) -> None:
    registry, path = program(3), tmp_path / "f.persist"

    @registry.migration("lab.Layer", 2)
    def upgrade(state: dict[str, Any]) -> dict[str, Any]:
        return {"weights": state["W"], "bias": state["b"]}

    record = persist.Record("lab.Layer", {"W": 1, "b": 2}, version=2)
    persist.save(record, path, registry=registry, capsule=True)
    again, faults = loaded(path)
    assert (again.version, again.state) == (2, {"W": 1, "b": 2})
    assert len(faults) == 1
    assert "its step 2 → 3 is a function" in faults[0]
