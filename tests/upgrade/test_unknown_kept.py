"""Fields that no class declares, and that are kept, survive the next save, by every route."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import persist
from persist import _cli
from persist._api.renew import renew

CODE = """
class Layer(persist.Versioned, version=2, schema="keptlab.Layer"):
    persistent = ("rate",)

persist.migration(Layer, 1, persist.ops.rename("lr", "rate"))
"""


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """A file of version 1 with a field that nobody declares."""
    module = sys.modules["keptlab"] = types.ModuleType("keptlab")
    exec(CODE, {**vars(module), "persist": persist}, vars(module))
    module.Layer.__module__ = "keptlab"
    record = persist.Record("keptlab.Layer", {"lr": 0.5, "extra": [1, 2]}, version=1)
    persist.save(record, tmp_path / "old.persist", registry=persist.Registry("none"))
    yield tmp_path / "old.persist"
    del sys.modules["keptlab"]


def extra_of(path: Path) -> Any:
    """The undeclared field of a file."""
    return persist.load(path, unknown="keep").extra


def test_saved_again(old: Path, tmp_path: Path) -> None:
    layer = persist.load(old, unknown="keep")
    assert (layer.rate, layer.extra) == (0.5, [1, 2])
    for name, format in (("a.persist", "persist"), ("a.pkl", "pickle")):
        persist.save(layer, tmp_path / name, format=format)
        assert extra_of(tmp_path / name) == [1, 2]


def test_written_as_an_older_version(old: Path, tmp_path: Path) -> None:
    layer = persist.load(old, unknown="keep")
    persist.save(layer, tmp_path / "a.persist", versions={"keptlab.Layer": 1})
    record = persist.open(tmp_path / "a.persist").tree
    assert (record.version, record.fields()) == (1, {"lr": 0.5, "extra": [1, 2]})
    assert extra_of(tmp_path / "a.persist") == [1, 2]


def test_upgraded_converted_and_compacted(old: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _cli.main(["upgrade", str(old), "--unknown", "keep", "--to", str(out)]) == 0
    new = out / "old.persist"
    assert extra_of(new) == [1, 2]
    assert _cli.main(["compact", str(new)]) == 0
    assert extra_of(new) == [1, 2]
    assert (
        _cli.main(["convert", str(new), "--to", "persist", "--out", str(tmp_path / "c.persist")])
        == 0
    )
    assert extra_of(tmp_path / "c.persist") == [1, 2]
    renew(old, unknown="keep")
    assert persist.open(old).tree.version in (2, None)
    assert extra_of(old) == [1, 2]
