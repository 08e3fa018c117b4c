"""The pickle machine: it agrees with CPython where a pickle is harmless, and ends where it is not."""

from __future__ import annotations

import collections
import importlib.util
import io
import math
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import persist
from persist._wire.base.source import open_source
from persist._wire.pickle import numpy_rebuild, stdlib_rebuild
from persist._wire.pickle.machine import Machine
from persist.errors import DamagedFileError, FormatError, LimitError, PersistError
from persist.tree import ABSENT, Global, PersistentRef

_spec = importlib.util.spec_from_file_location(
    "programs", Path(__file__).parents[1] / "programs.py"
)
assert _spec is not None
assert _spec.loader is not None
laid = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laid)

PROTOCOLS = range(6)


def loaded(data: bytes, **settings: Any) -> Any:
    """What the machine makes of one pickle, plain values built."""
    source = open_source(data)
    rebuild = {**stdlib_rebuild.REBUILD, **numpy_rebuild.REBUILD}
    finish = {**stdlib_rebuild.FINISH, **numpy_rebuild.FINISH}
    return Machine(source, rebuild=rebuild, finish=finish, **settings).load(source.cursor())


def same(left: Any, right: Any) -> bool:
    """Whether two graphs are equal in types, values, shared references and cycles."""
    pairs: dict[int, int] = {}
    todo = [(left, right)]
    kept = []
    while todo:
        one, two = todo.pop()
        if type(one) is not type(two):
            return False
        if isinstance(one, list | dict | set | bytearray):  # identity is visible
            if id(one) in pairs:
                if pairs[id(one)] != id(two):
                    return False
                continue
            pairs[id(one)] = id(two)
            kept.append((one, two))
        if isinstance(one, list | tuple):
            if len(one) != len(two):
                return False
            todo += zip(one, two, strict=True)
        elif isinstance(one, dict):
            if list(one) != list(two) or list(map(type, one)) != list(map(type, two)):
                return False
            todo += zip(one.values(), two.values(), strict=True)
        elif isinstance(one, float):
            if struct.pack("d", one) != struct.pack("d", two):
                return False
        elif one != two:
            return False
    return True


# Harmless pickles.

graphs, PUSHES, WORKS, GADGETS = laid.graphs, laid.PUSHES, laid.WORKS, laid.GADGETS


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(value=graphs)
def test_it_agrees_with_cpython_on_what_cpython_writes(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert same(loaded(data), pickle.loads(data))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(value=graphs)
def test_it_agrees_on_what_the_writer_in_python_writes(value: Any, protocol: int) -> None:
    out = io.BytesIO()
    writer = pickle._Pickler(out, protocol)  # type: ignore[attr-defined]
    writer.fast = False
    writer.dump(value)
    assert same(loaded(out.getvalue()), pickle.loads(out.getvalue()))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cycles_and_shared_references_are_as_they_were(protocol: int) -> None:
    node: list[Any] = ["a"]
    table: dict[str, Any] = {"node": node}
    node.append((table, node))
    got = loaded(pickle.dumps(node, protocol))
    assert got[1][0]["node"] is got
    assert got[1][1] is got


# Programs of harmless opcodes, as no writer would write them.

programs = st.lists(st.one_of(PUSHES, PUSHES, WORKS), max_size=30).map(
    lambda parts: b"".join(parts) + b"."
)

# What CPython lets a program do to plain values that no writer does: append to a bytearray, set
# the item of a list, update a set from one, take a mark away under a value.
_LENIENT = ("are appended to", "are set on", "are added to")


@settings(max_examples=examples(1500), suppress_health_check=[HealthCheck.too_slow])
@given(program=programs)
@example(program=b"(]2t.")
@example(program=b"((K\x071t.")
def test_it_agrees_with_cpython_on_programs_of_harmless_opcodes(program: bytes) -> None:
    try:
        theirs = pickle.loads(program)
    except Exception:
        theirs = ABSENT
    try:
        ours = loaded(program)
    except FormatError as error:
        assume(not any(words in str(error) for words in _LENIENT))
        ours = ABSENT
    if theirs is not ABSENT:
        assert ours is not ABSENT
        assert same(ours, theirs)


# Hostile ones.


def looked_at(data: bytes) -> None:
    """Open bytes and look at all that is in them; any other exception than a FormatError fails."""
    try:
        file = persist.open(data)
    except FormatError as error:
        assert error.what.endswith("."), "a message is whole sentences"
        return
    assert str(file).startswith(file.name)
    for name in (*file.arrays, *file.scalars):
        assert name in file.arrays or name in file.scalars


@settings(max_examples=examples(1500), suppress_health_check=[HealthCheck.too_slow])
@given(
    parts=st.lists(st.one_of(PUSHES, WORKS, GADGETS, GADGETS), max_size=40),
    ends=st.booleans(),
    proto=st.sampled_from([b"", b"\x80\x02", b"\x80\x04"]),
)
def test_a_hostile_program_ends_in_an_error_of_ours_or_in_a_tree(
    parts: list[bytes], ends: bool, proto: bytes
) -> None:
    data = proto + b"".join(parts) + (b"." if ends else b"")
    looked_at(data)


@settings(max_examples=examples(1000))
@given(data=st.binary(max_size=200))
def test_any_bytes_end_in_an_error_of_ours_or_in_a_tree(data: bytes) -> None:
    for head in (b"", b"\x80\x02", b"\x80\x04\x95"):
        looked_at(head + data)


BOMBS = {
    # name: (expression that makes the bytes, whether it may be refused)
    "a key that is a tuple 1e6 deep": r"b'\x80\x02})' + b'\x85' * 1_000_000 + b'Ns.'",
    "a frozenset of doubled tuples": r"b'\x80\x04()' + b'2\x86' * 30 + b'\x91.'",
    "a dict key of doubled tuples": r"b'\x80\x02})' + b'2\x86' * 40 + b'Ns.'",
    "tuples doubled forty times": r"b'\x80\x02)' + b'2\x86' * 40 + b'.'",
    "lists appended to themselves": r"b'\x80\x02]' + b'2a' * 50 + b'.'",
    "lists doubled through the memo": r"b'\x80\x02]q\0' + b''.join(b'](h%ch%ceq%c' % (i, i, i + 1) for i in range(40)) + b'.'",
    "LONG_BINPUT of 2**28": r"b'Nr\0\0\0\x10.'",
    "LONG_BINPUT of 2**31 - 1": r"b'\x80\x02Nr\xff\xff\xff\x7f.'",
    "PUT of 1e9": r"b'\x80\x02Np1000000000\n.'",
    "BINBYTES8 of 2**40": r"b'\x80\x04\x8e' + (2**40).to_bytes(8, 'little') + b'.'",
    "BINUNICODE8 of 2**62": r"b'\x80\x04\x8d' + (2**62).to_bytes(8, 'little') + b'.'",
    "FRAME of 2**40": r"b'\x80\x04\x95' + (2**40).to_bytes(8, 'little') + b'N.'",
    "BYTEARRAY8 of 2**33": r"b'\x80\x05\x96' + (2**33).to_bytes(8, 'little') + b'.'",
    "a list 1e6 deep": r"b'\x80\x02' + b']' * 1_000_000 + b'a' * 999_999 + b'.'",
    "a tuple 1e6 deep": r"b'\x80\x02)' + b'\x85' * 1_000_000 + b'.'",
    "a list 1e5 deep": r"b'\x80\x02' + b']' * 100_000 + b'a' * 99_999 + b'.'",
    "a tuple 1e5 deep": r"b'\x80\x02)' + b'\x85' * 100_000 + b'.'",
    "marks 1e5 deep": r"b'\x80\x02' + b'(' * 100_000 + b't' * 100_000 + b'.'",
    "a list of 1e6 at the end of a long path": r"b'\x80\x02' + b']' * 20_000 + b'](' + b'N' * 1_000_000 + b'e' + b'a' * 20_000 + b'.'",
    "marks 1e6 deep": r"b'\x80\x02' + b'(' * 1_000_000 + b't' * 1_000_000 + b'.'",
    "an integer of 4e6 digits": r"b'\x80\x02L' + b'9' * 4_000_000 + b'L\n.'",
    "an integer of 900,000 digits": r"b'\x80\x02L' + b'9' * 900_000 + b'L\n.'",
    "LONG4 of 8 MB": r"b'\x80\x02\x8b' + (2**23).to_bytes(4, 'little') + b'\x55' * 2**23 + b'.'",
    "a float of 1e6 digits": r"b'\x80\x02F' + b'9' * 1_000_000 + b'\n.'",
    "5e6 pushes and pops": r"b'\x80\x02' + b'N0' * 2_500_000 + b'N.'",
    "20,000 keys of one hash": r"b'\x80\x02}(' + b''.join(b'\x8a\x0b' + (5 + i * (2**61 - 1)).to_bytes(11, 'little') + b'N' for i in range(20_000)) + b'u.'",
    "a bytearray that is doubled": r"b'\x80\x05\x96\x01\0\0\0\0\0\0\0z' + b'2\x86' * 60 + b'.'",
    "an array of 2**40 elements": r"pickle.dumps(np.zeros(4), 2).replace(b'K\x04\x85', b'\x8a\x06\0\0\0\0\0\x01\x85')",
    "a range of 2**62": r"pickle.dumps(range(2**62), 2)",
    "an empty persistent id": r"b'\x80\x02]Q.'",
    "records that hold themselves": r"b'\x80\x02cm\nC\n)\x81q\0h\0b.'",
    "a record as its own key": r"b'\x80\x02cm\nC\n)\x81q\0}h\0h\0sb.'",
    "1e5 globals": r"b'\x80\x02' + b''.join(b'cm\nn%d\n0' % i for i in range(100_000)) + b'N.'",
}  # fmt: skip

SLOW = {"a list 1e6 deep", "a tuple 1e6 deep", "marks 1e6 deep"}  # seconds each

BOMB_SCRIPT = """
import pickle, resource, sys, time
import numpy as np
import persist

data = eval(sys.argv[1])
assert len(data) < 10_000_000
list(map(str, (persist.open(pickle.dumps(1)), persist.errors.FormatError)))  # imports, once
here = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (here + (900 << 20),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (40, 40))
began = time.process_time()
try:
    with persist.open(data) as file:
        print(len(str(file)))
        "no/such/path" in file.scalars
        try:
            list(file.scalars)
        except persist.errors.LimitError as error:
            print("limit:", error)
except persist.errors.FormatError as error:
    print("refused:", error)
print("took", round(time.process_time() - began, 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits and sizes of a process as on Linux")
@pytest.mark.parametrize(
    "bomb",
    [pytest.param(bomb, marks=pytest.mark.slow if bomb in SLOW else ()) for bomb in BOMBS],
)
def test_a_bomb_ends_in_time_and_memory(bomb: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", BOMB_SCRIPT, BOMBS[bomb]], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.splitlines()[-1].startswith("took")


# Opcodes one by one.


def test_old_style_instances_are_records() -> None:
    record = loaded(b"(K\x07iold.nets\nNet\n}VW\nK\x05sb.")
    assert (record.qualname, record.kind, record.args) == ("old.nets.Net", "inst", (7,))
    assert record["W"] == 5
    record = loaded(b"(cold.nets\nNet\nK\x07o}VW\nK\x05sb.")
    assert (record.qualname, record.kind, record.args) == ("old.nets.Net", "obj", (7,))


def test_nothing_that_is_named_is_called() -> None:
    flag = "PERSIST_TEST_FLAG"
    program = f"import os; os.environ[{flag!r}] = '1'".encode()
    data = b"c__builtin__\nexec\n(V" + program + b"\ntR."
    record = loaded(data)
    assert flag not in os.environ
    assert record.maker == Global("__builtin__", "exec")
    assert record.args == (program.decode(),)


def test_a_name_with_dots_and_a_state_for_a_function_are_data() -> None:
    record = loaded(b"\x80\x04\x8c\x05numpy\x8c\x10prod.os.system.x\x93}\x8c\x01a\x4e\x73b.")
    assert record.kind == "built"
    assert record.args == (Global("numpy", "prod.os.system.x"),)
    assert record.state == {"a": None}


def test_newobj_ex_keeps_its_keywords() -> None:
    record = loaded(b"\x80\x04\x8c\x01m\x8c\x01C\x93K\x01\x85}\x8c\x01k\x4b\x02\x73\x92.")
    assert (record.kind, record.args, record.kwargs) == ("newobj_ex", (1,), {"k": 2})


def test_extension_codes_are_names_only() -> None:
    assert loaded(b"\x80\x02\x82\xf0.") == Global("copyreg", "extension 240")
    assert loaded(b"\x80\x02\x83\xf0\x00.") == Global("copyreg", "extension 240")
    assert loaded(b"\x80\x02\x84\xf0\x00\x00\x00.") == Global("copyreg", "extension 240")


def test_a_persistent_id_stays_a_reference_unless_it_is_resolved() -> None:
    ref = loaded(b"Pweights\n.")
    assert isinstance(ref, PersistentRef)
    assert ref.pid == "weights"
    assert loaded(b"\x80\x02K\x05Q.", persistent=lambda pid: pid + 1) == 6
    assert isinstance(loaded(b"\x80\x02K\x05Q.", persistent=lambda pid: ABSENT), PersistentRef)


def test_out_of_band_buffers_come_in_order_and_absent_ones_are_references() -> None:
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(
        [pickle.PickleBuffer(b"one"), pickle.PickleBuffer(b"two")],
        5,
        buffer_callback=buffers.append,
    )
    assert loaded(data, buffers=[b"one", b"two"]) == [b"one", b"two"]
    got = loaded(data)
    assert [type(item) for item in got] == [PersistentRef, PersistentRef]
    assert got[1].pid == "out-of-band buffer 1"


def test_a_read_only_buffer_is_the_buffer() -> None:
    assert loaded(b"\x80\x05\x97\x98.", buffers=[b"one"]) == b"one"
    with pytest.raises(DamagedFileError, match="READONLY_BUFFER"):
        loaded(b"\x80\x05\x98.")


def test_a_second_state_keeps_the_first_below_it() -> None:
    record = loaded(b"\x80\x02cm\nC\n)\x81K\x01bK\x02b.")
    assert record.state == 2
    assert record.args[0].state == 1


def test_a_memo_index_with_gaps_is_what_cpython_takes_it_for() -> None:
    data = b"\x80\x04Vone\nq\x05Vtwo\n\x94h\x05\x87."
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(b"\x80\x04Vone\nq\x05h\x00\x86.")
    with pytest.raises(DamagedFileError):
        loaded(b"\x80\x04Vone\nq\x05h\x00\x86.")
    assert loaded(data) == pickle.loads(data) == ("one", "two", "one")


@pytest.mark.parametrize(
    ("policy", "ascii_", "high"),
    [
        (None, "abc", b"\xff\x00"),
        ("text", "abc", "\xff\x00"),
        ("bytes", b"abc", b"\xff\x00"),
        ("latin-1", "abc", "\xff\x00"),
        ("ascii", "abc", b"\xff\x00"),
        (len, 3, 2),
    ],
)
def test_the_str_of_python_2_is_as_asked(policy: Any, ascii_: Any, high: Any) -> None:
    for data in (
        b"(S'abc'\nS'\\xff\\x00'\nt.",
        b"\x80\x02U\x03abcU\x02\xff\x00\x86.",
        b"T\x03\0\0\0abcT\x02\0\0\0\xff\x00\x86.",
    ):
        assert loaded(data, py2_str=policy) == (ascii_, high)


def test_an_unknown_way_to_read_the_str_of_python_2_says_which_there_are() -> None:
    with pytest.raises(PersistError, match="callable from bytes"):
        loaded(b"N.", py2_str="no such encoding")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb"'a\x41\101\n\t\\\'\"'", b"aAA\n\t\\'\""),
        (rb'"\q\x4"', rb"\q\x4"),
        (rb"'\400'", b"\x00"),
        (rb"''", b""),
    ],
)
def test_escapes_are_those_of_python_2s_repr(text: bytes, value: bytes) -> None:
    assert loaded(b"S" + text + b"\n.", py2_str="bytes") == value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x80\x02K", "the file ends after 3 bytes"),
        (b"\x80\x02X\x05\0\0\0ab", "5 bytes are due"),
        (b"\x80\x02\xfe.", "byte 0xfe is no pickle opcode"),
        (b"\x80\x02a.", "opcode APPEND fails"),
        (b"\x80\x02h\x07.", "opcode BINGET fails"),
        (b"\x80\x07N.", "pickle protocol 7 is not known"),
        (b"\x80\x02}]Ns.", "a list is used as a key"),
        (b"\x80\x02S'abc\n.", "not quoted"),
        (b"\x80\x02Lten\n.", "opcode LONG fails"),
        (b"\x80\x02NR.", "opcode REDUCE fails"),
        (b"\x80\x02K\x01N\x86N\x81.", "opcode NEWOBJ fails"),
        (b"\x80\x02}(Nu.", "a key has no value"),
        (b"\x80\x02.", "opcode STOP fails"),
        (b"\x80\x02\x8b\xff\xff\xff\xff.", "a length of -1"),
    ],
)
def test_damage_is_reported_with_its_place(data: bytes, words: str) -> None:
    with pytest.raises(DamagedFileError, match="offset") as caught:
        loaded(data)
    assert words in str(caught.value)


@pytest.mark.parametrize("limit", ["opcodes", "depth", "hashed", "digits"])
def test_a_limit_names_the_cure_and_can_be_raised(limit: str) -> None:
    deep = b"\x80\x02})" + b"\x85" * 50 + b"Ns."
    data = {
        "opcodes": b"\x80\x02" + b"N0" * 50 + b"N.",
        "depth": deep,
        "hashed": deep,
        "digits": b"\x80\x02L" + b"7" * 4100 + b"L\n.",
    }[limit]
    with pytest.raises(LimitError, match=f'"{limit}"'):
        persist.open(data, limits={limit: 20})
    file = persist.open(data, limits={limit: 100_000})
    assert file.format == "pickle"


def test_a_key_nested_beyond_the_limit_never_reaches_cpythons_hash() -> None:
    with pytest.raises(LimitError, match="nested"):
        loaded(b"\x80\x02})" + b"\x85" * 20_000 + b"Ns.")
    assert loaded(b"\x80\x02})" + b"\x85" * 500 + b"Ns.")


def test_ranged_sources_give_what_mapped_ones_give(tmp_path: Any) -> None:
    value = {"a": list(range(50_000)), "b": "x" * 200_000, "c": b"y" * 100_000}

    class Raw(io.RawIOBase):
        """A file of its own that can only seek and read, a little at a time."""

        def __init__(self, data: bytes) -> None:
            self.data, self.at = data, 0

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            return self.at

        def seek(self, offset: int, whence: int = 0) -> int:
            self.at = offset + (0, self.at, len(self.data))[whence]
            return self.at

        def readinto(self, buffer: Any) -> int:
            part = self.data[self.at : self.at + min(len(buffer), 7777)]
            buffer[: len(part)] = part
            self.at += len(part)
            return len(part)

    for protocol in PROTOCOLS:
        data = pickle.dumps(value, protocol)
        assert persist.open(Raw(data)).tree == value


def test_every_global_is_listed_and_none_is_imported() -> None:
    before = set(sys.modules)
    file = persist.open(b"\x80\x02cno.such.module\nName\n(c" + b"antigravity\nfly\ntR.")
    assert file.structure["globals"] == ["antigravity fly", "no.such.module Name"]
    assert "antigravity" not in set(sys.modules) - before
    assert str(file)


# Values that are finished after they were used.


def test_an_array_that_was_shared_before_its_state_came_is_one_array() -> None:
    array = np.arange(3.0)
    for protocol in PROTOCOLS:
        first, second, deep = loaded(pickle.dumps([array, array, {"a": (array,)}], protocol))
        assert first is second is deep["a"][0]
        assert first.tolist() == [0, 1, 2]


def test_an_array_used_inside_its_own_state_is_mended_everywhere() -> None:
    # An object array that holds itself: the record was fetched before BUILD finished it.
    array = np.empty(2, object)
    array[0] = array
    array[1] = [array]
    for protocol in PROTOCOLS:
        got = loaded(pickle.dumps(array, protocol))
        assert isinstance(got, np.ndarray)
        assert got[0] is got
        assert got[1][0] is got


def test_standard_containers_keep_the_order_of_the_file() -> None:
    value = collections.OrderedDict([("b", 1), ("a", 2)])
    for protocol in PROTOCOLS:
        got = loaded(pickle.dumps(value, protocol))
        assert type(got) is collections.OrderedDict
        assert list(got) == ["b", "a"]


@given(number=st.integers(min_value=-(10**6000), max_value=10**6000))
@settings(max_examples=50)
def test_integers_of_any_length_are_exact(number: int) -> None:
    assert loaded(pickle.dumps(number, 2)) == number
    digits = _decimal(number)
    assert loaded(b"L" + digits + b"L\n.") == number


def _decimal(number: int) -> bytes:
    sys_limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return str(number).encode()
    finally:
        sys.set_int_max_str_digits(sys_limit)


def test_floats_as_text_are_exact() -> None:
    for value in (0.1, -0.0, 1e308, 5e-324, math.inf, -math.inf):
        got = loaded(b"F" + repr(value).encode() + b"\n.")
        assert struct.pack("d", got) == struct.pack("d", value)
