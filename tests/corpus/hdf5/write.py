"""Write one content in the layouts of two eras, and what h5py itself finds in it. Run with h5py 3.16, HDF5 2.0."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np

here = Path(__file__).parent


def fill(file: h5py.File) -> None:
    chance = np.random.default_rng(7)
    numbers = chance.integers(0, 100, (9, 5)).astype("<f4")
    file.attrs["epoch"] = np.int64(12)
    file.attrs["comment"] = "second run, Säure"
    group = file.create_group("net/dense")
    group.create_dataset("W", data=numbers)
    group["W"].attrs["units"] = "1"
    group.create_dataset("b", data=numbers[0].astype(">f8"), chunks=(2,), maxshape=(None,))
    group.create_dataset("mask", data=numbers > 50, compression="gzip", shuffle=True, chunks=(4, 5))
    group.create_dataset("never", (3, 2), "i4", fillvalue=-7)
    file["same"] = h5py.SoftLink("/net/dense/W")
    file["labels"] = np.array([b"ab", b"cdef", b""])
    file["z"] = np.array([1 + 2j, -1j])


def digest(array: np.ndarray) -> dict:
    little = array.astype(array.dtype.newbyteorder("<"))
    return {
        "dtype": little.dtype.name if little.dtype.kind != "S" else little.dtype.str,
        "shape": list(array.shape),
        "sha256": hashlib.sha256(little.tobytes()).hexdigest(),
    }


ERAS = {
    "h5py-3.16-as-of-1.6": {"libver": "earliest"},
    "h5py-3.16-latest": {"libver": "latest", "track_order": True, "userblock_size": 512},
}
PATHS = ["net/dense/W", "net/dense/b", "net/dense/mask", "net/dense/never", "same", "labels", "z"]

for case, options in ERAS.items():
    (here / case).mkdir(exist_ok=True)
    with h5py.File(here / case / "net.h5", "w", **options) as file:
        fill(file)
        arrays = {path: digest(file[path][()]) for path in PATHS}
    told = {
        "file": "net.h5",
        "format": "HDF5",
        "written_by": {"h5py": h5py.__version__, "hdf5": h5py.version.hdf5_version},
        "what": f"groups, attributes, links, chunks and filters, with {options}",
        "arrays": arrays,
        "scalars": {"@epoch": 12, "@comment": "second run, Säure", "net/dense/W@units": "1"},
    }
    text = json.dumps(told, indent=1, ensure_ascii=False)
    (here / case / "expected.json").write_text(text + "\n")
