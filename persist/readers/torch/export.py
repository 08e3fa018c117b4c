"""Archives of ``torch.export`` and ``torch.package``: weights together with a program.

Written by  ``torch.export.save`` since 2.1 (``.pt2``), ``torch.package`` since 1.9.
Evidence    ``torch/export/pt2_archive/_package.py`` and ``constants.py``,
            ``torch/_export/serde/schema.py`` (its numbers of dtypes), ``torch/export/__init__.py``
            of 2.1 to 2.7; ``torch/package/package_exporter.py`` and ``package_importer.py``.
Traps       Exports until 2.7 have no folder, and hold whole files of torch.save;
            since 2.8 each weight is a record of raw bytes, and a JSON file states
            its dtype as a number. A package holds any number of pickles, which share
            ``.data/<key>.storage``.
Gives       For an export ``state_dict`` and ``constants`` by name; for a package its
            resources by path: the content of pickles, and texts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from persist._wire.archives.zip import ZipDirectory
from persist._wire.base.source import Source
from persist._wire.torch.archive import Archive
from persist._wire.torch.outline import outline
from persist._wire.torch.storage import STORAGES, Tensor, dtype_of
from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader
from persist.tree import Global

if TYPE_CHECKING:
    from persist._wire.torch.rebuild import Origin

__all__ = ["ExportReader", "PackageReader"]

# The `ScalarType` of the export's schema, by number.
_SCALAR_TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
    8: "float64", 9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16",
    28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip

_OLD = {
    "state_dict": "serialized_state_dict",
    "constants": "serialized_constants",
}
_NEW = {
    "state_dict": ("data/weights/", "_weights_config.json"),
    "constants": ("data/constants/", "_constants_config.json"),
}
_CLASSES = {kind: f"{name}Storage" for name, kind in STORAGES.items()}
_TEXTS = 1 << 20  # bytes of a text in a package that are taken


class ExportReader(Reader):
    """torch.export's archives."""

    name = "torch-export"
    suffixes = (".pt2",)
    refines = ("pickle",)  # "PK" and a line end are a persistent id

    def claims(self, source: Source) -> str | None:
        archive = Archive.of(source, "archive_format")
        if archive is not None and archive.has("archive_version"):
            return f'ZIP with "{archive.folder}archive_format"'
        directory = ZipDirectory.of(source) if source.kind == "file" else None
        if directory is not None and directory.find("serialized_exported_program.json"):
            return 'ZIP with "serialized_exported_program.json"'
        return None

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.torch.rebuild import Origin

        archive = Archive.of(source, "archive_format")
        if archive is None:
            return _read_old(Archive.need(source, "serialized_exported_program.json"), options)
        tree: dict[str, Any] = {}
        checked = archive.checked(options.verify)
        for part, (folder, end) in _NEW.items():
            tree[part] = {}
            find = archive.storages(checked, folder)
            origin = Origin(source, find, archive.text("byteorder") == "big")
            for record in archive.below(folder):
                if record.endswith(end):
                    described = _json(archive, folder + record)
                    for name, item in described.get("config", {}).items():
                        tree[part][name] = _weight(item, archive, folder, origin, options)
        return _content(tree, archive)


def _read_old(archive: Archive, options: Options) -> Content:
    tree = {}
    for part, start in _OLD.items():
        for end in (".pt", ".json"):
            if archive.has(start + end) and options.open_nested is not None:
                found = archive.open(start + end)
                if found.size:
                    tree[part] = options.open_nested(found).tree
                break
    return _content(tree, archive)


def _content(tree: object, archive: Archive) -> Content:
    def structure() -> dict[str, Any]:
        return {
            "container": "zip",
            "folder": archive.folder.rstrip("/"),
            "members": archive.below(""),
            "records": archive.records(),
            **outline(tree),
        }

    return Content(tree, structure=structure, globals={"torch"})


def _json(archive: Archive, record: str) -> dict[str, Any]:
    data = archive.open(record)
    data.spend(data.size)
    try:
        described = json.loads(data.read(0, data.size))
    except (ValueError, RecursionError) as error:
        what = f"it is no JSON ({error})."
    else:
        if isinstance(described, dict) and isinstance(described.get("config", {}), dict):
            return described
        what = "it is no object with a config."
    raise DamagedFileError(
        what, file=data.name, where=f"record {record!r}", remedy="The file is damaged."
    )


def _weight(item: Any, archive: Archive, folder: str, origin: Origin, options: Options) -> object:
    """One weight: raw bytes with a shape and strides, or a file of torch.save."""
    try:
        key = item["path_name"]
        if item.get("use_pickle"):
            assert options.open_nested is not None
            return options.open_nested(archive.open(folder + key)).tree
        described = item["tensor_meta"]
        kind = _SCALAR_TYPES[described["dtype"]]
        shape = tuple(extent["as_int"] for extent in described["sizes"])
        strides = tuple(stride["as_int"] for stride in described["strides"])
        offset = described["storage_offset"]["as_int"]
        if not all(type(number) is int for number in (*shape, *strides, offset)):
            raise TypeError("a shape that is no integers")
        if len(shape) != len(strides):
            raise ValueError(f"{len(shape)} axes and {len(strides)} strides")
        member = archive.find(folder + key)
        size = 0 if member is None else member.size
        is_parameter = bool(item.get("is_param"))
        is_trained = bool(described.get("requires_grad"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(
            f"the description of a weight is invalid ({type(error).__name__}: {error}).",
            file=origin.file.name,
            remedy="The file is damaged, or newer than this program.",
        ) from error
    cls = _CLASSES.get(kind, "UntypedStorage")
    count = size if cls == "UntypedStorage" else size // dtype_of(kind).itemsize
    storage = origin.storage(Global("torch", cls), key, "cpu", count)
    facts: dict[str, Any] = {
        "kind": kind,
        "requires_grad": is_trained,
        "is_parameter": is_parameter,
    }
    return Tensor(storage, offset, shape, strides, **facts)


class PackageReader(Reader):
    """torch.package's archives."""

    name = "torch-package"
    suffixes = (".pt",)
    refines = ("pickle", "torch-zip")

    def claims(self, source: Source) -> str | None:
        archive = _package(source)
        return None if archive is None else f'ZIP with "{archive.folder}.data/extern_modules"'

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.torch.rebuild import Origin, machine_for

        archive = _package(source)
        if archive is None:
            raise DamagedFileError("no member '.data/extern_modules' is in it.", file=source.name)
        checked = archive.checked(options.verify)
        find = archive.storages(checked, ".data/")
        is_big = archive.text("byteorder") == "big"
        origin = Origin(source, lambda key: find(f"{key}.storage"), is_big)
        names: set[str] = set()
        tree: dict[str, object] = {}
        for record in archive.below(""):
            if record.startswith(".data/") or record == "byteorder" or record.endswith(".py"):
                continue
            data = archive.open(record, checked)
            if record.endswith(".pkl"):
                machine = machine_for(data, origin, py2_str=options.py2_str)
                tree[record] = machine.load(data.cursor())
                names.update(machine.globals)
            else:
                tree[record] = _text(data)
        content = _content(tree, archive)
        content.globals |= names
        return content


def _package(source: Source) -> Archive | None:
    """The archive of a package: its list of modules lies one folder deeper than records do."""
    directory = ZipDirectory.of(source) if source.kind == "file" else None
    if directory is None:
        return None
    for name in directory.names:
        if name.endswith("/.data/extern_modules") and name.count("/") == 2:
            return Archive(directory, name.removesuffix(".data/extern_modules"))
    return None


def _text(data: Source) -> Any:
    """A resource: text where it is that, else its bytes."""
    found = data.head(_TEXTS)
    data.spend(len(found))
    try:
        return found.decode("utf-8")
    except UnicodeDecodeError:
        return found
