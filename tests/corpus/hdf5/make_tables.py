"""Write arrays and a table through PyTables' compressors, and what PyTables reads back.

    python make_tables.py FOLDER COMPLIB...

PyTables 3.5.2 (Python 2.7, HDF5 1.10.2): lzo, bzip2, blosc:snappy; 3.11.1 (Python 3.11, HDF5 1.14.6):
blosc2, blosc2:lz4, blosc2:zlib, blosc2:zstd.
"""

import hashlib
import io
import json
import os
import sys

import numpy as np
import tables

chance = np.random.RandomState(3)


def walk(*shape):
    return np.cumsum(chance.randint(-3, 4, shape), 0)


def fill(file, complib):
    for name, filters in (
        ("fast", tables.Filters(1, complib, shuffle=True)),
        ("best", tables.Filters(9, complib, shuffle=False, fletcher32=True)),
    ):
        group = file.create_group("/", name)
        file.create_carray(group, "i4", obj=walk(60, 7).astype("i4"), filters=filters)
        file.create_carray(
            group, "i2", obj=walk(9, 8, 7).astype("i2"), filters=filters, chunkshape=(4, 3, 5)
        )
        file.create_carray(group, "chance", obj=chance.rand(300), filters=filters)
        file.create_carray(group, "zeros", obj=np.zeros((100, 4)), filters=filters)
        grown = file.create_earray(
            group, "grown", tables.Int64Atom(), (0, 3), filters=filters, chunkshape=(64, 3)
        )
        grown.append(walk(150, 3))
        kind = np.dtype([("step", "i4"), ("loss", "f8", (2,)), ("name", "S5")])
        rows = np.zeros(200, kind)
        rows["step"] = np.arange(200)
        rows["loss"] = walk(200, 2) / 4.0
        rows["name"] = b"ab"
        table = file.create_table(group, "log", kind, filters=filters, chunkshape=(64,))
        table.append(rows)


def main(folder, complibs):
    for complib in complibs:
        python = "%d%d" % sys.version_info[:2]
        parts = (tables.__version__, python, complib.replace(":", "-"))
        path = os.path.join(folder, "pytables-%s-py%s-%s" % parts)
        os.makedirs(path)
        with tables.open_file(os.path.join(path, "run.h5"), "w") as file:
            fill(file, complib)
        arrays = {}
        with tables.open_file(os.path.join(path, "run.h5")) as file:
            for leaf in file.walk_nodes("/", "Leaf"):
                array = np.ascontiguousarray(leaf.read())
                arrays[leaf._v_pathname[1:]] = {
                    "dtype": array.dtype.name if array.dtype.names is None else str(array.dtype),
                    "shape": list(array.shape),
                    "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
                }
        told = {
            "file": "run.h5",
            "what": "arrays and a table that PyTables compressed by " + complib,
            "written_by": "PyTables %s, HDF5 %s" % (tables.__version__, tables.hdf5_version),
            "arrays": arrays,
            "scalars": {},
        }
        with io.open(os.path.join(path, "expected.json"), "w", encoding="utf-8") as out:
            out.write(u"%s\n" % json.dumps(told, indent=1, sort_keys=True))


main(sys.argv[1], sys.argv[2:])
