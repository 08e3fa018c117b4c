"""PyTorch: modules, parameters, quantized and sparse tensors of every release as arrays and values.

A module that was pickled whole is an object with three private dicts, ``_parameters``, ``_buffers``
and ``_modules``; this pack names what they hold by the module's own attributes, as
``module.features[0].weight`` does, whatever its class is and whether or not it still exists. What
other names with an underscore in front hold (hooks, caches, flat copies) is not listed.

Tensors come from the readers as arrays; the rest are records of the functions that would rebuild
them, of which the parts are looked at here. So are tensors in a plain pickle, which hold a
whole file of torch's each.

Evidence: ``torch/_utils.py``, ``torch/_tensor.py``, ``torch/nn/modules/module.py``,
``torch/nn/parameter.py``, ``torch/fx/graph_module.py``, ``torch/storage.py`` of 0.1 to 2.13.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from persist.migrations import _torch_modules  # type: ignore[import-not-found, unused-ignore]

from persist._wire.base.ml_dtypes import missing_name
from persist._wire.pickle.handlers import INERT
from persist._wire.torch.outline import fields_of, module_parts
from persist._wire.torch.quantized import QuantizedTensor, quantizer_of
from persist._wire.torch.rebuild import rebuilt, storage_of
from persist._wire.torch.storage import STORAGES, Storage, Tensor, dtype_of, kind_of
from persist.registry import Registry
from persist.tree import ABSENT, Global, LazyArray, Record, View, is_slots_pair

__all__ = ["pack"]

pack = Registry("torch")
_torch_modules.teach(pack)

_UTILS = "torch._utils"
_TENSOR_MODULES = ("torch._tensor", "torch.tensor")  # until 1.8 the second


# Modules.


@pack.plain_like
@pack.plain("torch.*")
def module(record: Record, looker: object) -> Any:
    """A module by what it holds; its class may be gone."""
    parts = module_parts(fields_of(record))
    if parts is None:
        return None
    if record.listitems or record.dictitems:  # a module that is also a list or dict
        return None
    return View(parts=parts)


# Tensors that are more than that.


def _tensor(value: object, looker: Any) -> Any:
    """Return a part that is a tensor, storage or array; INERT for any other value."""
    value = looker.through(value)
    if isinstance(value, View) and value.value is not ABSENT:
        value = value.value
    return value if isinstance(value, LazyArray | np.ndarray) else INERT


@pack.plain(
    f"{_UTILS}._rebuild_tensor",
    f"{_UTILS}._rebuild_tensor_v2",
    f"{_UTILS}._rebuild_tensor_v3",
)
def tensor(record: Record, looker: object) -> Any:
    """A tensor in a plain pickle, whose storage is a file of its own."""
    if not record.args:
        return None
    value = rebuilt(record.qualname, (_tensor(record.args[0], looker), *record.args[1:]))
    return None if value is INERT else value


@pack.plain(f"{_UTILS}._rebuild_parameter", f"{_UTILS}._rebuild_parameter_with_state")
def parameter(record: Record, looker: Any) -> object:
    """(tensor, requires_grad, hooks), and the attributes that the user gave it, since 1.13."""
    if len(record.args) < 2:
        return None
    inner = looker.through(record.args[0])
    if isinstance(inner, Tensor):
        inner = inner.changed(requires_grad=bool(record.args[1]), is_parameter=True)
    state = record.args[3] if len(record.args) > 3 else None
    return _with_attributes(inner, state)


@pack.plain(
    *(f"{module}._rebuild_from_type_v2" for module in _TENSOR_MODULES),
    *(f"{module}._rebuild_from_type" for module in _TENSOR_MODULES),
)
def subclass(record: Record, looker: Any) -> object:
    """(function, class, its arguments, state): a class of one's own, or a tensor with attributes."""
    if len(record.args) != 4:
        return None
    function, _, args, state = record.args
    if not isinstance(function, Global) or not isinstance(args, tuple):
        return None
    if function.module == _JAGGED:
        return _jagged(args, state)
    value = rebuilt(function.qualname, args)
    if value is INERT:
        made = Record(function, maker=function, kind="reduce", args=args)
        value = looker.through(made)
        if value is made:
            return None
    return _with_attributes(value, state)


@pack.plain(
    "torch.autograd.variable.Variable",
    "torch.autograd.Variable",
    "torch.nn.parameter.Parameter",
    "torch.nn.Parameter",
    "torch.nn.parameter.Buffer",
)
def variable(record: Record, looker: object) -> Any:
    """Before 0.4: made of a tensor; its state is (requires_grad, volatile, hooks), or in 0.1
    (data, gradient, hooks, requires_grad, volatile)."""
    state = record.state if isinstance(record.state, tuple) else ()
    data = state[0] if len(state) == 5 else record.args[0] if record.args else None
    if data is None:
        return None
    value = _tensor(data, looker)
    if value is INERT:
        return None
    requires_grad = bool(state[3]) if len(state) == 5 else bool(state[0]) if state else True
    if isinstance(value, Tensor):
        is_parameter = record.cls.name == "Parameter"
        value = value.changed(requires_grad=requires_grad, is_parameter=is_parameter)
    return _with_attributes(value, record.state if isinstance(record.state, dict) else None)


_JAGGED = "torch.nested._internal.nested_tensor"


def _jagged(args: tuple[object, ...], state: object) -> object:
    """A tensor of rows of unlike lengths, cut by offsets: arguments by name, before 2.5 in order."""
    if len(args) == 1 and isinstance(args[0], dict):
        given = args[0]
    else:
        given = dict(zip(("values", "offsets"), args, strict=False))
    parts = {name: given[name] for name in ("values", "offsets", "lengths") if name in given}
    for name in ("lengths", "ragged_idx"):
        if isinstance(state, dict) and f"_{name}" in state:
            parts[name] = state[f"_{name}"]
    return View(parts=parts) if "values" in parts else None


def _with_attributes(value: object, state: Any) -> object:
    """Show a tensor together with the content of its ``__dict__`` and slots."""
    if is_slots_pair(state):
        state = {**(state[0] or {}), **(state[1] or {})}
    if not isinstance(state, dict) or not state:
        return value
    return View(value, {str(name): item for name, item in state.items()})


# Quantized.


@pack.plain(f"{_UTILS}._rebuild_qtensor")
def quantized(record: Record, looker: object) -> object:
    """(storage, offset, shape, strides, quantizer, requires_grad, hooks): the stored integers.

    The quantizer is (scheme, scale, zero point), or (scheme, scales, zero points, axis), whose
    scales were lists in 1.3 and 1.4; before 1.3 scale and zero point stood in its place.
    """
    if len(record.args) < 6:
        return None
    quantizer = record.args[4]
    if isinstance(quantizer, float):
        quantizer = ("torch.per_tensor_affine", *record.args[4:6])
    storage = _tensor(record.args[0], looker)
    if not isinstance(storage, Storage) or not isinstance(quantizer, tuple):
        return None
    value = rebuilt(f"{_UTILS}._rebuild_tensor", _in_bytes(storage, record.args[1:4]))
    if value is INERT:
        return None
    parts = _quantizer(quantizer, looker)
    known = quantizer_of({name: _numbers(item, looker) for name, item in parts.items()})
    if known is None:
        return View(value, parts)
    shape = tuple(record.args[2])
    return View(QuantizedTensor(value, storage.kind, shape, known, record), parts)


def _numbers(item: object, looker: object) -> object:
    found = _tensor(item, looker)
    return item if found is INERT else found


def _in_bytes(storage: Storage, place: tuple[Any, ...]) -> tuple[object, ...]:
    """Where several elements take a byte: the bytes in a row, as ``int_repr`` gives them."""
    bits = {"quint4x2": 4, "quint2x4": 2}.get(storage.kind)
    if bits is None or not all(type(extent) is int for extent in place[1]):
        return (storage, *place)
    count = -(-math.prod(place[1]) * bits // 8)
    return (storage, place[0], (count,), (1,))


def _quantizer(quantizer: tuple[object, ...], looker: object) -> dict[str, object]:
    scheme = str(quantizer[0]) if quantizer else ""
    parts: dict[str, Any] = {"qscheme": scheme}
    if "per_channel" in scheme and len(quantizer) == 4:
        kinds = ("float32", "float32") if "float_qparams" in scheme else ("float64", "int64")
        names = ("q_per_channel_scales", "q_per_channel_zero_points")
        for name, kind, item in zip(names, kinds, quantizer[1:3], strict=True):
            storage = storage_of(kind, item)
            parts[name] = item if storage is None else storage
        parts["q_per_channel_axis"] = quantizer[3]
        if not scheme.endswith("float_qparams") and _is_float(quantizer[2], looker):
            parts["qscheme"] = f"{scheme}_float_qparams"  # written without: torch goes by the dtype
    elif len(quantizer) == 3:
        parts["q_scale"], parts["q_zero_point"] = quantizer[1:]
    return parts


def _is_float(value: object, looker: object) -> bool:
    array = _tensor(value, looker)
    return array is not INERT and array.dtype.kind == "f"


# Sparse.

_COMPRESSED = {
    "sparse_csr": ("crow_indices", "col_indices"),
    "sparse_bsr": ("crow_indices", "col_indices"),
    "sparse_csc": ("ccol_indices", "row_indices"),
    "sparse_bsc": ("ccol_indices", "row_indices"),
}


@pack.plain(f"{_UTILS}._rebuild_sparse_tensor", f"{_UTILS}._rebuild_sparse_csr_tensor")
def sparse(record: Record, looker: Any) -> object:
    """(layout, (indices, values, shape)), compressed ones (layout, (compressed, plain, values, shape));
    since 2.0 coordinates may say whether they are coalesced."""
    if len(record.args) != 2 or not isinstance(record.args[1], tuple):
        return None
    layout = str(looker.through(record.args[0]))
    names: tuple[str, ...] = _COMPRESSED.get(layout.rpartition(".")[2], ("indices",))
    names = (*names, "values", "shape")
    items = record.args[1]
    if not len(names) <= len(items) <= len(names) + 1:
        return None
    parts = dict(zip(names, items, strict=False))
    parts["layout"] = layout
    if len(items) > len(names):
        parts["is_coalesced"] = items[-1]
    shape = parts["shape"]
    if isinstance(shape, tuple | list):
        parts["shape"] = View(tuple(shape), whole=True)
    return View(parts=parts)


@pack.plain(f"{_UTILS}._rebuild_nested_tensor")
def nested(record: Record, looker: object) -> object:
    """(buffer, sizes, strides, offsets) of a tensor of rows of unlike lengths."""
    names = ("values", "sizes", "strides", "storage_offsets")
    return View(parts=dict(zip(names, record.args, strict=False))) if record.args else None


# Tensors of other devices.


@pack.plain(
    *(
        f"{_UTILS}._rebuild_{name}"
        for name in (
            "device_tensor_from_numpy", "device_tensor_from_cpu_tensor", "xla_tensor", "mlc_tensor",
            "ort_tensor", "hpu_tensor", "maia_tensor",
        )
    )
)  # fmt: skip
def elsewhere(record: Record, looker: object) -> object:
    """(NumPy's array or a tensor, dtype, device, requires_grad): the array, in its dtype.

    An array of bfloat16 is written as one of float32, since NumPy has none.
    """
    if len(record.args) < 2:
        return None
    value = _tensor(record.args[0], looker)
    if value is INERT:
        return None
    kind = kind_of(record.args[1].name) if isinstance(record.args[1], Global) else None
    if kind is None or value.dtype == dtype_of(kind):
        return value
    if missing_name(dtype_of(kind)):  # without ml_dtypes: the float32 values are the same
        return value
    return np.asarray(value).astype(dtype_of(kind))


@pack.plain(f"{_UTILS}._rebuild_meta_tensor_no_storage")
def meta(record: Record, looker: object) -> object:
    """(dtype, shape, strides, requires_grad): a tensor without data."""
    if len(record.args) < 3:
        return None
    dtype, shape = record.args[:2]
    shape = View(tuple(shape), whole=True) if isinstance(shape, tuple | list) else shape
    return View(parts={"dtype": str(dtype), "shape": shape, "device": "meta"})


# Values.


@pack.plain("torch.Size")
def size(record: Record, looker: object) -> Any:
    """A shape is one value."""
    if len(record.args) != 1 or not isinstance(record.args[0], tuple | list):
        return None
    return View(tuple(record.args[0]), whole=True)


@pack.plain("torch.device")
def device(record: Record, looker: object) -> object:
    """(type), or (type, index): ``cuda:0``."""
    return ":".join(map(str, record.args)) if record.args else None


@pack.plain("torch.serialization._get_layout")
def layout(record: Record, looker: object) -> Any:
    """A layout by its text."""
    return str(record.args[0]) if len(record.args) == 1 else None


# Plain pickles.


@pack.plain("torch.storage._load_from_bytes")
def inner_file(record: Record, looker: Any) -> object:
    """A storage in a plain pickle: the bytes of a whole file that ``torch.save`` wrote of it."""
    data = record.args[0] if len(record.args) == 1 else None
    if not isinstance(data, bytes):
        return None
    return looker.open(data, "a storage in it")


@pack.plain(
    *(f"{module}.{name}Storage" for name in STORAGES for module in ("torch", "torch.cuda")),
)
def storage(record: Record, looker: object) -> Any:
    """Before 0.4 a storage was pickled as the list of its elements."""
    kind = kind_of(record.cls.name)
    if kind is None or len(record.args) != 1:
        return None
    return storage_of(kind, record.args[0])


@pack.plain(
    *(f"{module}.{name}Tensor" for name in STORAGES for module in ("torch", "torch.cuda")),
)
def old_tensor(record: Record, looker: object) -> object:
    """In 0.1: (storage, offset, shape, strides)."""
    if len(record.args) != 4:
        return None
    parts = (_tensor(record.args[0], looker), *record.args[1:])
    value = rebuilt(f"{_UTILS}._rebuild_tensor", parts)
    return None if value is INERT else value
