"""The tar archive that the first releases of PyTorch wrote.

Written by  PyTorch 0.1 up to 0.1.6 (``torch.save`` of January 2017 and before).
Evidence    ``torch/serialization.py``, ``legacy_load``, which current
            releases still have; ``torch/csrc/generic/serialization.cpp`` of 0.1.
Traps       A tensor is named by a persistent id that is a number, as text; its
            shape, strides and offset are binary, in another member, and the
            number of axes takes eight bytes, four of which are meaningless. Later
            files are often called ``.pth.tar`` too, but are not tar archives.
Gives       The object; tensors are views of the member ``storages``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persist._wire.archives import tar
from persist._wire.base.source import Cursor, Source
from persist._wire.torch.outline import outline
from persist._wire.torch.storage import Storage, Tensor, dtype_of
from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader
from persist.tree import ABSENT, Global

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine
    from persist._wire.torch.rebuild import Origin

__all__ = ["TarReader"]

_WANTED = ("pickle", "tensors", "storages")
_HEADERS = 64  # members that are looked at
_AXES = 64


class TarReader(Reader):
    """torch.save's tar of the beginning."""

    name = "torch-tar"
    suffixes = (".pt", ".pth", ".pth.tar")

    def claims(self, source: Source) -> str | None:
        if not tar.is_tar(source):
            return None
        found = _members(source)
        if all(name in found for name in _WANTED):
            return f'tar with "{_WANTED[0]}", "{_WANTED[1]}" and "{_WANTED[2]}"'
        return None

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.torch.rebuild import Origin, machine_for, text_of

        found = _members(source)
        parts = {name: source.window(*found[name], f"member {name!r}") for name in _WANTED}
        origin = Origin(source)
        names: set[str] = set()
        objects = _storages(parts["storages"], origin, names)
        _tensors(parts["tensors"], origin, objects, names)

        def resolve(pid: object) -> Any:
            if isinstance(pid, tuple):
                return origin.resolve(("module", *pid)) if len(pid) == 3 else ABSENT
            return objects.get(text_of(pid), ABSENT)

        machine = machine_for(parts["pickle"], origin, persistent=resolve, py2_str=options.py2_str)
        tree = machine.load(parts["pickle"].cursor())
        names.update(machine.globals)

        def structure() -> dict[str, Any]:
            return {
                "container": "tar",
                "protocol": machine.protocol,
                "members": list(found),
                "globals": sorted(names),
                **({"sources": origin.sources} if origin.sources else {}),
                **outline(tree),
            }

        writer = {"python": "2"} if machine.has_py2_str else {}
        return Content(tree, structure=structure, writer=writer, globals={*names, "torch"})


def _members(source: Source) -> dict[str, tuple[int, int]]:
    """Return the files in a tar: name -> (offset, bytes), as far as they are whole."""
    found = (member for member in tar.members(source, _HEADERS, []) if not member.link)
    return {member.name: (member.offset, member.size) for member in found if member.is_whole}


def _storages(source: Source, origin: Origin, names: set[str]) -> dict[str, object]:
    """Find the storages: a count, each a pickle (key, location, class) and raw data; then views."""
    from persist._wire.torch.rebuild import machine_for, text_of

    machine = machine_for(source, origin)
    cursor = source.cursor()
    objects: dict[str, object] = {}
    for _ in range(_count(machine, cursor)):
        key, location, cls = _triple(machine, cursor)
        number = cursor.i64()
        storage = origin.storage(cls, key, location, number)
        blob = storage.blob
        blob.place(source.window(cursor.offset, blob.nbytes, f"storage {blob.key!r}"))
        cursor.offset += blob.nbytes
        objects[text_of(key)] = storage
    views = machine.load(cursor)
    if not isinstance(views, list):
        raise cursor.damaged(f"a {type(views).__name__} is where the list of views was expected.")
    for view in views:
        _add_view(view, objects, cursor)
    names.update(machine.globals)
    return objects


def _add_view(view: object, objects: dict[str, object], cursor: Cursor) -> None:
    """A storage that is part of another: (its key, the other's, offset, count)."""
    from persist._wire.torch.rebuild import text_of

    target, root, offset, length = view if isinstance(view, tuple) and len(view) == 4 else (0,) * 4
    whole = objects.get(text_of(root))
    if not isinstance(whole, Storage) or type(offset) is not int or type(length) is not int:
        raise cursor.damaged(f"{str(view)[:80]!r} is no view of a storage.")
    if offset < 0 or length < 0 or offset + length > whole.shape[0]:
        raise cursor.damaged(
            f"a view of {length:,} elements at {offset:,} passes the {whole.shape[0]:,} of its storage."
        )
    size = dtype_of(whole.kind).itemsize
    objects[text_of(target)] = Storage(whole.blob, whole.kind, length, offset * size)


def _tensors(source: Source, origin: Origin, objects: dict[str, Any], names: set[str]) -> None:
    """Find the tensors: a count, each a pickle (key, storage's key, class) and its numbers."""
    from persist._wire.torch.rebuild import machine_for, text_of

    machine = machine_for(source, origin)
    cursor = source.cursor()
    for _ in range(_count(machine, cursor)):
        key, storage_key, _ = _triple(machine, cursor)
        storage = objects.get(text_of(storage_key))
        if not isinstance(storage, Storage):
            raise cursor.damaged(f"tensor {text_of(key)!r} names storage {storage_key!r}.")
        axes = cursor.i32()
        if not 0 <= axes <= _AXES:
            raise cursor.damaged(
                f"a tensor of {axes:,} axes is claimed.", f"At most {_AXES} can be."
            )
        cursor.view(4)
        shape, strides = cursor.unpack(f"<{axes}q"), cursor.unpack(f"<{axes}q")
        objects[text_of(key)] = Tensor(storage, cursor.i64(), shape, strides)
    names.update(machine.globals)


def _count(machine: Machine, cursor: Cursor) -> int:
    count = machine.load(cursor)
    if type(count) is not int:
        raise cursor.damaged(f"a {type(count).__name__} is where a count was expected.")
    return cursor.count(count, 8, "tensors or storages")


def _triple(machine: Machine, cursor: Cursor) -> tuple[object, object, Global]:
    entry = machine.load(cursor)
    if isinstance(entry, tuple) and len(entry) == 3 and isinstance(entry[2], Global):
        return entry
    raise DamagedFileError(
        f"{str(entry)[:80]!r} is where two keys and a class were expected.",
        file=cursor.source.name,
        where=f"offset {cursor.offset}",
        remedy="The file is damaged.",
    )
