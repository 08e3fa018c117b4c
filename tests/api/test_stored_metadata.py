"""What a container says in addition to its object: writer, schemas of the classes in it, the user's metadata."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import pickle
import platform
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist import _cli, _container
from persist._api.renew import renew
from persist.errors import PersistError, SchemaError


def manifest_of(file: Any) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read("manifest.json"))


@pytest.fixture
def lab() -> Iterator[types.ModuleType]:
    """A module of declared classes; what it declares goes with it."""
    name = "stored_metadata_lab"
    module = sys.modules[name] = types.ModuleType(name)
    module.__dict__.update(registry=persist.Registry(name), np=np, persist=persist)
    exec(
        """
import attrs
from persist.schema import Field

class A(persist.Versioned, schema="meta.A", registry=registry):
    persistent = ("x",)
class B(persist.Versioned, schema="meta.B", registry=registry):
    persistent = ("x",)
class Typed(persist.Versioned, schema="meta.Typed", registry=registry):
    persistent = (Field("w", dtype="f8", shape=(None, 2)), "free")
@attrs.define
class Said(persist.Versioned, schema="meta.Said", registry=registry):
    lr: float = 0.5
    names: list[str] = attrs.Factory(list)
class Below(A, schema="meta.Below", registry=registry):
    persistent = ("y",)
""",
        module.__dict__,
    )
    yield module
    del sys.modules[name]


def made(cls: type, **fields: Any) -> Any:
    found = cls.__new__(cls)
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def test_the_release_is_among_the_writers() -> None:
    target = io.BytesIO()
    persist.save(1, target)
    assert persist.open(target.getvalue()).writer["persist"] == persist.__version__


def test_a_manifest_lists_the_classes_in_the_file_alone(lab: Any) -> None:
    target = io.BytesIO()
    persist.save({"plain": 1}, target, registry=lab.registry)
    assert manifest_of(target)["schemas"] == []
    persist.save([made(lab.Below, x=1, y=2)], target := io.BytesIO(), registry=lab.registry)
    listed = manifest_of(target)["schemas"]
    assert [(one["name"], one["fields"]) for one in listed] == [
        ("meta.A", ["x"]),  # a base's state is part of the record
        ("meta.Below", ["y"]),
    ]


def test_a_manifest_has_the_types_that_are_declared(lab: Any) -> None:
    target = io.BytesIO()
    typed = made(lab.Typed, w=np.zeros((1, 2)), free=None)
    persist.save([typed, lab.Said()], target, registry=lab.registry)
    listed = {one["name"]: one for one in manifest_of(target)["schemas"]}
    assert listed["meta.Typed"]["types"] == {"w": "|<f8|(None, 2)"}
    assert listed["meta.Said"]["types"] == {"lr": "float", "names": "list[str]"}


def test_a_class_whose_bases_clash_is_no_concern_of_other_files(lab: Any) -> None:
    exec(
        "class D(A, B, schema='meta.D', registry=registry): persistent = ()",
        lab.__dict__,
    )
    target = io.BytesIO()
    persist.save([made(lab.A, x=5)], target, registry=lab.registry)
    assert [one["name"] for one in manifest_of(target)["schemas"]] == ["meta.A"]
    assert persist.load(target.getvalue(), registry=lab.registry)[0].x == 5
    with pytest.raises(SchemaError, match="both declare the field 'x'"):
        persist.save(made(lab.D, x=5), io.BytesIO(), registry=lab.registry)
    # Its record, of a file that was only read, can be saved.
    record = persist.Record("meta.D", {"x": 5}, version=1)
    persist.save(record, target := io.BytesIO(), registry=lab.registry)
    assert persist.open(target.getvalue()).tree.state == {"x": 5}


@pytest.fixture
def described(tmp_path: Path) -> Path:
    path = tmp_path / "m.persist"
    persist.save({"a": np.arange(3.0)}, path, metadata={"run": 7})
    return path


def stored(path: Path) -> Any:
    with persist.open(path) as file:
        return file.structure["metadata"]


def history(path: Path) -> list[dict[str, Any]]:
    with persist.open(path) as file:
        return file.history


def test_metadata_survives_upgrade(described: Path, tmp_path: Path) -> None:
    assert _cli.main(["upgrade", str(described)]) == 0
    assert stored(tmp_path / "m.persist.persist") == {"run": 7}
    saved, upgraded = history(tmp_path / "m.persist.persist")
    assert [saved] == history(described)
    assert upgraded["action"] == "upgraded"
    assert upgraded["name"] == "m.persist"
    assert upgraded["size"] == described.stat().st_size
    assert upgraded["sha256"] == hashlib.sha256(described.read_bytes()).hexdigest()
    assert upgraded["format"] == "persist"
    assert upgraded["by"]["persist"] == persist.__version__


def test_metadata_survives_an_upgrade_of_an_upgraded_file(described: Path, tmp_path: Path) -> None:
    assert _cli.main(["upgrade", str(described)]) == 0
    assert _cli.main(["upgrade", str(tmp_path / "m.persist.persist")]) == 0
    last = tmp_path / "m.persist.persist.persist"
    assert stored(last) == {"run": 7}
    assert [one.get("name") for one in history(last)] == [None, "m.persist", "m.persist.persist"]


def test_metadata_that_is_no_dict_survives_upgrade(tmp_path: Path) -> None:
    persist.save(1, tmp_path / "m.persist", metadata=["run", 7])
    assert _cli.main(["upgrade", str(tmp_path / "m.persist")]) == 0
    assert stored(tmp_path / "m.persist.persist") == ["run", 7]


@pytest.mark.parametrize(
    ("older", "own"),
    [({"run": 7}, {"run": 7}), ({}, None), ({"metadata": [1]}, [1]), ({"metadata": {}}, {"metadata": {}})],
)  # fmt: skip
def test_the_origin_in_the_metadata_of_older_files_moves_into_the_history(
    tmp_path: Path, older: dict[str, Any], own: object
) -> None:
    origin = {"name": "b", "steps": [], "upgraded_from": {"name": "a"}}
    persist.save(1, tmp_path / "m.persist", metadata={**older, "upgraded_from": origin}, date=False)
    found = history(tmp_path / "m.persist")
    assert [one.get("name") for one in found] == ["a", "b", None]
    assert _cli.main(["upgrade", str(tmp_path / "m.persist")]) == 0
    assert stored(tmp_path / "m.persist.persist") == own
    after = history(tmp_path / "m.persist.persist")
    assert after[:3] == found
    assert after[3]["name"] == "m.persist"
    assert len(after) == 4


def test_metadata_survives_convert_and_compact(described: Path, tmp_path: Path) -> None:
    target = tmp_path / "c.persist"
    assert _cli.main(["convert", str(described), "--to", "persist", "--out", str(target)]) == 0
    assert stored(target) == {"run": 7}
    assert _cli.main(["compact", str(target)]) == 0
    assert stored(target) == {"run": 7}
    assert [one["action"] for one in history(target)] == ["saved", "converted", "compacted"]
    assert history(target)[1]["sha256"] == hashlib.sha256(described.read_bytes()).hexdigest()
    flat = tmp_path / "c.safetensors"
    assert _cli.main(["convert", str(target), "--to", "safetensors", "--out", str(flat)]) == 0
    assert persist.open(flat).tree["__metadata__"] == {"run": "7"}
    back = tmp_path / "d.persist"
    assert _cli.main(["convert", str(flat), "--to", "persist", "--out", str(back)]) == 0
    assert stored(back) == {"run": "7"}


def test_convert_says_that_a_format_holds_no_metadata(
    described: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _cli.main(["convert", str(described), "--to", "npz"]) == 0
    assert "its metadata is left out" in capsys.readouterr().out


def test_layouts_of_classes_that_are_not_here_survive(lab: Any, tmp_path: Path) -> None:
    """All that is known of a class that is gone is what its file says of it."""
    path = tmp_path / "a.persist"
    persist.save(made(lab.A, x=5), path, registry=lab.registry)
    said = manifest_of(path)["schemas"]
    assert _cli.main(["upgrade", str(path)]) == 0
    assert manifest_of(tmp_path / "a.persist.persist")["schemas"] == said
    assert _cli.main(["compact", str(path)]) == 0
    assert manifest_of(path)["schemas"] == said


def test_today_is_the_class_by_every_route(lab: Any, tmp_path: Path) -> None:
    """A container names the schema, a pickle the class: `Entry.today` is the class of today."""
    instance = made(lab.A, x=5)
    persist.save(instance, tmp_path / "a.persist", registry=lab.registry)
    entries = [
        persist.explain(source, registry=lab.registry)[0]
        for source in (tmp_path / "a.persist", pickle.dumps(instance))
    ]
    assert [entry.today for entry in entries] == ["stored_metadata_lab.A"] * 2
    assert [entry.qualname for entry in entries] == ["meta.A", "stored_metadata_lab.A"]


# Beside a file: resources.


@pytest.mark.extra("fsspec")
@pytest.mark.parametrize("kind", ["path", "file", "memory"])
def test_a_resource_next_to_a_file_is_found_whatever_names_the_file(
    kind: str, tmp_path: Path
) -> None:
    import fsspec

    def fetch(path: Any) -> str:
        with fsspec.open(str(path), "r") as file:
            return str(file.read())

    registry = persist.Registry("resources")

    class Trainer(persist.Versioned, schema="meta.Trainer", registry=registry):
        persistent = ("path",)
        data = persist.resource("path", open=fetch)

    Trainer.__qualname__ = "Trainer"
    folder = {
        "path": str(tmp_path),
        "file": tmp_path.as_uri(),
        "memory": "memory://stored-metadata",
    }[kind]
    with fsspec.open(f"{folder}/data.txt", "w") as file:
        file.write("hello")
    persist.save(made(Trainer, path="data.txt"), f"{folder}/t.persist", registry=registry)
    assert persist.load(f"{folder}/t.persist", registry=registry).data == "hello"


def test_every_file_says_when_and_by_which_releases(lab: types.ModuleType, tmp_path: Path) -> None:
    lab.__version__ = "3.1"
    when = datetime.datetime(2012, 5, 1, 14, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    persist.save(made(lab.A, x=1), tmp_path / "a.persist", registry=lab.registry, date=when)
    (entry,) = history(tmp_path / "a.persist")
    assert entry["date"] == "2012-05-01T12:00:00Z"
    assert entry["by"] == {
        "persist": persist.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "stored_metadata_lab": "3.1",
    }


def test_equal_objects_give_equal_bytes_without_a_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "1.persist", tmp_path / "2.persist"
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    persist.save([1], first, date=False)
    persist.save([1], second, date=False)
    assert first.read_bytes() == second.read_bytes()
    assert "date" not in history(first)[0]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    persist.save([1], first)
    assert history(first)[0]["date"] == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "tomorrow")
    with pytest.raises(PersistError, match="SOURCE_DATE_EPOCH is 'tomorrow'"):
        persist.save([1], first)


def test_an_upgrade_in_place_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "b.persist"
    record = persist.Record("meta.B", {"w": np.arange(2000.0)}, version=1)
    persist.save([record, record], path, metadata={"run": 7}, registry=persist.Registry("none"))
    before = path.read_bytes()
    registry = persist.Registry("later")
    registry.register("meta.B", version=2, fields=("x",))
    registry.migration("meta.B", 1, persist.ops.rename("w", "x"))
    renew(path, registry=registry)
    assert stored(path) == {"run": 7}
    saved, upgraded = history(path)
    assert saved["action"] == "saved"
    assert upgraded["action"] == "upgraded in place"
    assert upgraded["sha256"] == hashlib.sha256(before).hexdigest()
    assert upgraded["records"] == [["meta.B", "meta.B", 1, 1]]
    assert [one[:3] for one in upgraded["steps"]] == [["meta.B", 1, 2]]


@pytest.mark.parametrize(
    "said", [3, {}, [3, None], [{"by": 5, "name": [], "date": 7}], [{"records": "x"}]]
)
def test_a_history_can_say_anything(
    tmp_path: Path, said: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.persist"
    _container.write([1], path, history=lambda older, manifest: said)
    assert all(isinstance(one, dict) for one in history(path))
    for verb in (["history"], ["history", "--json"], ["inspect"], ["compact"]):
        assert _cli.main([*verb, str(path)]) == 0
    assert history(path)[-1]["action"] == "compacted"
