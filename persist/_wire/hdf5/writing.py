"""Write arrays by path as HDF5, with h5py: groups for all but the last step of a path.

Reading HDF5 needs no library; writing it is left to the library that other programs write it with.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from persist._wire.base.ml_dtypes import dtype_name, encoded
from persist.errors import FormatError, MissingExtraError

__all__ = ["write_arrays", "write_layers"]

_LONGEST = 64_512  # bytes of an attribute (`HDF5_OBJECT_HEADER_LIMIT` of Keras)


def write_arrays(arrays: Mapping[str, Any], target: IO[bytes]) -> None:
    """Write each array as a dataset under its path.

    Raises:
        FormatError: a path leads through another array, or HDF5 lacks its type.
        MissingExtraError: h5py is not installed.
    """
    with _file(target) as file:
        for path, array in arrays.items():
            _put(file, path, array)


def write_layers(layers: Mapping[str, Mapping[str, Any]], target: IO[bytes]) -> None:
    """Write weights as ``Model.save_weights("x.h5")`` of Keras 1 and 2 does.

    Args:
        layers: name of a layer -> name of a weight -> array, in order.
        target: an open binary file.

    Raises:
        FormatError, MissingExtraError: as `write_arrays`.
    """
    with _file(target) as file:
        _names(file, "layer_names", list(layers))
        for layer, weights in layers.items():
            group = file.create_group(layer)
            _names(group, "weight_names", list(weights))
            for name, array in weights.items():
                _put(group, name, array)


class _file:  # noqa: N801 - used like a function
    """An HDF5 file under construction, copied to the target when it is whole."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target

    def __enter__(self) -> Any:
        try:
            h5py = importlib.import_module("h5py")
        except ImportError as error:
            raise MissingExtraError(
                "HDF5 is written with h5py, which is not installed.",
                remedy="Install it with: pip install 'persist-state[hdf5]'",
            ) from error
        self._made = tempfile.TemporaryFile()
        self._file = h5py.File(self._made, "w", libver="earliest")
        return self._file

    def __exit__(self, kind: Any, *exc: object) -> None:
        with self._made:
            self._file.close()
            if kind is None:
                self._made.seek(0)
                while piece := self._made.read(1 << 20):
                    self._target.write(piece)


def _put(group: Any, path: str, array: Any) -> None:
    is_bfloat16 = dtype_name(array.dtype) == "bfloat16"
    data = encoded(array).view("V2") if is_bfloat16 else np.asarray(array)
    if data.dtype.kind == "U":
        data = np.char.encode(data, "utf-8")
    try:
        dataset = group.create_dataset(path, data=data)
    except (TypeError, ValueError) as error:
        raise FormatError(
            f"HDF5 cannot hold the array {data.dtype} {data.shape} there: {error}.",
            where=f"at {path!r}",
            remedy='Save it in another format, such as format="npz".',
        ) from error
    if is_bfloat16:
        dataset.attrs["dtype"] = "bfloat16"  # as Keras 3 writes them


def _names(group: Any, attribute: str, names: list[str]) -> None:
    """A list of names, cut into pieces where one attribute cannot hold it, as Keras does."""
    texts = [name.encode("utf-8") for name in names]
    longest = max(map(len, texts), default=1)
    count = max(1, _LONGEST // max(longest, 1))
    if len(texts) <= count:
        group.attrs[attribute] = np.array(texts, dtype=f"S{longest}") if texts else []
        return
    for number, start in enumerate(range(0, len(texts), count)):
        group.attrs[f"{attribute}{number}"] = np.array(texts[start : start + count])
