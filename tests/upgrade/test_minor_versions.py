"""Minor versions: a program reads files of a newer minor version, and keeps the fields that it does not know."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest

import persist
from persist.errors import FutureVersionError, SchemaError

CODE = """
class Layer(persist.Versioned, version=VERSION, schema="minorlab.Layer", registry=registry):
    persistent = FIELDS
"""
BOTH = ["persist", "pickle"]


def release(version: Any, *fields: Any) -> Any:
    """The class of one release of a program, under the same name in all of them."""
    module = sys.modules["minorlab"] = types.ModuleType("minorlab")
    registry = persist.Registry(f"minorlab {version}")
    vars(module).update(persist=persist, registry=registry, VERSION=version, FIELDS=fields)
    exec(CODE, vars(module))
    return module


def save(module: Any, path: Path, format: str = "persist", **fields: Any) -> None:
    layer = module.Layer()
    vars(layer).update(fields)
    persist.save(layer, path, registry=module.registry, format=format)


def load(module: Any, path: Path, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return persist.load(path, registry=module.registry, **options)


@pytest.mark.parametrize("format", BOTH)
def test_a_newer_minor_version_is_read_and_its_fields_are_written_back(
    tmp_path: Path, format: str
) -> None:
    path, again = tmp_path / "a.file", tmp_path / "b.file"
    new = release((3, 2), "rate", "more")
    save(new, path, format, rate=0.5, more=[1, 2])
    old = release((3, 1), "rate")
    layer = load(old, path)
    assert type(layer) is old.Layer
    assert (layer.rate, layer.more) == (0.5, [1, 2])
    plan = persist.explain(path, registry=old.registry)
    assert all(entry.problem is None for entry in plan)
    assert "left out" not in str(plan)
    persist.save(layer, again, registry=old.registry, format=format)
    newest = release((3, 2), "rate", "more")
    assert load(newest, again).more == [1, 2]


@pytest.mark.parametrize("format", BOTH)
def test_an_older_minor_version_is_read(tmp_path: Path, format: str) -> None:
    path = tmp_path / "a.file"
    save(release(3, "rate"), path, format, rate=0.5)
    new = release((3, 1), "rate", persist.schema.Field("more", default=7))
    assert (load(new, path).rate, load(new, path).more) == (0.5, 7)


@pytest.mark.parametrize("format", BOTH)
def test_a_newer_version_is_refused(tmp_path: Path, format: str) -> None:
    path = tmp_path / "a.file"
    new = release((4, 0), "rate")
    new.__version__ = "2.5"
    save(new, path, format, rate=0.5)
    old = release((3, 9), "rate")
    old.__version__ = "1.0"
    with pytest.raises(FutureVersionError) as caught:
        load(old, path)
    if format == "persist":
        assert "needs minorlab >= 2.5" in str(caught.value)


def test_within_one_minor_version_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.file"
    save(release((3, 1), "rate", "more"), path, rate=0.5, more=1)
    with pytest.raises(persist.errors.LayoutError):
        load(release((3, 1), "rate"), path)


@pytest.mark.parametrize("policy", ["drop", "error"])
def test_what_is_asked_for_goes_first(tmp_path: Path, policy: Any) -> None:
    path = tmp_path / "a.file"
    save(release((3, 2), "rate", "more"), path, rate=0.5, more=1)
    old = release((3, 1), "rate")
    if policy == "error":
        with pytest.raises(SchemaError, match="more"):
            load(old, path, unknown=policy)
    else:
        assert not hasattr(load(old, path, unknown=policy), "more")


@pytest.mark.parametrize(
    "version", [(3,), (3, -1), (3, "1"), (3, True), (0, 1), (3, 1, 1), (3.0, 1)]
)
def test_what_is_no_version(version: Any) -> None:
    with pytest.raises(SchemaError, match="version"):
        release(version, "rate")
