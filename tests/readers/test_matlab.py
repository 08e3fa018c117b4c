"""MAT-files: genuine ones are compared with what SciPy found (corpus); here are the odd and the damaged."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matfiles import (
    CELL,
    CHAR,
    DOUBLE,
    OPAQUE,
    SPARSE,
    STRUCT,
    cells,
    file,
    level4,
    matrix,
    packed,
    part,
)

import persist
from persist.errors import (
    DamagedFileError,
    FormatError,
    LimitError,
    PersistError,
    UnknownFormatError,
)
from persist.tree import LazyArray, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "matlab"


def doubles(*values: float) -> bytes:
    return part(9, struct.pack(f"<{len(values)}d", *values))


def one(element: bytes) -> Any:
    """The value of the only variable."""
    return persist.open(file(element)).tree["a"]


def genuine(case: str) -> Any:
    return persist.open(next((CORPUS / case).glob("*.mat")))


def test_class_and_shape_of_each_variable_are_in_the_structure() -> None:
    structure = genuine("matlab-7.4-glnx86-struct-array").structure
    assert structure["level"] == 5
    assert structure["variables"] == {"teststructarr": {"class": "struct", "shape": [1, 2]}}
    structure = genuine("matlab-4.2c-sol2-multi").structure
    assert structure["level"] == 4
    assert list(structure["variables"]) == ["a", "theta"]


def test_the_writer_is_what_the_header_states() -> None:
    assert genuine("matlab-6.1-sol2-struct").writer == {"platform": "SOL2"}
    data = file(matrix(DOUBLE, (1, 1), doubles(1)))
    octave = b"MATLAB 5.0 MAT-file, written by Octave 5.2.0, 2020".ljust(116) + data[116:]
    assert persist.open(octave).writer == {"octave": "5.2.0"}


def test_functions_and_objects_are_named_and_the_rest_is_given() -> None:
    opened = genuine("matlab-2009a-glnxa64-anonymous")
    value = opened.tree["sqr"]
    assert isinstance(value, Record)
    assert value.qualname == "matlab.function_handle"
    assert opened.scalars["sqr/definition/function_handle/function"] == "sf%0@(x)x.^2"
    assert any("function_handle_workspace" in note for note in opened.notes)
    assert any("subsystem data" in note for note in opened.notes)
    head = (
        part(6, struct.pack("<II", OPAQUE, 0))
        + part(1, b"t")
        + part(1, b"MCOS")
        + part(1, b"table")
    )
    reference = matrix(13, (1, 1), part(6, struct.pack("<I", 7)), name=b"")
    opened = persist.open(file(part(14, head + reference), matrix(DOUBLE, (1, 1), doubles(2))))
    assert opened.tree["t"].qualname == "matlab.table"
    assert opened.tree["t"].reference.tolist() == [[7]]
    assert opened.arrays["a"].tolist() == [[2]]


def test_a_variable_without_any_bytes_is_damage() -> None:
    for data in (file(part(14, b"")), file(packed(part(14, b"")))):
        with pytest.raises(DamagedFileError, match="no name"):
            persist.open(data)


def test_subsystem_data_is_no_variable() -> None:
    first = matrix(DOUBLE, (1, 1), doubles(1))
    private = matrix(9, (1, 8), part(2, bytes(8)), name=b"")
    opened = persist.open(file(first, private, subsystem=128 + len(first)))
    assert list(opened.tree) == ["a"]
    assert "subsystem" in opened.notes[0]


@pytest.mark.parametrize("order", "<>")
def test_both_byte_orders_and_small_elements(order: str) -> None:
    small = struct.pack(f"{order}I", 2 << 16 | 3) + struct.pack(f"{order}hh", -2, 0)
    # As a number of 32 bits, the upper half is the length, whatever the byte order.
    opened = persist.open(file(matrix(DOUBLE, (1, 1), small, order=order), order=order))
    assert opened.arrays["a"].tolist() == [[-2]]
    assert opened.arrays["a"].dtype == np.float64
    assert opened.structure["byte_order"] == {"<": "little", ">": "big"}[order]


def test_a_large_compressed_array_is_inflated_on_first_use() -> None:
    values = np.arange(60_000.0).reshape(200, 300, order="F")
    data = file(packed(matrix(DOUBLE, (200, 300), doubles(*values.ravel(order="F")))))
    lazy = persist.open(data).tree["a"]
    assert isinstance(lazy, LazyArray)
    assert (lazy.shape, lazy.dtype) == ((200, 300), np.float64)
    assert np.array_equal(np.asarray(lazy), values)
    damaged = bytearray(data)
    damaged[-3] ^= 1  # the checksum of zlib
    with pytest.raises(DamagedFileError, match="compressed"):
        np.asarray(persist.open(bytes(damaged)).arrays["a"])
    with pytest.raises(DamagedFileError, match="compressed"):
        persist.open(bytes(damaged), verify="always")
    opened = persist.open(
        bytes(damaged + matrix(DOUBLE, (1, 1), doubles(1), name=b"b")), salvage=True
    )
    assert list(opened.tree) == ["b"]
    assert "variable 1" in opened.damage[0]


def test_logical_complex_and_integer_classes() -> None:
    value = one(matrix(9, (1, 3), part(2, b"\0\1\2"), flags=0x200))
    assert value.dtype == bool
    assert value.tolist() == [[False, True, True]]
    value = one(
        matrix(7, (1, 1), part(7, struct.pack("<f", 1)), part(7, struct.pack("<f", 2)), flags=0x800)
    )
    assert value.dtype == np.complex64
    assert value.tolist() == [[1 + 2j]]
    big = (1 << 62) + 1
    value = one(matrix(14, (1, 1), part(12, struct.pack("<q", big)), part(1, b"\5"), flags=0x800))
    assert value.qualname == "matlab.complex"
    assert (value.real.tolist(), value.imag.tolist()) == ([[big]], [[5]])
    with pytest.raises(DamagedFileError, match="beyond their class"):
        one(matrix(8, (1, 1), part(3, struct.pack("<h", 300))))


@pytest.mark.parametrize(
    ("shape", "stored", "expected"),
    [
        ((1, 3), part(16, "hé世".encode()), "hé世"),
        ((1, 2), part(16, "\U0001f600".encode()), "\U0001f600"),  # MATLAB counts UTF-16 units
        ((1, 1), part(16, "\U0001f600".encode()), "\U0001f600"),  # SciPy counts code points
        ((1, 2), part(17, "\U0001f600".encode("utf-16-le")), "\U0001f600"),
        ((1, 1), part(18, "\U0001f600".encode("utf-32-le")), "\U0001f600"),
        ((1, 2), part(4, "\U0001f600".encode("utf-16-le")), "\U0001f600"),
        ((1, 2), part(1, "hé".encode("latin-1")), "hé"),
        ((0, 0), part(4, b""), ""),
        ((2, 2), part(16, b"acbd"), ["ab", "cd"]),
        ((2, 0), part(4, b""), ["", ""]),
        ((2, 1, 2), part(4, "abcd".encode("utf-16-le")), [["ac"], ["bd"]]),
    ],
)
def test_characters_of_every_encoding(shape: Any, stored: bytes, expected: Any) -> None:
    value = one(matrix(CHAR, shape, stored))
    assert (value if isinstance(value, str) else value.tolist()) == expected


def test_characters_that_are_no_text_stay_numbers() -> None:
    lone = struct.pack("<2H", 0xD800, 65)
    assert one(matrix(CHAR, (1, 2), part(4, lone))).tolist() == [[0xD800, 65]]
    opened = persist.open(file(matrix(CHAR, (1, 2), part(16, b"\x80a"))))
    assert opened.tree["a"] == b"\x80a"
    assert "bytes" in opened.notes[0]


def test_cells_and_struct_arrays_by_index() -> None:
    numbers = [matrix(DOUBLE, (1, 1), doubles(n), name=b"") for n in range(6)]
    assert [item.item() for item in one(matrix(CELL, (1, 6), *numbers))] == [0, 1, 2, 3, 4, 5]
    grid = one(matrix(CELL, (2, 3), *numbers))
    assert grid.shape == (2, 3)
    assert grid[1, 2].item() == 5
    assert grid[0, 1].item() == 2  # columns first
    names = part(5, struct.pack("<i", 4)) + part(1, b"up\0\0up\0\0")
    opened = persist.open(file(matrix(STRUCT, (1, 2), names, *numbers[:4])))
    assert opened.arrays["a/1/up"].item() == 2
    assert opened.arrays["a/1/up~2"].item() == 3
    assert one(matrix(STRUCT, (0, 0), part(5, struct.pack("<i", 4)), part(1, b""))) == []
    assert one(matrix(CELL, (1, 1), part(14, b"")))[0].shape == (0, 0)


def test_a_name_that_occurs_twice_and_a_variable_without_one() -> None:
    first, second = (matrix(DOUBLE, (1, 1), doubles(n)) for n in (1, 2))
    opened = persist.open(file(first, second, matrix(DOUBLE, (1, 1), doubles(3), name=b"")))
    assert [array.item() for array in opened.tree.values()] == [1, 2, 3]
    assert list(opened.tree) == ["a", "a~2", ""]


def test_sparse_indices_must_fit() -> None:
    def matrix_of(rows: list[int], columns: list[int]) -> bytes:
        parts = [part(5, struct.pack(f"<{len(n)}i", *n)) for n in (rows, columns)]
        return matrix(SPARSE, (2, 2), *parts, doubles(*map(float, rows)))

    good = one(matrix_of([0, 1, 1], [0, 1, 2]))  # room for three, of which two are used
    assert (good.indices.tolist(), good.indptr.tolist()) == ([0, 1], [0, 1, 2])
    for rows, columns in (
        ([0, 2], [0, 1, 2]),
        ([0, 1], [0, 2, 1]),
        ([0, 1], [0, 1, 3]),
        ([0], [0, 1]),
    ):
        with pytest.raises(DamagedFileError, match="sparse"):
            one(matrix_of(rows, columns))


def test_a_cut_file_gives_its_whole_variables() -> None:
    first = matrix(DOUBLE, (1, 2), doubles(1, 2))
    data = file(first, packed(matrix(DOUBLE, (1, 1), doubles(3), name=b"b")))
    for cut in (data[:-5], data[:-30]):
        with pytest.raises(DamagedFileError, match="are left"):
            persist.open(cut)
        opened = persist.open(cut, salvage=True)
        assert opened.arrays["a"].tolist() == [[1, 2]]
        assert "variable 2" in opened.damage[0]
    broken = bytearray(file(first, matrix(DOUBLE, (1, 1), doubles(3), name=b"b")))
    broken[128 + 8 + 8] = 99  # the class
    with pytest.raises(DamagedFileError, match="class 99"):
        persist.open(bytes(broken))
    opened = persist.open(bytes(broken), salvage=True)
    assert list(opened.tree) == ["b"]
    assert "class 99" in opened.damage[0]
    with pytest.raises(UnknownFormatError, match="level 5 that is cut off"):
        persist.open(data[:100])


def test_depth_and_bytes_are_limited() -> None:
    deep = persist.open(file(cells(5_000)))
    assert deep.tree["a"]
    with pytest.raises(LimitError, match="nested") as caught:
        persist.open(file(cells(50)), limits={"depth": 40})
    assert "depth" in caught.value.remedy
    persist.open(file(cells(50)), limits={"depth": 60})
    zeros = file(packed(matrix(DOUBLE, (1, 1 << 20), part(9, bytes(8 << 20)))))
    with pytest.raises(LimitError, match="more than"):
        np.asarray(persist.open(zeros, limits={"total": 1 << 20}).arrays["a"])


@pytest.mark.parametrize("order", "<>")
def test_level_4_of_either_byte_order(order: str) -> None:
    machine = 1000 if order == ">" else 0
    numbers = struct.pack(f"{order}6d", *range(6))
    whole = level4(machine, (2, 3), numbers, order=order)
    text = level4(machine + 51, (2, 2), b"acbd", b"t", order=order)
    pair = level4(
        machine + 10, (1, 1), struct.pack(f"{order}2f", 1, 2), b"c", order=order, imaginary=1
    )
    opened = persist.open(whole + text + pair)
    assert opened.format == "matlab"
    assert opened.arrays["x"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert opened.tree["t"].tolist() == ["ab", "cd"]
    assert opened.arrays["c"].tolist() == [[1 + 2j]]
    with pytest.raises(DamagedFileError, match="are left"):
        persist.open((whole + text)[:-1])
    assert list(persist.open((whole + text)[:-1], salvage=True).tree) == ["x"]


def test_level_4_sparse_and_foreign_numbers() -> None:
    rows = np.array([[2, 1, 5.0], [1, 3, 7.0], [2, 3, 0]])
    opened = persist.open(level4(2, (3, 3), rows.tobytes(order="F")))
    value = opened.tree["x"]
    assert value["shape"] == (2, 3)
    assert (value.indices.tolist(), value.indptr.tolist()) == ([1, 0], [0, 1, 1, 2])
    for place, wrong in (((0, 0), 3.0), ((0, 1), 0.0), ((0, 0), 0.5), ((2, 1), np.nan)):
        bad = rows.copy()
        bad[place] = wrong
        with pytest.raises(DamagedFileError):
            persist.open(level4(2, (3, 3), bad.tobytes(order="F")))
    with pytest.raises(FormatError, match="VAX") as caught:
        persist.open(level4(2000, (1, 1), bytes(8)))
    assert not isinstance(caught.value, DamagedFileError)


def test_matlab_7_3_is_hdf5_and_named_so(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "v73.mat"
    with h5py.File(path, "w", userblock_size=512) as out:
        out["x"] = np.arange(3.0)
    data = bytearray(path.read_bytes())
    data[:128] = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
    opened = persist.open(bytes(data))
    assert opened.format == "hdf5"
    assert "MATLAB 7.3" in opened.claim


ATTACKS = {
    "wide cell": file(matrix(CELL, (1 << 30, 1 << 30))),
    "many empty structs": file(
        matrix(STRUCT, (1, 1 << 30), part(5, struct.pack("<i", 1)), part(1, b""))
    ),
    "zeros": file(packed(part(14, bytes(1 << 24)))),
    "claims of a compressed element": file(packed(struct.pack("<II", 14, 0xFFFFFFF8))),
    "axes": file(matrix(DOUBLE, ((1 << 31) - 1, 0, 1 << 30), part(9, b""))),
    "no numbers": file(matrix(DOUBLE, (1 << 30, 1 << 30), part(9, b""))),
    "many axes": file(matrix(DOUBLE, (1,) * 5000, doubles(1))),
    "blanks": file(matrix(CHAR, (1, 1 << 30), part(4, b""))),
    "empty rows": file(matrix(CHAR, (1 << 30, 0), part(4, b""))),
    "characters of 40 axes": file(matrix(CHAR, (1,) * 40, part(4, b"a\0"))),
    "fields without width": file(
        matrix(STRUCT, (1, 1), part(5, struct.pack("<i", 0)), part(1, b"abc"))
    ),
    "columns": level4(2, (1, 3), struct.pack("<3d", 1, 2**31 - 1, 0)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_a_file_claims_is_bounded(name: str) -> None:
    try:
        opened = persist.open(ATTACKS[name], limits={"total": 1 << 26})
        sizes = [np.asarray(array).size for array in opened.arrays.values()]
    except PersistError as error:
        assert str(error)
    else:
        assert all(size < 100 for size in sizes)


def test_no_module_named_matlab_is_recommended() -> None:
    corpus = Path(__file__).parents[1] / "corpus" / "matlab"
    path = corpus / "matlab-6.5.1-glnx86-object" / "testobject_6.5.1_GLNX86.mat"
    with pytest.warns(UserWarning, match="MATLAB alone") as caught:
        persist.load(path)
    assert not any("import matlab" in str(one.message) for one in caught)
