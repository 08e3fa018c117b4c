"""Whatever a file holds, nothing but a `PersistError` comes out of looking at it and loading it.

Genuine files are cut, their bits are turned, and their parts are put together anew: opcodes of
pickles, literals of NPY headers, JSON of safetensors. Named attacks, one for each way in which
this was not so, come first.
"""

from __future__ import annotations

import functools
import json
import pickle
import pickletools
import struct
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import HUGE, P, attack, called, container, mapping, named, npy, number, text
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._api.detect import choose
from persist._wire.base.source import open_source
from persist.errors import DamagedFileError, PersistError

CORPUS = Path(__file__).parents[1] / "corpus"
SMALL = 100_000  # bytes of a seed

ORDERED = named("collections.OrderedDict") + b")R"
FRACTION = named("fractions.Fraction") + HUGE + b"K\x03\x86R"
DEEP = b")" + b"\x85" * 2000
HIDING = ("items", "values", "keys", "get", "__class__", "__deepcopy__", "move_to_end", "pop")


# Named attacks.


def test_attributes_of_an_ordered_dict_hide_no_methods(tmp_path: Path) -> None:
    files = {name: P + ORDERED + mapping(**{name: b"N"}) + b"b." for name in HIDING}
    files["no text"] = P + ORDERED + b"}K\x01Nsb."
    files["metadata"] = P + ORDERED + mapping(_metadata=b"K\x05") + b"b."
    files["in a container"] = container(
        [["dict", 0, None], ["OrderedDict", [0]]], layouts=[["items"]]
    )
    reports = attack(tmp_path, files)
    assert reports["in a container"].is_refused("load")
    for name in HIDING:
        tree = persist.open(files[name]).tree
        assert tree.state == {name: None}  # what the file says is kept, next to the dict
        assert type(tree.args[0]) is OrderedDict
        assert not vars(tree.args[0])


def test_an_ordered_dict_keeps_the_attributes_that_hide_nothing(tmp_path: Path) -> None:
    value: Any = OrderedDict(a=1)
    value._metadata, value.note = {"": {"version": 1}}, "kept"
    found = persist.load(pickle.dumps(value))
    assert vars(found) == vars(value)
    persist.save(value, tmp_path / "a.persist")
    assert vars(persist.load(tmp_path / "a.persist")) == vars(value)
    value.items = None
    with pytest.raises(PersistError, match="hide its own methods") as caught:
        persist.save(value, tmp_path / "b.persist")
    assert "Delete them" in str(caught.value)
    del value.items
    persist.save(value, tmp_path / "b.persist")


def test_keys_and_values_that_python_cannot_print(tmp_path: Path) -> None:
    shared = b")" + b"2\x86" * 14
    parts = {
        "huge": HUGE,
        "huge in a tuple": HUGE + b"\x85",
        "fraction": FRACTION,
        "fraction in a tuple": FRACTION + b"\x85",
        "deep": DEEP,
        "deep frozenset": b"(" * 300 + b"K\x01" + b"\x91" * 300,
        "wide": shared,
        "persistent": HUGE + b"Q",
        "range": named("builtins.range") + HUGE + b"\x85R",
        "complex": called("builtins.complex", b"G" + struct.pack(">d", 1e300), b"K\x01"),
        "decimal": called("decimal.Decimal", text("1E+999999999")),
        "slice": named("builtins.slice") + HUGE + DEEP + b"N\x87R",
        "timedelta": called("datetime.timedelta", HUGE),
    }
    files = {f"value {name}": P + part + b"." for name, part in parts.items()}
    files |= {
        f"item {name}": P + mapping(a=part, b=b"K\x01") + b"." for name, part in parts.items()
    }
    files |= {
        f"key {name}": P + b"}" + part + b"Ns." for name, part in parts.items() if name != "slice"
    }
    files |= {
        f"field {name}": P + named("lab.Net") + b")\x81}" + part + b"Nsb."
        for name, part in parts.items()
        if name != "slice"
    }
    files |= {
        f"argument {name}": P + named("lab.net") + part + b"\x85R." for name, part in parts.items()
    }
    files |= {f"state {name}": P + named("lab.Net") + b")\x81" + part + b"b." for name, part in parts.items()}  # fmt: skip
    files |= {f"constant {name}": P + called("persist.versioned._constant", part) + b"." for name, part in parts.items()}  # fmt: skip
    files |= {f"heir {name}": P + called("persist.versioned._array", named("a.B"), part) + b"." for name, part in parts.items()}  # fmt: skip
    deep = [["tuple", 1], *(["tuple", [index]] for index in range(9000)), ["map", [9000], 1]]
    files["a container's key"] = container(deep)
    files["a container's integer"] = container([["int", "f" * 20_000], ["map", [0], 1]])
    attack(tmp_path, files)


def test_two_keys_that_cannot_be_printed_keep_two_paths() -> None:
    data = P + b"}" + DEEP + text("a") + b"s" + b"(" + DEEP + b"K\x01t" + text("b") + b"s."
    file = persist.open(data)
    assert sorted(value for value in file.scalars.values() if type(value) is str) == ["a", "b"]
    for path, value in file.scalars.items():
        assert file.scalars[path] == value


def test_moments_without_a_unit(tmp_path: Path) -> None:
    moment = np.zeros((), "M8")[()]
    values = {"when": moment, "span": np.timedelta64(3), "many": np.zeros(3, "M8"), "x": 1.0}
    attack(tmp_path, {"value": pickle.dumps(values, 4), "key": pickle.dumps({moment: 1}, 4)})
    assert "without a unit" in str(persist.open(pickle.dumps(values, 4)))


def test_empty_shapes_beyond_any_memory(tmp_path: Path) -> None:
    big = 1 << 62
    header = json.dumps({"x": {"dtype": "F32", "shape": [0, big], "data_offsets": [0, 0]}})
    files = {
        "npy": npy("'<f4'", f"(0, {big})", b""),
        "empty dtype": npy("'|V0'", f"(0, {big}, {big})", b""),
        "x.safetensors": struct.pack("<Q", len(header)) + header.encode(),
        "pickled": P
        + named("numpy.core.multiarray._reconstruct") + named("numpy.ndarray") + b"K\x00\x85C\x01b\x87R"
        + b"(K\x01(K\x00" + number(big) + b"t" + named("numpy.dtype") + text("f4") + b"K\x00K\x01\x87R"
        + b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C\x00tb.",
        "torch.pt": torch_zip(b"K\x00" + number(big)),
        "torch strides.pt": torch_zip(b"K\x01K\x01", number(big) + number(big)),
        "mxnet.params": struct.pack("<QQQ", 0x112, 0, 1)
        + struct.pack("<IiI", 0xF993FAC9, 0, 2) + struct.pack("<qq", 0, big)
        + struct.pack("<iii", 1, 0, 0) + struct.pack("<Q", 0),
        "const.pb": tensorflow_const(0, big),
        "torch7.t7": struct.pack("<ii", 4, 1) + struct.pack("<i", 3) + b"V 1"
        + struct.pack("<i", 17) + b"torch.FloatTensor" + struct.pack("<i", 2)
        + struct.pack("<qqqqq", 0, big, 1, 1, 1) + struct.pack("<i", 0),
    }  # fmt: skip
    attack(tmp_path, files)


def torch_zip(shape: bytes, strides: bytes = b"K\x01K\x01") -> bytes:
    import io
    import zipfile

    made = P[:1] + b"\x02" + named("torch._utils._rebuild_tensor_v2") + b"((" + text("storage")
    made += named("torch.FloatStorage") + text("0") + text("cpu") + b"K\x04tQK\x00(" + shape
    made += b"t(" + strides + b"t\x89" + ORDERED + b"tR."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", made)
        archive.writestr("archive/data/0", bytes(16))
        archive.writestr("archive/version", b"3\n")
    return file.getvalue()


def varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made += bytes([value & 127 | 128])
        value >>= 7
    return made + bytes([value])


def field(key: int, data: bytes) -> bytes:
    return varint(key << 3 | 2) + varint(len(data)) + data


def tensorflow_const(*shape: int) -> bytes:
    extents = b"".join(field(2, b"\x08" + varint(extent)) for extent in shape)
    tensor = b"\x08\x01" + field(2, extents) + field(5, struct.pack("<f", 1))
    value = field(1, b"value") + field(2, field(8, tensor))
    return field(1, field(1, b"w") + field(2, b"Const") + field(5, value)) + field(4, b"\x08\x1b")


def test_a_damaged_shelf_is_no_missing_file(tmp_path: Path) -> None:
    (tmp_path / "run.dir").write_bytes(b"'a', (0, 5\n")
    (tmp_path / "run.dat").write_bytes(pickle.dumps(1))
    (tmp_path / "old.db").write_bytes(b"\0" * 100)
    for name in ("run", "old"):
        for act in (persist.open, persist.load, persist.explain):
            with pytest.raises(DamagedFileError, match=f"{name}.d"):
                act(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        persist.open(tmp_path / "missing")


def test_a_shelf_copied_again_opens(tmp_path: Path) -> None:
    """What the message of a damaged one asks for."""
    import dbm.dumb
    import shelve

    with shelve.Shelf(dbm.dumb.open(str(tmp_path / "run"), "n")) as shelf:  # type: ignore[arg-type]
        shelf["a"] = [1, 2]
    whole = (tmp_path / "run.dir").read_bytes()
    (tmp_path / "run.dir").write_bytes(whole[:4])
    with pytest.raises(DamagedFileError, match="copy all of its files again"):
        persist.load(tmp_path / "run")
    (tmp_path / "run.dir").write_bytes(whole)
    assert persist.load(tmp_path / "run") == {"a": [1, 2]}


# Genuine files, changed.


def looked_at(source: Any) -> None:
    """Do all that a user does with a file; whatever else than a `PersistError` comes out fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            file = persist.open(source)
        except PersistError as error:
            str(error)
        else:
            for look in (
                lambda: [np.asarray(file.arrays[path]) for path in file.arrays],
                lambda: dict(file.scalars),
                lambda: file.structure,
                lambda: str(file),
            ):
                tried(look)
        tried(lambda: str(persist.explain(source)))
        tried(lambda: persist.load(source))


def tried(look: Any) -> None:
    try:
        look()
    except PersistError as error:
        str(error)


@functools.cache
def seeds(*readers: str) -> list[bytes]:
    """The small files of the corpus that these readers take."""
    found = []
    for spec in sorted(CORPUS.glob("*/*/expected.json")):
        path = spec.parent / json.loads(spec.read_text())["file"]
        if path.is_file() and path.stat().st_size < SMALL:
            data = path.read_bytes()
            try:
                name = choose(open_source(data))[0].name
            except PersistError:
                continue
            if not readers or name in readers:
                found.append(data)
    return found


PICKLES = [
    pickle.dumps(value, protocol)
    for protocol in (0, 2, 4)
    for value in (
        {"w": np.arange(3.0), "n": np.float32(1), ("a", 1): [1, {2, 3}, frozenset([b"x"])]},
        OrderedDict(a=np.array([None, "x"], object), b=complex(1, 2)),
        [np.zeros(2, [("a", "<f4"), ("b", "<M8[s]", (2,))]), np.ma.masked_array([1, 2], [0, 1])],
    )
]
NASTY = [
    HUGE, DEEP, FRACTION, ORDERED, mapping(items=b"N") + b"b", b"}" + HUGE + b"Ns", b"\x85Ns",
    b"R", b"b", b"\x81", b"0", b"2", b"(", b"t", b"e", b"u", b"Q", b")", b"}", b"]", b"N",
    text("<M8[s/0]"), text("items"), number(1 << 62), b"J\xff\xff\xff\xff", b"\x91", b"s", b"a",
    named("numpy.dtype"), named("persist.versioned._constant"), named("pandas.core.frame.DataFrame"),
    named("pandas.core.indexes.base._new_Index"), named("torch._utils._rebuild_tensor_v2"),
    named("datetime.datetime"), named("collections.deque"), named("builtins.slice"),
]  # fmt: skip


@functools.cache
def opcodes(data: bytes) -> list[bytes]:
    """A pickle in its opcodes, or nothing where it is none."""
    try:
        places = [position for _, _, position in pickletools.genops(data)]
    except (ValueError, IndexError, AttributeError, UnicodeDecodeError):
        return []
    return [data[a:b] for a, b in zip(places, [*places[1:], None], strict=True)]


@st.composite
def cut_or_turned(draw: st.DrawFn, files: list[bytes]) -> bytes:
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        data[at] ^= 1 << draw(st.integers(0, 7))
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


@st.composite
def pickles_anew(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from([*PICKLES, *(seed for seed in seeds("pickle") if opcodes(seed))]))
    parts = list(opcodes(data))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(1, len(parts) - 1))
        what = draw(st.integers(0, 3))
        if what == 0:
            parts.insert(at, draw(st.sampled_from(NASTY)))
        elif what == 1:
            parts[at] = draw(st.sampled_from(NASTY))
        elif what == 2:
            del parts[at : at + draw(st.integers(1, 3))]
            parts = parts or [b"."]
        else:
            first = draw(st.integers(0, len(parts) - 1))
            parts[at:at] = parts[first : first + draw(st.integers(1, 8))]
        parts = [*parts, b"."] if len(parts) < 2 else parts
    return b"".join(parts)


LITERALS = st.sampled_from(
    ["'<f8'", "'<M8[s/0]'", "'|O'", "'|V0'", "'<U5'", "[('a', '<f4')]", "[('a', '<f4', (2,))]", "('<f8', (0,))",
     "(1,)", "(0, 4611686018427387904)", "(-1,)", "()", "True", "None", "4611686018427387904", "(3L,)",
     "np.int64(3)", "{}", "[]", "''", "'\\ud800'", "((((1,),),),)"]
)  # fmt: skip


@st.composite
def npy_headers(draw: st.DrawFn) -> bytes:
    names = draw(st.permutations(["descr", "fortran_order", "shape"]))
    pairs = ", ".join(f"'{name}': {draw(LITERALS)}" for name in names)
    header = f"{{{pairs}}}\n".encode("utf-8", "surrogatepass")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(16)


NUMBERS = st.sampled_from([0, 1, 2, 8, -1, 1 << 62, 1 << 64, 1.5, None, "1", True, [1]])


@st.composite
def safetensors_headers(draw: st.DrawFn) -> bytes:
    entry = st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "F64", "BF16", "F4", "I8", "BOOL", "X", 1, None]),
            "shape": st.one_of(st.lists(NUMBERS, max_size=3), NUMBERS),
            "data_offsets": st.one_of(st.lists(NUMBERS, max_size=3), st.just([0, 8])),
        }
    )
    names = st.sampled_from(["x", "y", "", "__metadata__", "\ud800", "a/b"])
    header = json.dumps(draw(st.dictionaries(names, st.one_of(entry, NUMBERS), max_size=3)))
    length = draw(st.sampled_from([len(header), len(header) - 1, 1 << 62, 0]))
    return struct.pack("<Q", length) + header.encode() + bytes(16)


CALM = settings(max_examples=60, derandomize=True, deadline=None)


@CALM
@given(st.data())
def test_cut_and_turned_files(data: st.DataObject) -> None:
    looked_at(data.draw(cut_or_turned([*PICKLES, *seeds()])))


@settings(CALM, max_examples=150)
@given(pickles_anew())
def test_pickles_of_other_opcodes(data: bytes) -> None:
    looked_at(data)


@settings(CALM, max_examples=100)
@given(npy_headers())
def test_headers_of_npy(data: bytes) -> None:
    looked_at(data)


@settings(CALM, max_examples=100)
@given(safetensors_headers())
def test_headers_of_safetensors(data: bytes) -> None:
    looked_at(data)


def test_a_manifest_that_lacks_a_key_is_damage() -> None:
    """Found by fuzzing: every checksum is right, and the manifest does not state its globals."""
    data = (Path(__file__).parents[1] / "cases" / "manifest_without_globals.persist").read_bytes()
    with pytest.raises(persist.errors.DamagedFileError, match="does not state globals"):
        persist.open(data)


def test_an_index_that_counts_more_members_than_it_has() -> None:
    """Found by fuzzing: salvage took a number out of an index that is damaged, and looked beyond it."""
    data = (Path(__file__).parents[1] / "cases" / "index_beyond_its_columns.persist").read_bytes()
    with pytest.raises(persist.errors.PersistError):
        persist.load(data)
    with persist.open(data, salvage=True) as file:
        assert [array.shape for array in file.arrays.values()] == [(2, 3)]
        assert file.damage
