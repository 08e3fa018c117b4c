"""TorchScript: a compiled module, as an archive of its data and its code.

Written by  ``torch.jit.save`` since 1.0 (C++ and Python), also for mobile
            (``_save_for_lite_interpreter``, ``.ptl``).
Evidence    ``torch/csrc/jit/serialization/export_module.cpp``, ``pickler.cpp``,
            ``torch/jit/_pickle.py``; ``caffe2/proto/torch.proto`` of 1.0 to 1.2.
Traps       Until 1.2 there is no ``data.pkl``: a ``model.json`` lists the modules, and for
            each tensor its shape, strides and record, in decimal text; attributes other than
            tensors are a separate pickle since 1.1. Afterwards ``data.pkl`` is
            like torch.save's, but classes are called ``__torch__.<name>``.
            ``constants.pkl`` and ``code/`` are the program, which is never run.
Gives       The module as a record, with parameters, buffers, attributes and
            submodules under their own names; tensors that are constants of the
            program under ``constants``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from persist._wire.base.source import Source
from persist._wire.torch.archive import Archive
from persist._wire.torch.outline import outline
from persist._wire.torch.storage import STORAGES, Tensor, dtype_of
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader
from persist.tree import Global, Record

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine
    from persist._wire.torch.rebuild import Origin

__all__ = ["ScriptReader"]

_LONGEST = 1 << 20  # bytes of source text or of an extra file that are shown

# caffe2's TensorProto.DataType -> the storage's class, without "Storage".
_DATA_TYPES = {
    "FLOAT": "Float", "DOUBLE": "Double", "FLOAT16": "Half", "BFLOAT16": "BFloat16",
    "UINT8": "Byte", "BYTE": "Byte", "INT8": "Char", "INT16": "Short", "INT32": "Int",
    "INT64": "Long", "BOOL": "Bool",
}  # fmt: skip


class ScriptReader(Reader):
    """TorchScript's archives of every generation."""

    name = "torchscript"
    suffixes = (".pt", ".ptl", ".pth")
    refines = ("pickle",)  # "PK" and a line end are a persistent id

    def claims(self, source: Source) -> str | None:
        archive = Archive.of(source, "constants.pkl")
        if archive is not None and archive.has("data.pkl"):
            return f'ZIP with "{archive.folder}data.pkl" and "{archive.folder}constants.pkl"'
        archive = Archive.of(source, "model.json")
        if archive is not None and archive.has("version"):
            return f'ZIP with "{archive.folder}model.json"'
        return None

    def read(self, source: Source, options: Options) -> Content:
        archive = Archive.of(source, "constants.pkl")
        if archive is not None and archive.has("data.pkl"):
            return _read_pickled(source, archive, options)
        return _read_json(source, Archive.need(source, "model.json"), options)


# Since 1.3: data.pkl.


def _read_pickled(source: Source, archive: Archive, options: Options) -> Content:
    from persist._wire.torch.rebuild import Origin, machine_for

    damage: list[str] = []
    checked = archive.checked(options.verify)
    passed = damage if options.salvage else None
    is_big = archive.text("byteorder") == "big"
    origin = Origin(source, archive.storages(checked), is_big, passed)
    pickled = archive.open("data.pkl", checked)
    machine = machine_for(pickled, origin)
    tree = machine.load(pickled.cursor())
    constants = _constants(source, archive, is_big, passed)
    if isinstance(tree, Record) and any(isinstance(item, Tensor) for item in constants):
        tree.dictitems.append(("constants", constants))  # a frozen module has its weights there

    def structure() -> dict[str, Any]:
        return {**_structure(archive, machine), **outline(tree)}

    return Content(tree, structure=structure, damage=damage, globals={*machine.globals, "torch"})


def _constants(
    source: Source, archive: Archive, is_big: bool, damage: list[str] | None
) -> list[object]:
    """Return the constants of the program."""
    from persist._wire.torch.rebuild import Origin, machine_for

    pickled = archive.open("constants.pkl")
    find = archive.storages(False, "constants/", "data/")
    values = machine_for(pickled, Origin(source, find, is_big, damage)).load(pickled.cursor())
    return list(values) if isinstance(values, tuple | list) else []


def _structure(archive: Archive, machine: Machine | None) -> dict[str, Any]:
    names = machine.globals.values() if machine is not None else ()
    code = [name for name in archive.below("code/") if name.endswith(".py")]
    return {
        "container": "zip",
        "folder": archive.folder.rstrip("/"),
        "records": archive.records(),
        "globals": sorted(f"{ref.module} {ref.name}" for ref in names),
        "code": {name: _text(archive, f"code/{name}") for name in code},
        "extra": {name: _text(archive, f"extra/{name}") for name in archive.below("extra/")},
        "is_mobile": archive.has("bytecode.pkl"),
    }


def _text(archive: Archive, record: str) -> str:
    """A text in the archive, shown and never run; of a damaged one, why it cannot be read."""
    try:
        return archive.open(record).head(_LONGEST).decode("utf-8", "replace")
    except FormatError as error:
        return f"<{error}>"


# Until 1.2: model.json.


def _read_json(source: Source, archive: Archive, options: Options) -> Content:
    from persist._wire.torch.rebuild import Origin

    model = _json(source, archive)
    checked = archive.checked(options.verify)
    damage: list[str] = []
    passed = damage if options.salvage else None
    origin = Origin(source, archive.storages(checked, ""), False, passed)
    try:
        tensors = [_tensor(item, archive, origin) for item in model.get("tensors", [])]
        machine, attributes = _attributes(archive, origin, tensors)
        tree = _modules(model["mainModule"], tensors, attributes)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise DamagedFileError(
            f"it does not describe a module ({type(error).__name__}: {error}).",
            file=source.name,
            where="record 'model.json'",
            remedy="The file is damaged.",
        ) from error

    def structure() -> dict[str, Any]:
        return {**_structure(archive, machine), **outline(tree)}

    writer = {"torch": str(model["producerVersion"])} if "producerVersion" in model else {}
    return Content(
        tree,
        structure=structure,
        writer=writer,
        damage=damage,
        globals={"torch", *(machine.globals if machine is not None else ())},
    )


def _json(source: Source, archive: Archive) -> dict[str, Any]:
    data = archive.open("model.json")
    data.spend(data.size)
    try:
        model = json.loads(data.read(0, data.size))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(
            f"it is no JSON ({error}).", file=source.name, where="record 'model.json'"
        ) from error
    if not isinstance(model, dict):
        raise DamagedFileError("it is no object.", file=source.name, where="record 'model.json'")
    return model


def _tensor(item: dict[str, Any], archive: Archive, origin: Origin) -> Tensor:
    name = _DATA_TYPES[item["dataType"]]
    key = item["data"]["key"]
    member = archive.find(key)
    count = 0 if member is None else member.size // dtype_of(STORAGES[name]).itemsize
    cls = Global("torch", f"{name}Storage")
    storage = origin.storage(cls, key, item.get("device", "cpu"), count)
    shape = tuple(int(extent) for extent in item.get("dims", ()))
    strides = tuple(int(stride) for stride in item.get("strides", ()))
    if len(shape) != len(strides):
        raise ValueError(f"{len(shape)} axes and {len(strides)} strides")
    is_trained = bool(item.get("requiresGrad", False))
    return Tensor(storage, int(item.get("offset", 0)), shape, strides, requires_grad=is_trained)


def _attributes(
    archive: Archive, origin: Origin, tensors: list[Tensor]
) -> tuple[Machine | None, Any]:
    """The values that are no tensors (1.1 and 1.2): a list, by number."""
    from persist._wire.torch.rebuild import machine_for

    if not archive.has("attributes.pkl"):
        return None, []

    def by_number(machine: Machine, args: Any) -> Tensor:
        return tensors[args[0] if isinstance(args, tuple) else args]

    pickled = archive.open("attributes.pkl")
    machine = machine_for(
        pickled,
        origin,
        rebuild={"torch.jit._pickle.build_tensor_from_id": by_number},
        finish={  # 1.1 made instances of classes of its own
            "__main__.TensorID": lambda machine, record: by_number(machine, record.state),
            "__main__.IntList": lambda machine, record: record.state,
        },
    )
    return machine, machine.load(pickled.cursor())


def _modules(node: dict[str, Any], tensors: list[Tensor], attributes: Any) -> Record:
    """Make a record of each module, from the outermost one on."""
    root = _module(node)
    todo = [(root, node)]
    while todo:
        record, node = todo.pop()
        fields = record.state
        for item in node.get("attributes", []):
            fields[item["name"]] = attributes[int(item["id"])]
        for item in node.get("parameters", []):
            tensor = tensors[int(item.get("tensorId", 0))]
            is_parameter = not item.get("isBuffer", False)
            fields[item["name"]] = tensor.changed(is_parameter=True) if is_parameter else tensor
        for item in node.get("submodules", []):
            fields[item["name"]] = _module(item)
            todo.append((fields[item["name"]], item))
    return root


def _module(node: dict[str, object]) -> Record:
    return Record(Global("__torch__", str(node.get("name", ""))), {})
