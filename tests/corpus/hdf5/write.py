"""Write one content in the layouts of two eras, then filters of others, and what h5py itself finds.

Run with h5py 3.16 and HDF5 2.0; the filters come from hdf5plugin 7.1.
"""

import hashlib
import json
from pathlib import Path

import h5py
import hdf5plugin
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


def walk(*numbers: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(3).integers(-3, 4, numbers), 0)


def filtered(file: h5py.File) -> None:
    """What PyTables, detectors and the archives of satellites write."""
    for name in ("u1", "i2", "f8", ">i4"):
        data = walk(50, 6).astype(name)
        told = f"{name.replace('>', 'big-')}"
        for coding in ("nn", "ec"):
            options = {"compression": "szip", "compression_opts": (coding, 8)}
            file.create_dataset(f"szip/{told}-{coding}", data=data, chunks=(20, 6), **options)
        for codec in ("none", "lz4", "zstd"):
            options = hdf5plugin.Bitshuffle(cname=codec)
            file.create_dataset(f"bitshuffle/{told}-{codec}", data=data, chunks=(27, 6), **options)
        for codec in ("blosclz", "lz4", "zlib", "zstd"):
            for shuffle in range(3):
                options = hdf5plugin.Blosc(cname=codec, shuffle=shuffle)
                file.create_dataset(
                    f"blosc/{told}-{codec}-{shuffle}", data=data, chunks=(32, 6), **options
                )
    chance = np.random.default_rng(5)
    for name, more in (("szip", {"compression": "szip"}), ("blosc", hdf5plugin.Blosc())):
        file.create_dataset(
            f"{name}/noise", data=chance.standard_normal((4, 70)), chunks=(2, 70), **more
        )
        file.create_dataset(f"{name}/zeros", data=np.zeros(5000, "f4"), chunks=(2500,), **more)
    file.create_dataset(
        "szip/odd", data=walk(33, 7).astype("u2"), chunks=(10, 5), compression="szip"
    )
    long = walk(20_000).astype("i4") // 16
    file.create_dataset("blosc/long", data=long, chunks=(15_000,), **hdf5plugin.Blosc("blosclz", 9))


with h5py.File(here / "h5py-3.16-filters" / "filters.h5", "w", libver="latest") as file:
    filtered(file)
    arrays = {}
    file.visititems(
        lambda name, item: (
            arrays.update({name: digest(item[()])}) if hasattr(item, "dtype") else None
        )
    )
    told = {
        "file": "filters.h5",
        "format": "HDF5",
        "written_by": {"h5py": h5py.__version__, "hdf5plugin": hdf5plugin.version},
        "what": "chunks by SZIP, Blosc (each codec, each shuffle) and bitshuffle",
        "arrays": arrays,
        "scalars": {},
    }
    (here / "h5py-3.16-filters" / "expected.json").write_text(json.dumps(told, indent=1) + "\n")

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
