"""Text of a file that NumPy's parser of dtypes should never see: it could end the interpreter."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from attacks import P, attack, container, named, npy, text

from persist._wire.base import dtype_text

# A divisor of zero ends the interpreter at once, a multiple of zero when a value is printed.
CODES = ["<M8[s/0]", "m8[D/0]", "<M8[0s]", "m8[4294967296s]", "<M8[s/2]", "M8[25s/1]"]


def pickled(code: str) -> bytes:
    made = named("numpy.dtype") + text(code) + b"K\x00K\x01\x87R"
    state = b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return P + made + state + b"."


def unit(*parts: int) -> bytes:
    """A pickled dtype whose state gives (unit, multiple, divisor, events)."""
    made = named("numpy.dtype") + text("M8") + b"K\x00K\x01\x87R(K\x04" + text("<")
    made += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00}("
    made += text("s") + b"".join(b"K" + bytes([part]) for part in parts) + b"t\x86tb"
    array = named("numpy.core.multiarray._reconstruct") + named("numpy.ndarray")
    array += b"K\x00\x85C\x01b\x87R(K\x01K\x01\x85" + made + b"\x89C\x08abcdefghtb"
    return P + array + b"."


def test_a_unit_of_zero_ends_nothing(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for index, code in enumerate(CODES):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("a.npy", npy(repr(code)))
        files |= {
            f"npy {index}": npy(repr(code)),
            f"npy field {index}": npy(f"[('a', {code!r})]"),
            f"npy subarray {index}": npy(f"[('a', ({code!r}, (1,)))]"),
            f"npz {index}": archive.getvalue(),
            f"pickled {index}": pickled(code),
            f"scalar {index}": container([["scalar", code, "00" * 8]]),
            f"view {index}": container([0, ["view", 0, code, None, None, 0]]),
            f"described {index}": container(
                [["dtype", {"fields": [["a", code, 0, None]], "size": 8, "aligned": False, "record": False}]]
            ),
            f"yaml{index}.yaml": (
                "backend: tensorflow\nclass_name: Sequential\nconfig:\n"
                f"- &a !!python/object/apply:numpy.dtype\n  args: ['{code}', 0, 1]\n"
            ).encode(),
        }  # fmt: skip
    files |= {f"unit {parts}": unit(*parts) for parts in ((1, 0, 1), (0, 1, 1), (1, 1, 0))}
    reports = attack(tmp_path, files)
    for name, report in reports.items():
        if name.startswith(("npy", "npz", "scalar", "view", "described")):
            assert report.steps["load"] == "DamagedFileError", (name, report)


def test_a_unit_in_hdf5_ends_nothing(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    files = {}
    for index, code in enumerate(CODES):
        path = tmp_path / "made.h5"
        with h5py.File(path, "w") as file:
            kind = h5py.h5t.create(h5py.h5t.OPAQUE, 8)
            kind.set_tag(f"NUMPY:{code}".encode())
            space = h5py.h5s.create_simple((2,))
            h5py.h5d.create(file.id, b"x", kind, space)
        files[f"opaque{index}.h5"] = path.read_bytes()
    attack(tmp_path, files)


@pytest.mark.parametrize(
    "code",
    [*CODES, "f8,i4", "(2,3)f8", "{'a': 'f8'}", "S4294967296", "U1000000000", "V99999999999", "f8 ",
     "M8[s]x", "", "f" * 60, "os.system", "M8[hours]"],
)  # fmt: skip
def test_the_grammar_refuses(code: str) -> None:
    with pytest.raises(ValueError, match="dtype"):
        dtype_text.from_text(code)


@pytest.mark.parametrize(
    ("code", "meant"),
    [("<f8", "f8"), ("|b1", "?"), ("O4", "O"), ("|O8", "O"), ("a5", "S5"), ("<M8[25s]", "M8[25s]"),
     ("m8", "m8"), ("M8[generic]", "M8"), ("float32", "f4"), ("bool", "?"), ("<U7", "U7"),
     ("datetime64[ns]", "M8[ns]"), ("|V0", "V0"), ("<m8[D]", "m8[D]"), ("?", "?")],
)  # fmt: skip
def test_the_grammar_takes_what_numpy_and_python_2_write(code: str, meant: str) -> None:
    assert dtype_text.from_text(code) == np.dtype(meant)


def test_every_dtype_that_numpy_writes_is_taken() -> None:
    units = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"]
    known = [np.dtype(code) for code in "?bBhHiIlLqQefdgFDGSUVO"]
    known += [np.dtype(f"{kind}8[{n}{unit}]") for kind in "mM" for n in (1, 25) for unit in units]
    for dtype in [*known, *(dtype.newbyteorder() for dtype in known)]:
        assert dtype_text.from_text(dtype.str) == dtype


def test_fields_and_nesting_are_bounded(tmp_path: Path) -> None:
    deep = "'<f8'"
    for _ in range(40):
        deep = f"[('a', {deep})]"
    many = "[" + ", ".join(f"('a{index}', '<f8')" for index in range(70_000)) + "]"
    reports = attack(
        tmp_path,
        {
            "deep": npy(deep),
            "many": npy(many),
            "shape": npy("('<f8', (4294967296, 4294967296))"),
            "size": container(
                [["dtype", {"fields": [], "size": 1 << 62, "aligned": False, "record": False}]]
            ),
            "name": container([["dtype", {"name": "ml_dtypes.finfo"}]]),
        },
    )
    for name in ("deep", "many", "shape", "size", "name"):
        assert reports[name].is_refused("load"), (name, reports[name])


def test_honest_structures_are_read(tmp_path: Path) -> None:
    kind = [(f"f{index}", "<f4", (2,)) for index in range(2000)]
    rows = np.zeros(3, kind)
    rows["f7"] = 7
    np.save(tmp_path / "a.npy", rows)
    import persist

    found = persist.load(tmp_path / "a.npy")
    assert found.dtype == rows.dtype
    assert (found["f7"] == 7).all()
