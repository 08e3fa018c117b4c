"""Whether a new file is what the old one is: both are loaded to objects, and these are compared."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import warnings
from typing import TYPE_CHECKING, Any

import attrs

from persist._runtime.gc_pause import collector_paused
from persist._trees.compare import difference
from persist.errors import MissingExtraError, PersistError
from persist.tree import ABSENT

if TYPE_CHECKING:
    from persist._api.file import File
    from persist.registry import Registry

__all__ = ["Compared", "array_digests", "compare", "flat_fault", "value_of", "write_certificate"]


@attrs.frozen
class Compared:
    """How two files were compared.

    Attributes:
        how: "objects" (both were loaded, and their objects compared), "trees" (no class in them is
            declared here: what is in the files was compared), or "arrays".
        why: why it was no more than that, in words; else "".
        fault: the first difference, or "".
    """

    how: str
    why: str = ""
    fault: str = ""


def value_of(
    file: File, tree: object = ABSENT, *, unknown: str = "warn", strict: bool = False
) -> Any:
    """Return what a load makes of an open file, as the tree that a save would write of it.

    Only declared classes are made; no resource is opened and no ``__loaded__`` called.

    Raises:
        PersistError: the file cannot be loaded.
    """
    from persist._api.load import load_file

    with collector_paused(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the upgrade itself reported them
        return load_file(file, (), strict, unknown, True, tree=tree, finish=False)  # type: ignore[arg-type]


def compare(old: object, new: object, registry: Registry, *, arrays: bool = True) -> Compared:
    """Compare the objects of two files.

    Args:
        old, new: what `value_of` returned for each.
        registry: what is declared.
        arrays: also compare the bytes of arrays.
    """
    from persist._api.save import tree_of

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before, after = tree_of(old, registry), tree_of(new, registry)
    except PersistError as error:  # no file can hold these objects; the trees were compared
        return Compared("trees", f"the objects cannot be taken apart again: {error.what}")
    except MissingExtraError as error:
        return Compared("trees", error.what)
    fault = difference(before, after, arrays=arrays)
    return Compared("objects", fault=fault or "")


def flat_fault(written: dict[str, Any], file: File) -> str:
    """Return what a file of arrays alone lacks of what was written into it; "" if nothing."""
    found = file.tree
    if not isinstance(found, dict):
        return "" if len(written) <= 1 else "it does not hold arrays by name"
    for name, array in written.items():
        if name not in found:
            return f"{name}: it is missing"
        if tuple(array.shape) != tuple(found[name].shape):
            return f"{name}: an array {found[name].shape} instead of {array.shape}"
        if array.dtype == found[name].dtype:
            fault = difference(array, found[name])
            if fault:
                return f"{name}: {fault}"
    return ""


def array_digests(file: File) -> dict[str, list[Any]]:
    """Return natural path -> dtype, shape and SHA-256 of the bytes of each array, in C order."""
    import numpy as np

    from persist._wire.base.ml_dtypes import encoded

    found: dict[str, list[Any]] = {}
    for path in file.arrays:
        array = file.arrays[path]
        data = np.ascontiguousarray(encoded(array))
        digest = ""
        if not data.dtype.hasobject:
            digest = hashlib.sha256(data.reshape(-1).view(np.uint8).data).hexdigest()
        found[path] = [str(array.dtype), list(array.shape), digest]
    return found


def write_certificate(
    path: str,
    old: File,
    new: File,
    origin: dict[str, object],
    compared: Compared,
    written: tuple[str, int, str],
) -> None:
    """Write what was proved of one upgrade, as JSON.

    Args:
        path: of the certificate.
        old, new: both files, open.
        origin: what a container records of its source.
        compared: how they were compared.
        written: path, size and SHA-256 of the new file.
    """
    from persist._container.writing.atomic import replacing

    before, after = array_digests(old), array_digests(new)
    places: dict[str, list[str]] = {}
    for name, (dtype, shape, digest) in before.items():
        places.setdefault(f"{dtype} {shape} {digest}", []).append(name)
    arrays = [
        {"path": name, "dtype": dtype, "shape": shape, "sha256": digest,
         "in_source": places.get(f"{dtype} {shape} {digest}", [])}
        for name, (dtype, shape, digest) in after.items()
    ]  # fmt: skip
    said: dict[str, Any] = {
        "certificate": 1,
        "source": {key: origin[key] for key in ("name", "size", "sha256", "format", "writer")},
        "target": {"path": written[0], "size": written[1], "sha256": written[2]},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "compared": compared.how,
        "equal": not compared.fault,
    }
    if compared.why:
        said["because"] = compared.why
    said |= {key: origin[key] for key in ("records", "steps", "opaque", "options") if key in origin}
    said["arrays"] = arrays
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with replacing(path) as file:
        file.write(
            (json.dumps(said, indent=1, default=str) + "\n").encode("utf-8", "surrogatepass")
        )
