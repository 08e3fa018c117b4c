"""HDF5 held against its own library: files that h5py writes in every layout, and hostile ones.

The rules of safety are names of tests: nothing leads out of a file, no claim is believed that
the bytes cannot hold, damage is reported with its place.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import persist
from persist._wire.hdf5.bit_filters import nbit
from persist._wire.hdf5.cursor import lookup3
from persist.errors import DamagedFileError, FormatError, LimitError

h5py = pytest.importorskip("h5py")

CORPUS = Path(__file__).parents[2] / "corpus"

ERAS = {
    "earliest": {"libver": "earliest"},
    "1.8": {"libver": ("v108", "v108")},
    "1.10": {"libver": ("v110", "v110"), "track_order": True},
    "latest": {"libver": "latest"},
    "tracked": {"libver": "latest", "track_order": True},
    "user-block": {"libver": "latest", "userblock_size": 1024},
    "old-user-block": {"libver": "earliest", "userblock_size": 512},
    "paged": {"libver": "latest", "fs_strategy": "page", "fs_persist": True},
}


def write(path: Path, fill: Callable[[Any], None], **options: Any) -> Path:
    with h5py.File(path, "w", **options) as file:
        fill(file)
    return path


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> dict[str, Any]:
    return ERAS[request.param]


def plain(value: Any) -> Any:
    """An array in a form that can be compared, text as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [plain(item) for item in value.reshape(-1)]
    if isinstance(value, np.ndarray) and value.dtype.names:
        return {name: plain(value[name]) for name in value.dtype.names}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def agree(path: Path) -> int:
    """Compare every dataset with what h5py reads, whole and in rows; return how many."""
    count = 0
    with persist.open(path) as file, persist.open(path) as again, h5py.File(path) as rival:

        def compare(name: str, found: Any) -> None:
            nonlocal count
            if not isinstance(found, h5py.Dataset) or found.shape is None:
                return
            mine, theirs = file.arrays[name], found[()]
            theirs = np.asarray(theirs, found.dtype if found.dtype == object else None)
            whole = np.asarray(mine)
            assert whole.shape == found.shape, name
            assert whole.dtype == theirs.dtype, name
            assert plain(whole) == plain(theirs), name
            for start, stop in (
                ((0, 1), (1, 3), (len(whole) // 2, len(whole))) if whole.ndim else ()
            ):
                rows = np.asarray(again.arrays[name][start:stop])
                assert plain(rows) == plain(whole[start:stop]), (name, start, stop)
            count += 1

        rival.visititems(compare)
    return count


# Against the library.


def test_every_type_that_numpy_can_say(tmp_path: Path, era: dict[str, Any]) -> None:
    chance = np.random.default_rng(1)

    def fill(file: Any) -> None:
        for code in ("i1", "<u2", ">i4", "u8", "f2", "<f4", ">f8", "c8", ">c16", "?", "longdouble"):
            values = chance.integers(0, 100, (7, 5)).astype(code)
            file.create_dataset(f"flat/{np.dtype(code).str}", data=values)
            file.create_dataset(f"packed/{np.dtype(code).str}", data=values, chunks=(2, 3),
                                compression="gzip", shuffle=True, fletcher32=True)  # fmt: skip
        file["bytes"] = np.array([b"ab", b"cdefg", b""])
        file["opaque"] = np.array([b"abcde", b"fghij"], "V5")
        file["times"] = np.array([1, 2], "M8[s]").astype(h5py.opaque_dtype("M8[s]"))
        file["text"] = np.array(["a", "Säure", ""], object).astype(h5py.string_dtype())
        file["enum"] = np.array([1, 2, 1], h5py.enum_dtype({"A": 1, "B": 2}, "i4"))
        file.create_dataset("rows", (3,), h5py.vlen_dtype("f8"))[0] = [1, 2, 3]
        parts = np.dtype([("a", "i4"), ("b", ">f8", (2, 3)), ("s", "S3"), ("v", h5py.string_dtype()),
                          ("n", [("x", "u1"), ("y", "c8")]), ("is", "?")])  # fmt: skip
        records = np.zeros(4, parts)
        records["a"], records["v"] = range(4), ["a", "bé", "", "d"]
        file["records"] = records
        file.create_dataset("packed/records", data=records, chunks=(3,), compression="lzf")
        file["aligned"] = np.zeros(3, np.dtype([("a", "i1"), ("b", "f8")], align=True))

    assert agree(write(tmp_path / "types.h5", fill, **era)) == 31


INDEXES = {
    "single": (None, (20, 20), (20, 20)),
    "fixed": (None, (50, 41), (3, 4)),
    "fixed, in pages": (None, (1500,), (1,)),
    "fixed, may grow": ((100, 60), (50, 41), (7, 4)),
    "extensible": ((None, 40), (51, 33), (2, 5)),
    "extensible, last axis": ((40, None), (33, 51), (2, 5)),
    "extensible, in pages": ((None,), (3000,), (1,)),
    "tree": ((None, None), (60, 60), (3, 3)),
    "tree, small": ((None, None, 3), (6, 20, 3), (3, 3, 2)),
}


def test_every_index_of_chunks(tmp_path: Path, era: dict[str, Any]) -> None:
    def fill(file: Any) -> None:
        for name, (most, shape, chunk) in INDEXES.items():
            values = np.arange(np.prod(shape)).reshape(shape).astype("i4")
            common = {"maxshape": most, "chunks": chunk}
            file.create_dataset(f"plain/{name}", data=values, **common)
            file.create_dataset(f"packed/{name}", data=values, compression="gzip", **common)
            hole = file.create_dataset(f"holes/{name}", shape, "i2", fillvalue=-1, **common)
            hole[tuple(slice(extent // 2, extent // 2 + 3) for extent in shape)] = 5
        shrunk = file.create_dataset("shrunk", data=np.arange(100), maxshape=(None,), chunks=(7,))
        shrunk.resize((33,))
        grown = file.create_dataset("grown", data=np.arange(10), maxshape=(None,), chunks=(7,))
        grown.resize((40,))

    assert agree(write(tmp_path / "chunks.h5", fill, **era)) == 29


@pytest.mark.parametrize("packed", [None, "gzip"])
def test_indexes_of_many_chunks_of_which_few_were_written(
    tmp_path: Path, packed: str | None
) -> None:
    def fill(file: Any) -> None:
        for name, most in (("fixed", (300_000,)), ("extensible", (None,))):
            made = file.create_dataset(name, (300_000,), "u1", maxshape=most, chunks=(1,), fillvalue=9,
                                       compression=packed)  # fmt: skip
            for start in (0, 1500, 150_000, 290_000):
                made[start : start + 40] = np.arange(40)
        tree = file.create_dataset("tree", (90, 90), "u1", maxshape=(None, None), chunks=(1, 1),
                                   compression=packed)  # fmt: skip
        tree[...] = np.arange(8100).reshape(90, 90) % 251

    path = write(tmp_path / "few.h5", fill, libver="latest")
    with persist.open(path) as file, h5py.File(path) as rival:
        for name in ("fixed", "extensible", "tree"):
            assert np.array_equal(np.asarray(file.arrays[name]), rival[name][()]), name


def raw_dataset(
    file: Any, name: str, shape: tuple[int, ...], values: Any = None, type: Any = None, **how: Any
) -> None:
    """A dataset by h5py's low floor, for properties that its high floor lacks."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    for key, value in how.items():
        getattr(creation, key)(*value if isinstance(value, tuple) else (value,))
    type = h5py.h5t.NATIVE_INT32 if type is None else type
    space = h5py.h5s.create_simple(shape, how.get("most", shape))
    made = h5py.h5d.create(file.id, name.encode(), type, space, creation)
    if values is not None:
        memory = h5py.h5t.py_create(values.dtype)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, values, memory)


def test_every_layout_and_fill(tmp_path: Path, era: dict[str, Any]) -> None:
    def fill(file: Any) -> None:
        values = np.arange(90, dtype="i4").reshape(10, 9)
        raw_dataset(file, "compact", (10, 9), values, set_layout=h5py.h5d.COMPACT)
        early = {"set_chunk": ((4, 4),), "set_alloc_time": h5py.h5d.ALLOC_TIME_EARLY}
        raw_dataset(file, "implicit", (10, 9), values, **early)
        file.create_dataset("never", (10, 4), "f4", fillvalue=2.5)
        file.create_dataset("never packed", (10, 4), "i4", fillvalue=7, chunks=(3, 3))
        file.create_dataset("never reported", (3,), "f8")
        file["scalar"] = np.float32(3.5)
        file["word"] = "Säure"
        file.create_dataset("none", (0, 3), "f4")
        file.create_dataset("no text", (0, 3), h5py.string_dtype())
        file.create_dataset("none packed", (0, 3), "f4", chunks=(2, 2), maxshape=(None, 3))

    assert agree(write(tmp_path / "layouts.h5", fill, **era)) == 10


def test_filters_that_pack_bits(tmp_path: Path) -> None:
    chance = np.random.default_rng(2)

    def fill(file: Any) -> None:
        common = {"chunks": (7, 3)}
        for code in ("i1", "i2", ">u4", "<i8"):
            values = chance.integers(-100 if code[-2] == "i" else 0, 100, (50, 3)).astype(code)
            file.create_dataset(f"whole/{code}", data=values, scaleoffset=0, **common)
            file.create_dataset(f"fill/{code}", data=values, scaleoffset=0, fillvalue=3, **common)
        file.create_dataset("whole/same", data=np.full((50, 3), 9), scaleoffset=0, **common)
        for code in ("f4", ">f8"):
            reals = chance.random((50, 3)).astype(code)
            file.create_dataset(f"real/{code}", data=reals, scaleoffset=3, **common)
        file.create_dataset("lzf", data=chance.integers(0, 3, (100, 30)), compression="lzf")
        type = h5py.h5t.STD_U32LE.copy()
        type.set_precision(20)
        type.set_offset(5)
        values = np.arange(9, dtype="u4") * 31
        raw_dataset(file, "bits", (9,), values, type, set_chunk=((5,),), set_filter=(5,))

    path = write(tmp_path / "bits.h5", fill)
    with persist.open(path) as file, h5py.File(path) as rival:
        for name in file.arrays:
            mine, theirs = np.asarray(file.arrays[name]), rival[name][()]
            np.testing.assert_array_equal(mine, theirs, name)
        assert len(file.arrays) >= 13


def test_nbit_of_compounds_and_arrays() -> None:
    # A compound of 5 bytes: 4 bits at bit 2 of a byte, and an array of two times 12 bits.
    atom, array = (1, 1, 0, 4, 2), (2, 4, 1, 2, 0, 12, 0)
    values = (0, 0, 2, 3, 5, 2, 0, *atom, 1, *array)
    stream = "0101" + "000000000001" + "100000000000" + "1111" + "111111111111" + "000000000010"
    data = int(stream, 2).to_bytes(len(stream) // 8, "big")
    made = nbit(data, values, 1000)
    assert made == bytes((5 << 2,)) + struct.pack("<HH", 1, 0x800) + bytes(
        (15 << 2,)
    ) + struct.pack("<HH", 0xFFF, 2)


def test_floats_of_odd_sizes(tmp_path: Path) -> None:
    values = np.array([0, 1, -2.5, 1e-3, np.inf, 1000, -0.0, 3e-6, np.nan])

    def fill(file: Any) -> None:
        type = h5py.h5t.IEEE_F32LE.copy()
        type.set_fields(20, 15, 5, 0, 15)
        type.set_precision(21)
        type.set_size(3)
        type.set_ebias(15)
        for name, order in (("little", h5py.h5t.ORDER_LE), ("big", h5py.h5t.ORDER_BE)):
            type.set_order(order)
            raw_dataset(file, name, values.shape, values, type)

    path = write(tmp_path / "floats.h5", fill)
    with persist.open(path) as file, h5py.File(path) as rival:
        for name in ("little", "big"):
            expected = rival[name].astype("f8")[()]
            np.testing.assert_array_equal(np.asarray(file.arrays[name]), expected)


def test_strings_end_as_their_padding_says(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        for name, pad in (("nul", h5py.h5t.STR_NULLTERM), ("pad", h5py.h5t.STR_NULLPAD),
                          ("space", h5py.h5t.STR_SPACEPAD)):  # fmt: skip
            type = h5py.h5t.C_S1.copy()
            type.set_size(6)
            type.set_strpad(pad)
            space = h5py.h5s.create_simple((3,))
            made = h5py.h5d.create(file.id, name.encode(), type, space)
            raw = {"nul": b"ab\0zzz" + b"cdefg\0" + bytes(6), "pad": b"ab\0\0\0\0cdefgh" + bytes(6),
                   "space": b"ab    cdefgh      "}[name]  # fmt: skip
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.frombuffer(raw, "S6"), type)

    with persist.open(write(tmp_path / "strings.h5", fill)) as file:
        assert np.asarray(file.arrays["nul"]).tolist() == [b"ab", b"cdefg", b""]
        assert np.asarray(file.arrays["pad"]).tolist() == [b"ab", b"cdefgh", b""]
        assert np.asarray(file.arrays["space"]).tolist() == [b"ab", b"cdefgh", b""]


@pytest.mark.parametrize("sizes", [(2, 2), (4, 4), (4, 8), (8, 4)])
def test_addresses_and_lengths_of_other_widths(tmp_path: Path, sizes: tuple[int, int]) -> None:
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_sizes(*sizes)
    path = tmp_path / "narrow.h5"
    made = h5py.h5f.create(str(path).encode(), h5py.h5f.ACC_TRUNC, creation)
    with h5py.File(made) as file:
        file["a/b"] = np.arange(12.0)
        file.create_dataset("c", data=np.arange(40), chunks=(7,), compression="gzip")
        file["t"] = np.array(["x", "yy"], object).astype(h5py.string_dtype())
    assert agree(path) == 3


def test_attributes_of_every_kind(tmp_path: Path, era: dict[str, Any]) -> None:
    def fill(file: Any) -> None:
        group = file.create_group("g")
        for number in range(60):  # more than 8 stand in a heap of their own
            group.attrs[f"a{number:02}"] = number
        group.attrs["text"], group.attrs["raw"] = "Säure", b"bytes"
        group.attrs["list"], group.attrs["names"] = ["x", "yy"], np.array([b"ab", b"c"])
        group.attrs["array"], group.attrs["flag"] = np.arange(12.0).reshape(3, 4), True
        group.attrs["empty"] = h5py.Empty("i4")
        file["d"] = np.zeros(2)
        file["d"].attrs["units"] = "m"
        if era["libver"] != "earliest":
            group.attrs["huge"] = np.arange(20_000.0)

    with persist.open(write(tmp_path / "attributes.h5", fill, **era)) as file:
        assert [int(file.scalars[f"g/@a{number:02}"]) for number in range(60)] == list(range(60))
        assert file.scalars["g/@text"] == "Säure"
        assert file.scalars["g/@raw"] == "bytes"
        assert file.scalars["g/@list/1"] == "yy"
        assert np.asarray(file.arrays["g/@names"]).tolist() == [b"ab", b"c"]
        assert (
            np.asarray(file.arrays["g/@array"]).tolist() == np.arange(12.0).reshape(3, 4).tolist()
        )
        assert bool(file.scalars["g/@flag"]) is True
        assert file.scalars["g/@empty"] is None
        assert file.scalars["d@units"] == "m"
        if era["libver"] != "earliest":
            assert np.asarray(file.arrays["g/@huge"]).tolist() == list(range(20_000))
        reported = json.loads(json.dumps(file.structure))
        assert reported["attributes"]["g"]["array"] == np.arange(12.0).reshape(3, 4).tolist()


def test_links_of_every_kind_within_the_file(tmp_path: Path, era: dict[str, Any]) -> None:
    def fill(file: Any) -> None:
        group = file.create_group("z")
        for number in range(300):  # several nodes of a tree, a heap of several blocks
            group[f"d{number:03}"] = np.full(3, number)
        file["soft"], file["gone"] = h5py.SoftLink("/z/d001"), h5py.SoftLink("/nowhere")
        file["soft of soft"] = h5py.SoftLink("soft")
        group["up"], file["zz"] = file["/"], group
        references = [group.ref, group["d002"].ref, h5py.Reference()]
        file["to"] = np.array(references, h5py.ref_dtype)
        file["part"] = np.array([group["d002"].regionref[1:]], h5py.regionref_dtype)
        file["type"] = np.dtype("f8")

    with persist.open(write(tmp_path / "links.h5", fill, **era)) as file:
        assert [int(file.arrays[f"z/d{number:03}"][0]) for number in range(300)] == list(range(300))
        assert file.tree["soft"] is file.tree["z"]["d001"] is file.tree["soft of soft"]
        assert "gone" not in file.tree
        assert file.structure["soft_links"]["gone"] == "/nowhere"
        assert file.tree["z"]["up"] is file.tree
        assert file.tree["zz"] is file.tree["z"]
        assert np.asarray(file.tree["to"]).tolist() == ["z", "z/d002", None]
        assert np.asarray(file.tree["part"])[0]["object"] == "z/d002"
        assert file.tree["type"] == np.dtype("f8")
        assert "z/up/soft" not in list(file.arrays)


def test_links_in_the_order_of_their_creation_where_it_is_kept(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        for name in "cab":
            file[name] = 1

    kept = write(tmp_path / "kept.h5", fill, track_order=True)
    lost = write(tmp_path / "lost.h5", fill)
    assert list(persist.open(kept).tree) == list("cab")
    assert list(persist.open(lost).tree) == list("abc")


def test_contiguous_data_is_a_map_and_chunks_are_read_by_row(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file["flat"] = np.arange(1000.0)
        file.create_dataset("one", data=np.arange(1000.0), chunks=(1000,))
        file.create_dataset("packed", data=np.arange(100_000.0), chunks=(1000,), compression="gzip")

    path = write(tmp_path / "lazy.h5", fill)
    with persist.open(path) as file:
        for name in ("flat", "one"):
            assert isinstance(file.arrays[name], np.ndarray)
            assert not file.arrays[name].flags.owndata
            assert not file.arrays[name].flags.writeable
        packed = file.arrays["packed"]
        assert not isinstance(packed, np.ndarray)
        assert packed[98_765:98_768].tolist() == [98765.0, 98766.0, 98767.0]
        assert packed._whole is None
        for _ in range(50):  # rows that are read again and again cost no budget
            packed[0:50_000]
    loaded = persist.load(path)
    loaded["flat"][0] = 7
    assert persist.open(path).arrays["flat"][0] == 0


def test_an_open_file_and_bytes_give_the_same() -> None:
    path = CORPUS / "hdf5" / "h5py-3.16-latest" / "net.h5"
    expected = json.loads((path.parent / "expected.json").read_text())["arrays"]
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes()), open(path, "rb")):  # noqa: SIM115
        with persist.open(source) as file:
            for name, reported in expected.items():
                assert list(np.asarray(file.arrays[name]).shape) == reported["shape"]
        if hasattr(source, "close"):
            source.close()


# What must not happen.


def test_nothing_leads_out_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret!!" * 4)
    other = write(tmp_path / "other.h5", lambda file: file.update(x=np.arange(4)))

    def linked(file: Any) -> None:
        file["good"], file["bad"] = 1, h5py.ExternalLink(str(other), "/x")

    def stored(file: Any) -> None:
        file["good"] = 1
        file.create_dataset("bad", (4,), "u8", external=[(str(tmp_path / "secret"), 0, 32)])

    def virtual(file: Any) -> None:
        file["good"] = 1
        layout = h5py.VirtualLayout((4,), "i8")
        layout[:] = h5py.VirtualSource(str(other), "x", (4,))
        file.create_virtual_dataset("bad", layout)

    for fill, words in ((linked, "link into another file"), (stored, "stored in another file"),
                        (virtual, "virtual dataset")):  # fmt: skip
        path = write(tmp_path / "bad.h5", fill)
        with pytest.raises(FormatError, match=words) as caught:
            persist.open(path)
        assert "bad" in str(caught.value)
        with persist.open(path, salvage=True) as file:
            assert list(file.arrays) == ["good"]
            assert len(file.damage) == 1


def test_a_shape_that_nothing_stands_behind_takes_no_memory(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file.create_dataset("bomb", (1 << 20, 1 << 20), "f8", chunks=(64, 64), compression="gzip")
        file.create_dataset("flat", (1 << 20, 1 << 20), "f8")
        file.create_dataset("text", (1 << 40,), h5py.string_dtype(), chunks=(1 << 10,))

    with persist.open(write(tmp_path / "bomb.h5", fill)) as file:
        for name in ("bomb", "flat", "text"):
            with pytest.raises(LimitError, match="bytes"):
                np.asarray(file.arrays[name])
        for name in ("bomb", "flat"):
            with pytest.raises(LimitError, match="bytes"):
                file.arrays[name][0 : 1 << 20]
            assert file.arrays[name][5:6].shape == (1, 1 << 20)
        assert file.arrays["text"][5:7].tolist() == ["", ""]


def test_a_filter_that_is_not_undone_is_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "dead.h5",
        lambda file: file.create_dataset(
            "x", data=np.arange(100), chunks=(50,), compression="gzip"
        ),
    )
    data = path.read_bytes()
    at = data.index(b"deflate")
    changed = bytearray(data)
    struct.pack_into("<H", changed, at - 8, 306)
    with persist.open(bytes(changed)) as file:
        assert "UCL" in file.damage[0]
        with pytest.raises(FormatError, match="filter 306, UCL") as caught:
            np.asarray(file.arrays["x"])
        assert "'x'" in str(caught.value)


@pytest.mark.parametrize("era", ["earliest", "latest"])
def test_a_file_that_is_cut_off_says_so(tmp_path: Path, era: str) -> None:
    def fill(file: Any) -> None:
        file["a"] = np.arange(10)
        file["b"] = np.arange(10_000)

    data = write(tmp_path / "cut.h5", fill, libver=era).read_bytes()
    with pytest.raises(DamagedFileError, match="truncated"):
        persist.open(data[:-5000])
    with persist.open(data[:-5000], salvage=True) as file:
        assert "truncated" in file.damage[0]


def test_a_wrong_checksum_of_data_and_of_metadata_is_reported(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file.create_dataset("x", data=np.arange(100), chunks=(100,), fletcher32=True)
        file.create_dataset("y", data=np.arange(7.0))

    path = write(tmp_path / "sums.h5", fill, libver="latest")
    data = path.read_bytes()
    at = data.index(np.arange(100).tobytes())
    changed = bytearray(data)
    changed[at + 8] ^= 1
    with persist.open(bytes(changed)) as file, pytest.raises(DamagedFileError, match="checksum"):
        np.asarray(file.arrays["x"])
    changed = bytearray(data)
    changed[data.index(b"OHDR") + 20] ^= 1
    with pytest.raises(DamagedFileError, match="checksum"):
        persist.open(bytes(changed))


def test_groups_that_all_name_one_table_keep_nobody_busy(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file.create_group("g")
        for number in range(200):
            file["g"].create_group(f"{number:04}")["up"] = file["g"]

    with persist.open(write(tmp_path / "web.h5", fill)) as file:
        assert file.tree["g"]["0007"]["up"]["0009"]["up"] is file.tree["g"]


def test_a_deep_file_ends(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        group = file
        for _ in range(1000):
            group = group.create_group("g")
        group["x"] = 1

    with persist.open(write(tmp_path / "deep.h5", fill)) as file:
        assert file.arrays["g/" * 1000 + "x"] == 1


def test_lookup3_is_that_of_its_author() -> None:
    assert lookup3(b"") == 0xDEADBEEF
    assert lookup3(b"Four score and seven years ago") == 0x17770551


SAMPLES = {
    path.parent.name: path.read_bytes() for path in sorted((CORPUS / "hdf5").glob("*/net.h5"))
}


def digest(data: bytes, **options: Any) -> None:
    """Read all of a file; damage may be reported, and nothing else."""
    try:
        with persist.open(data, **options) as file:
            for name in file.arrays:
                try:
                    np.asarray(file.arrays[name]).tobytes()
                except FormatError as error:
                    assert error.what
            for name in file.scalars:
                repr(file.scalars[name])
            json.dumps(file.structure)
    except FormatError as error:
        assert error.what


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.too_slow])
@given(
    sample=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    cut=st.none() | st.floats(0, 1),
    salvage=st.booleans(),
    verify=st.sampled_from([None, "never"]),
)
def test_damage_gives_a_tree_or_an_error_of_ours(
    sample: str, changes: list[tuple[float, int]], cut: float | None, salvage: bool, verify: Any
) -> None:
    data = bytearray(SAMPLES[sample])
    for place, value in changes:
        data[int(place * len(data))] = value
    end = len(data) if cut is None else int(cut * len(data))
    digest(bytes(data[:end]), salvage=salvage, verify=verify)
