"""TorchScript for mobile in one flat buffer: values, storages and bytecode.

Written by  PyTorch 1.12 and later: ``module._save_for_lite_interpreter(path,
            _use_flatbuffer=True)`` (``.ptl``), ``torch.jit.save_jit_module_to_flatbuffer``
            (``.ff``).
Evidence    ``torch/csrc/jit/serialization/mobile_bytecode.fbs`` and
            ``flatbuffer_serializer.cpp`` of 1.12 to 2.4; ``c10/core/ScalarType.h``,
            ``QScheme.h``.
Traps       Values are a list and refer to each other by index; parts always come before the
            value that contains them, and index 0 is None. Classes with a
            ``__setstate__`` of their own have a state instead of attributes. A storage that
            several tensors share is stored once.
Gives       As for other TorchScript files: the module as a record, with parameters, buffers,
            attributes and submodules under their own names; tensors that are constants
            of the program under ``constants``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from persist._wire.base.source import Source
from persist._wire.messages.flatbuffers import Table, identifier, root
from persist._wire.torch.outline import outline
from persist._wire.torch.storage import STORAGES, Tensor, dtype_of
from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader
from persist.tree import Global, Record

__all__ = ["FlatScriptReader"]

_LETTERS = b"PTMF"

# c10's `ScalarType`, by number.
_SCALAR_TYPES = (
    "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex32",
    "complex64", "complex128", "bool", "qint8", "quint8", "qint32", "bfloat16", "quint4x2",
    "quint2x4", "bits1x8", "bits2x4", "bits4x2", "bits8", "bits16", "float8_e5m2", "float8_e4m3fn",
    "float8_e5m2fnuz", "float8_e4m3fnuz", "uint16", "uint32", "uint64",
)  # fmt: skip
_CLASSES = {kind: f"{name}Storage" for name, kind in STORAGES.items()}
_SCHEMES = (
    "per_tensor_affine", "per_channel_affine", "per_tensor_symmetric", "per_channel_symmetric",
    "per_channel_affine_float_qparams",
)  # fmt: skip

# The fields of the tables, in the order of the schema.
_VERSION, _EXTRA, _METHODS, _STATE, _VALUES, _COUNT, _STORAGES, _TYPES, _SOURCES, _CONSTANTS, \
    _OPERATORS = range(11)  # fmt: skip


class FlatScriptReader(Reader):
    """TorchScript in a flat buffer."""

    name = "torchscript-flat"
    suffixes = (".ptl", ".ff")
    refines = ("pickle",)  # the offset at its beginning may be any byte

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or source.size < 16 or identifier(source) != _LETTERS:
            return None
        return 'a flat buffer of "PTMF"'

    def read(self, source: Source, options: Options) -> Content:
        module = root(source)
        version = module.number(_VERSION, "I")
        if not version:
            raise module.damaged("it states no version.")
        values = _Values(source, module)
        tree = values.at(module.number(_STATE, "I"), len(values.made))
        constants = [
            item
            for index in module.numbers(_CONSTANTS, "<u4")
            if isinstance(item := values.at(index, len(values.made)), Tensor | Record)
        ]
        constants += [item for item in values.constants if isinstance(item, Tensor)]
        if isinstance(tree, Record) and constants:
            unique = list({id(item): item for item in constants}.values())
            tree.dictitems.append(("constants", unique))

        def structure() -> dict[str, Any]:
            return {
                "container": "flatbuffer",
                "bytecode_version": version,
                "operator_version": module.number(_OPERATORS, "I"),
                "globals": sorted(values.names),
                "functions": values.functions,
                "code": _texts(module, _SOURCES),
                "extra": _texts(module, _EXTRA),
                "is_mobile": True,
                **outline(tree),
            }

        return Content(tree, structure=structure, globals={*values.names, "torch"})


def _texts(module: Table, field: int) -> dict[str, str]:
    """Files by name, shown and never run."""
    return {table.text(0): table.text(1) for table in module.tables(field)}


class _Values:
    """All values of a module, made in the order of the file, so that parts are there first.

    Attributes:
        made: the values.
        names: dotted names of the classes.
        functions: the operators that each function calls.
        constants: values that the functions use.
    """

    def __init__(self, source: Source, module: Table) -> None:
        from persist._wire.torch.rebuild import Origin

        self.made: list[Any] = []
        self.names: set[str] = set()
        self.functions: dict[str, list[str]] = {}
        self.constants: list[object] = []
        self._source = source
        self._storages = module.tables(_STORAGES)
        self._types = module.tables(_TYPES)
        self._origin = Origin(source, self._find)
        for table in module.tables(_VALUES):
            self.made.append(self._value(table))

    def at(self, index: int, below: int) -> Any:
        """Return a value by its number, which must be of those made before ``below``."""
        if not index:
            return None
        if index >= below:
            raise DamagedFileError(
                f"a value names number {index:,}, and {below:,} come before it.",
                file=self._source.name,
                remedy="The file is damaged: copy it again from where it came from.",
            )
        return self.made[index]

    def _all(self, table: Table, field: int) -> list[object]:
        return [self.at(index, len(self.made)) for index in table.numbers(field, "<u4")]

    def _value(self, table: Table) -> object:
        which, at = table.number(0, "B"), table.target(1)
        if not which or at is None:
            return None
        if which in _STRUCTS:
            parts = table.structure(at, _STRUCTS[which])
            return complex(*parts) if len(parts) == 2 else parts[0]
        make = _MAKERS.get(which)
        if make is None:
            raise table.damaged(f"it is a value of kind {which}, which torch does not have.")
        return make(self, Table(table.source, at))

    # Each kind of value.

    def _dict(self, table: Table) -> dict[object, object]:
        keys, items = self._all(table, 0), self._all(table, 1)
        if len(keys) != len(items):
            raise table.damaged(f"a dict has {len(keys):,} keys and {len(items):,} values.")
        if not all(isinstance(key, str | int | float | bool | complex | Tensor) for key in keys):
            raise table.damaged("a dict has keys that no dict of torch can have.")
        return dict(zip(keys, items, strict=True))

    def _object(self, table: Table) -> Record:
        number = table.number(0, "I")
        if number >= len(self._types):
            raise table.damaged(f"its class is number {number:,} of {len(self._types):,}.")
        declared = self._types[number]
        cls = self._class(declared.text(0))
        state = self.at(table.number(1, "I"), len(self.made))
        if not table.has(2):
            return Record(cls, state, kind="newobj")
        names, items = declared.texts(2), self._all(table, 2)
        if len(names) != len(items):
            raise table.damaged(f"{len(names):,} attributes have {len(items):,} values.")
        return Record(cls, dict(zip(names, items, strict=True)), kind="newobj")

    def _class(self, qualname: str) -> Global:
        self.names.add(qualname)
        module, _, name = qualname.rpartition(".")
        return Global(module, name)

    def _enum(self, table: Table) -> Record:
        value = self.at(table.number(1, "I"), len(self.made))
        return Record(self._class(table.text(0)), kind="newobj", args=(value,))

    def _function(self, table: Table) -> Global:
        """A method: its name, as a value, and the names that it calls and uses."""
        name = table.text(0)
        called = [".".join(filter(None, (item.text(0), item.text(1)))) for item in table.tables(2)]
        self.functions[name] = list(dict.fromkeys(called))
        self.constants += self._all(table, 3)
        module, _, last = name.rpartition(".")
        return Global(module, last)

    def _tensor(self, table: Table) -> object:
        number = table.number(1, "b")
        if not 0 <= number < len(_SCALAR_TYPES):
            raise table.damaged(f"a tensor's dtype is number {number}, which is not known here.")
        kind = _SCALAR_TYPES[number]
        key = str(table.number(0, "I"))
        found = self._find(key)
        cls = _CLASSES.get(kind, "UntypedStorage")
        size = 1 if kind not in _CLASSES else dtype_of(kind).itemsize
        count = 0 if found is None else found[0] // size
        storage = self._origin.storage(Global("torch", cls), key, "cpu", count)
        shape, strides = tuple(table.numbers(3, "<i4")), tuple(table.numbers(4, "<i4"))
        offset = table.number(2, "i")
        if len(shape) != len(strides):
            raise table.damaged(f"a tensor has {len(shape)} axes and {len(strides)} strides.")
        is_trained = bool(table.number(5, "B"))
        quantized = table.table(6)
        if quantized is None:
            return Tensor(storage, offset, shape, strides, kind=kind, requires_grad=is_trained)
        maker = Global("torch._utils", "_rebuild_qtensor")
        quantizer = self._quantizer(quantized)
        args: tuple[object, ...] = (storage, offset, shape, strides, quantizer, is_trained, {})
        return Record(maker, maker=maker, kind="reduce", args=args)

    def _quantizer(self, table: Table) -> tuple[object, ...]:
        number = table.number(0, "b")
        if not 0 <= number < len(_SCHEMES):
            raise table.damaged(f"a tensor is quantized by scheme {number}, which is not known.")
        scheme = Global("torch", _SCHEMES[number])
        scales, zero_points = table.table(3), table.table(4)
        if scales is None or zero_points is None:
            return scheme, table.number(1, "d", 0.0), table.number(2, "i")
        return scheme, self._plain(scales), self._plain(zero_points), table.number(5, "i")

    def _plain(self, table: Table) -> Any:
        """A tensor that may not be quantized itself, so that this ends."""
        if table.has(6):
            raise table.damaged("the scales of a quantized tensor are quantized.")
        return self._tensor(table)

    def _find(self, key: str) -> tuple[int, Callable[[], Source]] | None:
        if int(key) >= len(self._storages):
            return None
        start, size = self._storages[int(key)].span(0)
        return size, lambda: self._source.window(start, size, f"storage {key!r}")


# Members of the union by number: structs by their form, tables by what makes a value of them.
_STRUCTS = {1: "q", 2: "?", 3: "d", 4: "dd"}
_MAKERS: dict[int, Callable[[_Values, Table], Any]] = {
    5: _Values._tensor,
    6: lambda values, table: table.text(0),
    7: lambda values, table: values._all(table, 0),
    8: lambda values, table: tuple(values._all(table, 0)),
    9: _Values._dict,
    10: _Values._object,
    11: lambda values, table: table.numbers(0, "<i8"),
    12: lambda values, table: table.numbers(0, "<f8"),
    13: lambda values, table: table.numbers(0, "?"),
    14: lambda values, table: table.text(0),
    15: _Values._enum,
    16: _Values._function,
}
