"""Read a container that persist wrote, with Python's standard library and NumPy alone.

    python read_without_persist.py FILE [PATH]    # shows what is in it, or the value at PATH

`read(path)` returns the tree: plain values and arrays as they are, records (objects of classes) as a dict
with "class", "version" and "state", values of rarer kinds as the tuple of their node. Sharing and cycles
are kept. The format is specified in container.md. Copy this file next to your data.
"""

# fmt: off
# ruff: noqa: B905, E401, I001, RUF012
import io, itertools, json, struct, sys, zipfile

import numpy as np


class Container:
    def __init__(self, path):
        self.archive = zipfile.ZipFile(path)  # checks CRC-32 of each member when it is read
        self.manifest = json.loads(self.archive.read("manifest.json"))
        if self.manifest["format"] != "persist" or self.manifest["version"] not in (1, 2):
            raise ValueError(f"this is no container of version 1 or 2: {path}")
        self.graph = json.loads(self.archive.read("graph.json"))
        self.names, self.members, self.built = self.archive.namelist(), {}, {}
        self.layouts, self.shapes, self.nodes = (self.graph[key] for key in ("layouts", "shapes", "nodes"))

    def member(self, number):
        if number not in self.members:  # compressed with Zstandard, method 93: Python 3.14
            data = io.BytesIO(self.archive.read(self.names[number]))
            self.members[number] = np.lib.format.read_array(data)
        return self.members[number]  # all views of it share its memory
    def value(self, cell):
        """A plain value, or [n]: that of node n. Parts stand before wholes, but in cycles."""
        if isinstance(cell, list) and cell[0] not in self.built:
            self.make(cell[0], self.nodes[cell[0] - self.first])
        return self.built[cell[0]] if isinstance(cell, list) else cell
    def values(self, cells):
        return [self.value(cell) for cell in cells]
    def run(self, start, count):
        return self.values([n] for n in range(start, start + count))
    def dtype(self, said):
        said = self.value(said)
        return said if isinstance(said, np.dtype) else self.make_dtype(said)
    def make_dtype(self, said):
        if isinstance(said, str):
            return np.dtype(said)
        if "fields" in said:
            names, dtypes, offsets, titles = map(list, zip(*said["fields"])) if said["fields"] else ([], [], [], [])
            parts = {"names": names, "formats": [self.dtype(one) for one in dtypes], "offsets": offsets}
            more = {"titles": titles} if any(titles) else {}
            made = np.dtype({**parts, **more, "itemsize": said["size"]}, align=said["aligned"])
            return np.dtype((np.record, made)) if said.get("record") else made
        if "base" in said:
            return np.dtype((self.dtype(said["base"]), tuple(said["shape"])))
        if "string" in said:
            missing = {"na_object": self.value(said["missing"])} if "missing" in said else {}
            return np.dtypes.StringDType(coerce=said["string"], **missing)
        return np.dtype("V2" if said["name"].endswith("16") else "V1")  # the bits of ml_dtypes
    def view(self, number, dtype, shape, strides, offset):
        data = self.member(number)
        order = "F" if shape is None and not data.flags.c_contiguous else "C"
        dtype, shape = data.dtype if dtype is None else self.dtype(dtype), data.shape if shape is None else shape
        return np.ndarray(shape, dtype, data.ravel("K").view("u1"), offset, strides, order)
    def filled(self, made, places, cells):
        for at, cell in zip(places, cells):
            made[at] = self.value(cell)
        return made
    def fields(self, dtype, shape, *cells):
        return self.filled(np.empty(shape, self.dtype(dtype)), self.dtype(dtype).names, cells)
    def make(self, n, node):
        kind, *cells = ("member", node) if isinstance(node, int) else node[node[0] == "late":]
        if kind in ("list", "deque"):  # containers are there before what is in them
            self.built[n] = made = []
            made.extend(self.values(cells[kind == "deque":]))
        elif kind in ("dict", "map", "Counter", "defaultdict", "OrderedDict"):
            self.built[n] = made = {}
            cells = cells[kind in ("defaultdict", "OrderedDict"):]
            keys = self.layouts[cells[0]] if kind == "dict" else self.values(cells[::2])
            made.update(zip(keys, self.values(cells[1:] if kind == "dict" else cells[1::2])))
        elif kind == "record":
            self.built[n] = made = {**self.shapes[cells[0]], "state": {}}
            made["state"].update(zip(self.layouts[made["fields"]], self.values(cells[1:])))
        elif kind == "object":
            self.built[n] = made = {**self.shapes[cells[0]], "state": {}}
            made.update(zip(("args", "kwargs", "listitems", "dictitems", "state"), self.values(cells[1:])))
        elif kind == "objects":
            self.built[n] = made = np.empty(cells[0], object)
            self.filled(made, np.ndindex(*cells[0]), cells[2:])
        else:
            self.built[n] = self.column([kind, *cells])

    kinds = {
        "member": member, "view": view, "dtype": make_dtype, "fields": fields, "listrun": run,
        "int": lambda self, text: int(text, 16),
        "float": lambda self, text: struct.unpack(">d", bytes.fromhex(text))[0],
        "complex": lambda self, a, b: complex(*struct.unpack(">dd", bytes.fromhex(a + b))),
        "str": lambda self, text: bytes.fromhex(text).decode("utf-8", "surrogatepass"),
        "bytes": lambda self, d: bytes.fromhex(d) if isinstance(d, str) else self.member(d).tobytes(),
        "bytearray": lambda self, d: bytearray(self.kinds["bytes"](self, d)),
        "tuple": lambda self, *c: tuple(self.values(c)), "set": lambda self, *c: set(self.values(c)),
        "frozenset": lambda self, *c: frozenset(self.values(c)), "range": lambda self, *c: range(*c),
        "slice": lambda self, *c: slice(*self.values(c)), "stateof": lambda self, c: self.value(c)["state"],
        "scalar": lambda self, dtype, text: np.frombuffer(bytes.fromhex(text), self.dtype(dtype))[0],
        "str_": value, "bytes_": lambda self, text: bytes.fromhex(text), "matrix": value, "recarray": value,
        "void": lambda self, c: self.value(c)[()],
        "array.array": lambda self, code, d: d if isinstance(d, str) else self.member(d),
        "strings": lambda self, dtype, shape, *c: self.filled(
            np.empty(shape, self.dtype(dtype)), np.ndindex(*shape), c),
        "masked": lambda self, data, mask, fill, hard: np.ma.MaskedArray(
            self.value(data), np.ma.nomask if mask is None else self.value(mask), hard_mask=hard,
            fill_value=None if fill is None else self.value(fill)[()]),
        "dictrun": lambda self, keys, *c: dict(zip(self.layouts[keys], self.run(*c))),
        # columns of tables (section 11)
        "cells": lambda self, *c: self.values(c), "same": lambda self, c: itertools.repeat(self.value(c)),
        "run": run, "numbers": lambda self, m: self.member(m).tolist(), "text": lambda self, m: self.member(m).tolist(),
        "refs": lambda self, m: self.values(None if n < 0 else [n] for n in self.member(m).tolist()),
        "tuples": lambda self, *parts: zip(*map(self.column, parts)),
    }
    def column(self, said):
        kind, *parts = said
        return self.kinds[kind](self, *parts) if kind in self.kinds else (kind, *self.values(parts))
    def tree(self):
        """Rows of tables have the first numbers, then arrays of blocks, lists, and the nodes."""
        tables, lists, blocks = (self.graph.get(key, []) for key in ("tables", "lists", "blocks"))
        rows = [[{**self.shapes[t["shape"]], "state": {}} for _ in range(t["count"])] for t in tables]
        many = [[[] for _ in range(group["count"])] for group in lists]
        small = (self.member(m)[i, ...] for m, count in blocks for i in range(count))
        self.built.update(enumerate(itertools.chain(*rows, small, *many)))
        self.first = len(self.built)
        self.run(self.first, len(self.nodes))
        for group, own in zip(lists, many):
            lengths, items = self.column(group["lengths"]), iter(self.column(group["items"]))
            for made, length in zip(own, lengths):
                made.extend(itertools.islice(items, length))
        for table, own in zip(tables, rows):
            for name, said in zip(self.layouts[self.shapes[table["shape"]]["fields"]], table["columns"]):
                for row, value in zip(own, self.column(said)):
                    row["state"][name] = value
        return self.value(self.graph["root"])


def read(path):
    return Container(path).tree()

if __name__ == "__main__":
    found = read(sys.argv[1])
    for step in filter(None, "".join(sys.argv[2:3]).split("/")):
        found = found[step] if isinstance(found, dict) else found[int(step)]
    print(found)
