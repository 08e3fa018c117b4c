"""Upgraded in place: the same tree as anywhere else, the arrays' bytes as they were, and all of it undone."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alike import assert_alike
from hypothesis import HealthCheck, given, settings
from test_container_trees import assert_plain
from trees import trees

import persist
from persist import _container, ops
from persist._api.renew import renew
from persist._cli import main
from persist._container.in_place import rewrite
from persist._upgrade import records
from persist.errors import DamagedFileError, FormatError, PersistError
from persist.tree import Record

RELAXED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Net:
    """What the records of this page are instances of."""


FIELDS = {
    1: ("W", "b"),
    2: ("weights", "bias"),
    3: ("weights", "bias", "kind"),
    4: ("weights", "kind"),
}
STEPS = {
    1: (ops.rename({"W": "weights", "b": "bias"}),),
    2: (ops.add("kind", "dense"), ops.add("mask", np.ones(3)), ops.drop("mask")),
    3: (ops.drop("bias"),),
}


def registry(version: int) -> persist.Registry:
    made = persist.Registry(f"version {version}")
    made.register(Net, version=version, fields=FIELDS[version], schema=f"{__name__}.Net")
    for step in range(1, version):
        made.migration(f"{__name__}.Net", step, *STEPS[step])
    return made


def net(size: int, seed: int = 0) -> Record:
    state = {"W": np.arange(float(size)) + seed, "b": np.full(3, seed)}
    return Record(f"{__name__}.Net", state, kind="newobj", version=1)


def file_of(folder: Path, tree: Any, **options: Any) -> Path:
    path = folder / "nets.persist"
    _container.write(tree, path, durable=False, **options)
    return path


def renewed(path: Path, version: int, **options: Any) -> Any:
    return renew(path, registry=registry(version), durable=False, **options)[1]


def tree_in(path: Path) -> Any:
    assert _container.verify(path) == []
    return _container.read(path, verify="always")[0]


def test_the_bytes_of_arrays_stay_where_they_are(tmp_path: Path) -> None:
    path = file_of(tmp_path, {"net": net(100_000), "list": [net(5, n) for n in range(3)]})
    before = path.read_bytes()
    done = renewed(path, 2)
    assert path.read_bytes()[: done.kept] == before[: done.kept]
    assert done.kept > 800_000
    assert len(path.read_bytes()) < len(before) + 2_000
    with persist.open(path) as file:
        assert file.arrays["net/weights"][-1] == 99_999
        assert "net/W" not in file.arrays
        assert file.arrays["list/2/bias"].tolist() == [2, 2, 2]
    with np.load(path) as arrays:  # under their old names, until it is compacted
        assert arrays["net/W"][-1] == 99_999
    made = persist.load(path, registry=registry(2))
    assert made["net"].weights.shape == (100_000,)


def test_what_is_of_today_is_left_alone(tmp_path: Path) -> None:
    path = file_of(tmp_path, net(5))
    renewed(path, 2)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert renewed(path, 2) is None
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_undo_brings_the_very_bytes_back(tmp_path: Path) -> None:
    path = file_of(tmp_path, [net(10, n) for n in range(4)], metadata={"run": 7})
    stages = [path.read_bytes()]
    for version in (2, 3, 4):
        renewed(path, version, keep=True)
        stages.append(path.read_bytes())
    for before in reversed(stages[:-1]):
        _container.undo(path, durable=False)
        assert path.read_bytes() == before
    with pytest.raises(PersistError, match="no older generation"):
        _container.undo(path)


def test_without_keep_there_is_nothing_to_undo(tmp_path: Path) -> None:
    path = file_of(tmp_path, net(10))
    renewed(path, 2, keep=True)
    renewed(path, 3)
    _container.undo(path)  # to version 1: what was between was not kept
    assert list(tree_in(path).fields()) == ["W", "b"]


@pytest.mark.parametrize(
    "options", [{}, {"compress": "deflate"}, {"digest": "sha256"}, {"digest": False}]
)
def test_every_way_of_saving(tmp_path: Path, options: Any, plain_reader: Any) -> None:
    tree = {
        "nets": [net(600, n) for n in range(3)],
        "text": b"x" * 5000,
        "m": np.ma.masked_less(np.arange(5), 2),
    }
    path = file_of(tmp_path, tree, **options)
    wanted, _ = records.upgrade(tree, registry(3))
    renewed(path, 3, keep=True)
    assert_alike(wanted, tree_in(path))
    assert_plain(wanted, plain_reader(path))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    _container.compact(path, durable=False)
    assert_alike(wanted, tree_in(path))
    with np.load(path) as arrays:
        assert "nets/0/weights" in arrays
        assert not any(name.startswith(".generations") for name in arrays)


def test_tables_and_blocks_stay(tmp_path: Path) -> None:
    tree = [net(40, n) for n in range(1500)]
    path = file_of(tmp_path, tree)
    before = path.stat().st_size
    renewed(path, 3)
    wanted, _ = records.upgrade(tree, registry(3))
    assert_alike(wanted, tree_in(path))
    assert path.stat().st_size < before + 60_000
    made = persist.load(path, registry=registry(3))
    assert made[7].weights[1] == 8
    with persist.open(path) as file:
        assert file.arrays["7/weights"][1] == 8


def test_what_steps_cut_from_arrays_is_not_written(tmp_path: Path) -> None:
    tree = {"net": net(1 << 17)}
    path = file_of(tmp_path, tree)
    known = persist.Registry("cuts")
    known.register(Net, version=2, fields=("W", "first", "b"), schema=f"{__name__}.Net")

    @known.migration(f"{__name__}.Net", 1)
    def cut(state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "W": state["W"].reshape(-1, 8).T, "first": state["W"][:1000]}

    done = renew(path, registry=known, durable=False)[1]
    assert done is not None
    assert done.size - done.kept < 3000
    assert _container.verify(path) == []
    made = _container.read(path)[0]["net"]
    assert made.W.shape == (8, 1 << 14)
    assert made.first.tolist() == list(range(1000))
    assert np.shares_memory(made.W, made.first)


def test_a_new_array_of_an_old_name_has_its_own(tmp_path: Path) -> None:
    path = file_of(tmp_path, {"net": net(5)})
    known = persist.Registry("swaps")
    known.register(Net, version=2, fields=("W", "V", "b"), schema=f"{__name__}.Net")

    @known.migration(f"{__name__}.Net", 1)
    def swap(state: dict[str, Any]) -> dict[str, Any]:
        return {"V": state["W"], "W": state["W"] + 100, "b": state["b"]}

    renew(path, registry=known, durable=False)
    with persist.open(path) as file:
        assert file.arrays["net/W"].tolist() == [100, 101, 102, 103, 104]
        assert file.arrays["net/V"].tolist() == [0, 1, 2, 3, 4]
        store = _container.Store(file._source)
        assert store.array("net/W")[0] == 100
        assert store.array("net/V")[0] == 0
    assert tree_in(path)["net"].V[4] == 4


@RELAXED
@given(tree=trees())
def test_any_tree_around_a_record(tree: Any, tmp_path_factory: Any, plain_reader: Any) -> None:
    whole = {"net": net(3), "around": tree}
    path = file_of(tmp_path_factory.mktemp("any"), whole)
    before = path.read_bytes()
    wanted, _ = records.upgrade(_container.read(before)[0], registry(3), unknown="drop")
    renewed(path, 3, keep=True)
    assert_alike(wanted, tree_in(path))
    assert_plain(wanted, plain_reader(path))
    _container.undo(path, durable=False)
    assert path.read_bytes() == before


def test_every_flipped_bit_is_damage(tmp_path: Path) -> None:
    path = file_of(tmp_path, net(3))
    renewed(path, 2, keep=True)
    data = path.read_bytes()
    for bit in range(0, 8 * len(data), 5):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DamagedFileError, persist.errors.FutureVersionError)):
            _container.read(bytes(wrong), verify="always")


@pytest.mark.parametrize("missing", ["_reflinked", "_ranged"])
def test_where_the_file_system_cannot_share(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_reflinked", "_ranged")[: 1 + (missing == "_ranged")]:
        monkeypatch.setattr(rewrite, name, lambda *args: "")
    path = file_of(tmp_path, net(100_000))
    assert renewed(path, 2).how == ("copy" if missing == "_ranged" else "copy_file_range")
    assert tree_in(path).weights[5] == 5


def test_a_file_that_fails_stays_as_it_was(tmp_path: Path) -> None:
    path = file_of(tmp_path, net(10))
    before = path.read_bytes()

    def refuse(tree: Any, again: Any) -> None:
        assert_alike(tree, again)
        raise DamagedFileError("it is refused.")

    with pytest.raises(DamagedFileError, match="it is refused"):
        renewed(path, 2, check=refuse)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_other_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(FormatError, match="cannot be upgraded in its place"):
        renew(path)


# The command.

MODULE = """
import persist
from persist import ops

class Net(persist.Versioned, version=2, schema="lab.Net"):
    persistent = ("weights", "bias")

persist.migration("lab.Net", 1, ops.rename({"W": "weights", "b": "bias"}))
"""


def test_the_verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "inplace_lab.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    record = net(1000)
    record.cls = persist.tree.Global("lab", "Net")
    runs = tmp_path / "runs"
    runs.mkdir()
    path = file_of(runs, {"net": record})
    before = path.read_bytes()
    reported = ["--import", "inplace_lab"]
    try:
        assert main(["upgrade", str(runs), *reported]) == 0
        assert "of an older version" in capsys.readouterr().out
        assert main(["upgrade", str(runs), "--in-place", "--dry-run", *reported]) == 0
        assert "1 would be upgraded" in capsys.readouterr().out
        assert path.read_bytes() == before
        assert main(["upgrade", str(runs), "--in-place", "--keep", *reported]) == 0
        out = capsys.readouterr().out
        assert "lab.Net 1 to 2" in out
        assert "bytes of arrays" in out
        assert persist.load(path)["net"].weights.shape == (1000,)
        assert main(["upgrade", str(runs), "--in-place", *reported]) == 0
        assert "1 up to date" in capsys.readouterr().out
        assert main(["undo", str(path)]) == 0
        assert path.read_bytes() == before
        assert main(["undo", str(path)]) == 1
        assert "no older generation" in capsys.readouterr().err
        assert main(["upgrade", str(path), "--in-place", *reported]) == 0
        assert main(["compact", str(path)]) == 0
        with np.load(path) as arrays:
            assert "net/weights" in arrays
    finally:
        sys.modules.pop("inplace_lab", None)


@pytest.mark.parametrize(
    "more", [["--keep"], ["--in-place", "--to", "x"], ["--in-place", "--format", "npz"]]
)
def test_what_does_not_go_together(more: list[str], capsys: Any) -> None:
    assert main(["upgrade", "a.persist", *more]) == 2
    assert "--in-place" in capsys.readouterr().err
