# -*- coding: utf-8 -*-
"""Write one shelf in each kind of database, and what `shelve` itself finds in it.

    python write.py FLAVOUR FOLDER

`dumb`, `ndbm`, `gdbm`, `gdbm-compat`, `sqlite3` and Python 2's `hash`, `btree` (module `bsddb`, or
`bsddb3`, its later name). Python 2.7 and 3.6 to 3.13 with the NumPy of their time; `gdbm-compat`
calls the ndbm of GNU's library by ctypes; `bsd` and `bsd-small` are the ndbm of 4.4BSD and macOS,
by the program that hash185.c makes (named by the variable HASH185).
"""

import ctypes
import hashlib
import io
import json
import os
import pickle
import shelve
import struct
import subprocess
import sys

import numpy as np

try:
    text = unicode
except NameError:
    text = str


class Gnu(object):
    """GNU's `libgdbm_compat`, as a Python linked against it has it in `dbm.ndbm`."""

    class Datum(ctypes.Structure):
        _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_int)]

    def __init__(self, path):
        self.lib = ctypes.CDLL("libgdbm_compat.so.4")
        self.lib.dbm_open.restype = ctypes.c_void_p
        self.file = ctypes.c_void_p(self.lib.dbm_open(path.encode(), os.O_RDWR | os.O_CREAT, 0o644))
        self.lib.dbm_store.argtypes = [ctypes.c_void_p, self.Datum, self.Datum, ctypes.c_int]
        self.known = {}

    def __setitem__(self, key, value):
        self.known[key] = value
        self.lib.dbm_store(self.file, self.Datum(key, len(key)), self.Datum(value, len(value)), 1)

    def __getitem__(self, key):
        return self.known[key]

    def keys(self):
        return list(self.known)

    def close(self):
        self.lib.dbm_close(self.file)


class Bsd(dict):
    """The ndbm of 4.4BSD, on large pages or on small ones of the other byte order."""

    def __init__(self, path, *options):
        dict.__init__(self)
        self.command = [os.environ["HASH185"], path + ".db"] + list(options)
        self.log = []

    def __setitem__(self, key, value):
        dict.__setitem__(self, key, value)
        self.log.append(struct.pack("<2I", len(key), len(value)) + key + value)

    def __delitem__(self, key):
        dict.__delitem__(self, key)
        self.log.append(struct.pack("<2I", len(key) | 1 << 31, 0) + key)

    def close(self):
        subprocess.run(self.command, input=b"".join(self.log), check=True)


def opened(flavour, path):
    if flavour in ("bsd", "bsd-small"):
        return Bsd(path, *(["512", "4321"] if flavour == "bsd-small" else []))
    if flavour == "dumb":
        try:
            import dbm.dumb as dumb
        except ImportError:
            import dumbdbm as dumb
        return dumb.open(path, "n")
    if flavour == "ndbm":
        import dbm.ndbm

        return dbm.ndbm.open(path, "n")
    if flavour == "gdbm":
        import dbm.gnu

        return dbm.gnu.open(path, "n")
    if flavour == "sqlite3":
        import dbm.sqlite3

        return dbm.sqlite3.open(path, "n")
    if flavour == "gdbm-compat":
        return Gnu(path)
    import bsddb3

    return {"hash": bsddb3.hashopen, "btree": bsddb3.btopen}[flavour](path, "n")


def contents():
    chance = np.random.RandomState(5)
    yield "config", {"lr": 0.01, "layers": [8, 4], "name": "mlp", "tag": None}
    yield "weights", chance.standard_normal((40, 30))  # larger than a page of any kind
    yield "labels", np.array(["a", "bc", ""])
    yield "best", (3, 0.25)
    yield u"s\u00e4ure", "acid"
    yield "k" * 70, True
    for step in range(60):
        yield "step/%d" % step, {"loss": 1.0 / (step + 1), "state": chance.randint(0, 9, 3)}


def flat(name, value, arrays, scalars):
    if isinstance(value, np.ndarray):
        little = value.astype(value.dtype.newbyteorder("<"))
        arrays[name] = {"dtype": value.dtype.name, "shape": list(value.shape)}
        if value.dtype.kind in "SU":
            arrays[name]["values"] = [text(item) for item in value.tolist()]
            arrays[name]["dtype"] = value.dtype.str
        else:
            arrays[name]["sha256"] = hashlib.sha256(little.tobytes()).hexdigest()
    elif isinstance(value, dict):
        for key in value:
            flat("%s/%s" % (name, key), value[key], arrays, scalars)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            flat("%s/%d" % (name, index), item, arrays, scalars)
    else:
        scalars[name] = value


def main(flavour, folder):
    os.makedirs(folder)
    path = os.path.join(folder, "run")
    shelf = shelve.Shelf(opened(flavour, path), protocol=2)
    for key, value in contents():
        shelf[key.encode("utf-8") if sys.version_info[0] == 2 else key] = value
    if flavour != "gdbm-compat":
        del shelf["step/7"]
    arrays, scalars = {}, {}
    for key in sorted(shelf.keys()):
        name = key.decode("utf-8") if isinstance(key, bytes) else key
        flat(name, shelf[key], arrays, scalars)
    shelf.close()
    version = "%d.%d.%d" % sys.version_info[:3]
    library = {"bsd": "the hash of DB 1.85, as newlib 3.3.0 has it"}.get(flavour[:3], flavour)
    told = {
        "file": "run.db" if os.path.exists(path + ".db") else "run",
        "what": "a shelf of an experiment: settings, an array larger than a page, 60 steps",
        "written_by": "shelve of Python %s, %s, NumPy %s" % (version, library, np.__version__),
        "arrays": arrays,
        "scalars": scalars,
    }
    with io.open(os.path.join(folder, "expected.json"), "w", encoding="utf-8") as file:
        file.write(text(json.dumps(told, indent=1, sort_keys=True)) + u"\n")


main(*sys.argv[1:])
