"""The machine's fast loop does what its table does, opcode by opcode."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persist._wire.base.source import Source, open_source
from persist._wire.pickle import fast_loop, numpy_rebuild, stdlib_rebuild
from persist._wire.pickle.machine import Machine
from persist._wire.pickle.writer import PickleWriter
from persist.errors import FormatError

_spec = importlib.util.spec_from_file_location(
    "programs", Path(__file__).parents[1] / "programs.py"
)
assert _spec is not None
assert _spec.loader is not None
programs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(programs)

CORPUS = Path(__file__).parents[2] / "corpus"
PADDING = bytes(2 * fast_loop.MARGIN)  # behind the STOP, so that the fast loop goes that far


class Stepwise(Machine):
    """The same machine, every opcode of which is executed by the table."""

    @staticmethod
    def _loop(machine: Machine) -> None:
        while not fast_loop.step(machine):
            pass


def outcome(kind: type[Machine], source: Source, **options: Any) -> tuple[Any, ...]:
    """All that a pickle leaves behind: the tree as bytes, or the error; how far, at what cost."""
    rebuild = {**stdlib_rebuild.REBUILD, **numpy_rebuild.REBUILD}
    finish = {**stdlib_rebuild.FINISH, **numpy_rebuild.FINISH}
    machine = kind(source, rebuild=rebuild, finish=finish, **options)
    cursor = source.cursor()
    said: list[Any] = []
    try:
        while cursor.left > len(PADDING) or not said:
            said.append(spelled(machine.load(cursor)))
    except FormatError as error:
        said.append((type(error), error.where, error.what.partition(" (")[0]))
    return said, cursor.offset, machine.steps, machine.has_py2_str, list(machine.globals)


def spelled(tree: Any) -> Any:
    parts: list[bytes] = []
    try:
        PickleWriter(parts.append, 4, None).dump(tree)
    except FormatError as error:
        return error.what
    return sorted(b"".join(parts))  # sets of records are in the order of their addresses


def agree(data: bytes, **options: Any) -> None:
    ours = outcome(Machine, open_source(data + PADDING), **options)
    assert ours == outcome(Stepwise, open_source(data + PADDING), **options)


@pytest.mark.parametrize("protocol", range(6))
@given(value=programs.graphs)
def test_on_what_cpython_writes(value: Any, protocol: int) -> None:
    agree(pickle.dumps(value, protocol))


@settings(max_examples=examples(1500), suppress_health_check=[HealthCheck.too_slow])
@given(
    parts=st.lists(programs.parts, max_size=40),
    policy=st.sampled_from([None, "bytes"]),
    most=st.sampled_from([None, None, 7]),
)
def test_on_any_program(parts: list[bytes], policy: str | None, most: int | None) -> None:
    agree(b"".join(parts) + b".", py2_str=policy, most=most)


def pickles() -> list[Path]:
    folders = ("pickle", "pandas", "scipy", "sklearn", "theano")
    files = (path for name in folders for path in sorted((CORPUS / name).glob("*/*")))
    return [path for path in files if path.suffix in (".pkl", ".pickle", ".p", ".save")]


@pytest.mark.parametrize("path", pickles(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_on_the_corpus(path: Path) -> None:
    data = path.read_bytes()
    if data[:1] in b"\x80(cS]}":
        agree(data)


def test_the_corpus_is_there() -> None:
    assert len(pickles()) > 30


@pytest.mark.parametrize("protocol", range(6))
def test_on_a_pickle_of_many_pieces(protocol: int) -> None:
    long = "long text " * 700
    value = {
        f"key {number}": [number, -number, 1 << number, number / 7, long[:number], (number,) * 4]
        for number in range(3000)
    }
    data = pickle.dumps(
        [value, value, b"\xff" * 300_000, {3: long, 4.5: "\ud800", None: ()}], protocol
    )
    agree(data)
    agree(data[:-1000])
