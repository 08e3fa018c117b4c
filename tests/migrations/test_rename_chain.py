"""A name that moved from one library to another, and on to a third, is resolved to the last."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import persist
from persist import _cli


def old_pickle(module: str, name: str) -> bytes:
    state = pickle.dumps({"a": 1}, 2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b")\x81" + state + b"b."


@pytest.mark.parametrize("library", ["theano", "aesara", "pytensor"])
def test_the_chain_does_not_stop_between_packs(library: str) -> None:
    data = old_pickle(f"{library}.scalar.basic", "Add")
    with persist.open(data) as file:
        assert file.knowledge.resolve(f"{library}.scalar.basic.Add") == "pytensor.scalar.basic.Add"


def test_an_alias_of_the_users_leads_into_a_pack() -> None:
    registry = persist.Registry("lab")
    registry.alias("lab.ops.Add", "theano.scalar.basic.Add")
    with persist.open(old_pickle("lab.ops", "Add"), registry=registry) as file:
        assert file.knowledge.resolve("lab.ops.Add") == "pytensor.scalar.basic.Add"


def test_a_circle_of_aliases_is_no_failure_of_opening() -> None:
    registry = persist.Registry("lab")
    registry.alias("lab.A", "lab.B")
    registry.alias("lab.B", "lab.A")
    with persist.open(old_pickle("lab", "A"), registry=registry) as file:
        assert file.knowledge.plain_for("lab.A") is None
    with pytest.raises(persist.errors.SchemaError, match="in a circle"):
        persist.load(old_pickle("lab", "A"), registry=registry)


def test_what_was_upgraded_is_final(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "add.pkl").write_bytes(old_pickle("theano.scalar.basic", "Add"))
    assert _cli.main(["upgrade", str(tmp_path / "add.pkl")]) == 0
    target = tmp_path / "add.pkl.persist"
    assert persist.open(target).tree.qualname == "pytensor.scalar.basic.Add"
    before = target.read_bytes()
    capsys.readouterr()
    assert _cli.main(["upgrade", "--in-place", str(target)]) == 0
    assert "1 up to date" in capsys.readouterr().out
    assert target.read_bytes() == before
