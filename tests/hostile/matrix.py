"""Which class of attack is tried on which reader, and why not where it is not.

`HOLDS` states what the files of each reader can hold. An attack upon a pickle applies where there can be one; a cell
of the table without an attack that should have one, or with one that should not, fails a test.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["HOLDS", "KINDS", "Kind", "faults", "table"]


class Kind(NamedTuple):
    """A class of attacks.

    Attributes:
        title: of its column.
        needs: what a file must hold, one of these; empty for any file.
        attacks: their names in `of_readers.CHANGES`.
    """

    title: str
    needs: frozenset[str]
    attacks: frozenset[str]


def _pickles(*names: str) -> frozenset[str]:
    return frozenset(f"pickle that {name}" for name in names)


_PICKLE, _ANY = frozenset(("pickle",)), frozenset[str]()

KINDS = (
    Kind("functions called", frozenset(("pickle", "names")), _pickles("calls", "opens to write", "imports", "functions of libraries", "keywords")
         | {"functions in JSON or YAML", "tags of Python in YAML", "lambda layers"}),
    Kind("attributes reached", _PICKLE, _pickles("dotted names", "attributes by getattr")),
    Kind("names near listed ones", _PICKLE, _pickles("names below listed ones", "names that begin as listed ones")),
    Kind("states set", _PICKLE, _pickles("state on a function", "class swapped")),
    Kind("extension codes", _PICKLE, _pickles("extension")),
    Kind("calls hidden", _PICKLE, _pickles("calls that are dropped", "a second pickle", "memo changed under a name", "frame that lies")),
    Kind("damage after a call", _PICKLE, _pickles("a call before damage")),
    Kind("envelopes", _PICKLE, _pickles("envelopes and constants")),
    Kind("sharing, depth", _PICKLE, _pickles("laughs", "laughing lists", "complete graph", "deep", "deep key", "sets in sets")),
    Kind("lengths, numbers, hashes", _PICKLE, _pickles("memo without end", "lengths without end", "buffer without end", "huge integers", "colliding keys")),
    Kind("archives of two meanings", frozenset(("zip",)),
         frozenset(("another name in a local header", "encrypted by its flags", "all members are the first", "another checksum", "members twice"))),
    Kind("members that lead out", frozenset(("zip", "tar")), frozenset(("members that climb out", "TAR that climbs out"))),
    Kind("archives that swell", frozenset(("zip",)), frozenset(("members of 2 GiB", "20,000 members more"))),
    Kind("an older protocol", frozenset(("protocol",)), frozenset(("an older protocol",))),
    Kind("NPY headers", frozenset(("npy",)), frozenset(
        ("NPY of a negative shape", "NPY of a shape beyond 64 bits", "NPY of a shape without data", "NPY of moments divided by zero",
         "NPY of huge items", "NPY header without end", "NPY header of code"))),
    Kind("HDF5 links", frozenset(("hdf5",)), frozenset(("links in HDF5",))),
    Kind("JSON", frozenset(("json",)), frozenset(("lists in lists in JSON", "keys twice in JSON", "odd numbers in JSON"))),
    Kind("YAML", frozenset(("yaml",)), frozenset(("anchors in YAML",))),
    Kind("lengths and offsets", _ANY, frozenset(
        ("huge numbers in text", *(f"{value} at place {number}" for value in ("2**31 - 1", "2**62") for number in range(3))))),
    Kind("layers, bombs", _ANY, frozenset(("layers in layers", "bomb"))),
    Kind("damage", _ANY, frozenset(("cut in half", "last byte gone", "names of functions"))),
)  # fmt: skip

# What the files of a reader hold, apart from bytes: pickles; archives; names of classes in JSON or YAML.
HOLDS: Mapping[str, frozenset[str]] = {
    name: frozenset(holds.split())
    for name, holds in {
        "archive": "pickle zip tar json names",
        "caffe": "",
        "hdf5": "pickle hdf5",
        "joblib": "pickle zip npy",
        "keras-h5": "pickle zip npy hdf5",
        "keras-json": "json names protocol",
        "keras-yaml": "yaml names",
        "keras-zip": "zip hdf5 json names protocol",
        "matlab": "",
        "msgpack": "",
        "mxnet": "",
        "mxnet-states": "pickle",
        "npy": "pickle npy",
        "npz": "pickle zip npy",
        "persist": "pickle zip npy json protocol",
        "persist-arrays": "pickle npy json protocol",
        "pickle": "pickle",
        "pymc3-trace": "pickle zip npy json",
        "safetensors": "json",
        "series": "pickle json",
        "shards": "pickle zip json",
        "shelve": "pickle",
        "skops": "pickle zip npy json names protocol",
        "sqlite": "",
        "tensorboard": "",
        "tensorflow-checkpoint": "",
        "tensorflow-graph": "",
        "tensorflow-saved-model": "",
        "theano-zip": "pickle zip npy",
        "torch-distributed": "pickle zip",
        "torch-export": "pickle zip json",
        "torch-legacy": "pickle",
        "torch-package": "pickle zip",
        "torch-tar": "pickle tar",
        "torch-zip": "pickle zip",
        "torch7": "",
        "torchscript": "pickle zip json",
        "torchscript-flat": "",
    }.items()
}


def faults(attacks: Mapping[str, list[str]]) -> list[str]:
    """What is wrong with the table: cells without an attack, and attacks where none applies.

    Args:
        attacks: by reader, the names of the attacks that were tried.
    """
    found = []
    for reader, tried in attacks.items():
        if reader not in HOLDS:
            found.append(f"{reader} has no row in HOLDS of tests/hostile/matrix.py")
            continue
        for kind in KINDS:
            if kind.needs == {"hdf5"} and importlib.util.find_spec("h5py") is None:
                continue  # it writes these
            applies = not kind.needs or bool(kind.needs & HOLDS[reader])
            if applies != bool(kind.attacks & {*tried}):
                found.append(
                    f"{reader}: {kind.title}: {'none' if applies else 'some'} of its attacks"
                )
    return found


def table(attacks: Mapping[str, list[str]]) -> str:
    """The table as Markdown: how many attacks of each class were tried on each reader."""
    letters = [chr(ord("A") + number) for number in range(len(KINDS))]
    lines = ["| | class of attack | attacks | tried where a file may hold |", "|---|---|---|---|"]
    lines += [
        f"| {letter} | {kind.title} | {'; '.join(sorted(name.removeprefix('pickle that ') for name in kind.attacks))} | "
        f"{' or '.join(sorted(kind.needs)) or 'anything'} |"
        for letter, kind in zip(letters, KINDS, strict=True)
    ]
    lines += ["", f"| reader | {' | '.join(letters)} |", "|---" * (len(KINDS) + 1) + "|"]
    for reader, tried in attacks.items():
        counts = [len(kind.attacks & {*tried}) for kind in KINDS]
        lines.append(f"| {reader} | {' | '.join(str(count or '–') for count in counts)} |")
    return "\n".join(lines)
