"""Convert convolution kernels between the layouts of Theano and TensorFlow, and join separate gates.

Theano convolves where TensorFlow correlates, which is the same with a kernel rotated by 180
degrees. Apart from that, releases differ in the order of a kernel's axes, and the first had an array
for each gate of a recurrent layer. The classes here look like the converted array, which is
computed on first use.

Evidence: ``preprocess_weights_for_loading`` of ``keras/engine/saving.py`` 2.2.4, and
``convert_kernel`` of ``keras/utils/conv_utils.py``; networks of 1.2.2 on Theano predict the same in
today's release (``tests/interop/test_keras.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from persist.typing import Array

__all__ = ["FIRST", "Joined", "Kernel", "Layout", "kind_of", "layouts"]

_CONVOLUTIONS = {
    *("Conv1D", "Conv2D", "Conv3D", "ConvLSTM2D"),
    *("Convolution1D", "Convolution2D", "Convolution3D", "AtrousConvolution2D"),
}
_TRANSPOSED = {"Conv2DTranspose", "Conv3DTranspose", "Conv1DTranspose", "Deconvolution2D"}
FIRST, LAST = "out, in, rows, columns", "rows, columns, in, out"


def kind_of(owner: object, name: str) -> str:
    """The kind of kernel that may need rotation: "conv", "transposed", or "" for other weights."""
    classes = {cls.__name__ for cls in type(owner).__mro__}
    role = name.rpartition("/")[2]
    if any(part in one for one in classes for part in ("Depthwise", "Separable")):
        return ""
    if classes & _TRANSPOSED and role == "kernel":
        return "transposed"
    is_recurrent = role == "recurrent_kernel" and "ConvLSTM2D" in classes
    return "conv" if classes & _CONVOLUTIONS and (role == "kernel" or is_recurrent) else ""


class Joined:
    """The gates of Keras 1.x, concatenated."""

    def __init__(self, arrays: list[Any], names: list[str]) -> None:
        self.names = names
        self._arrays = arrays
        self.dtype = arrays[0].dtype
        self.shape = (*arrays[0].shape[:-1], sum(array.shape[-1] for array in arrays))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        joined = np.concatenate([np.asarray(array) for array in self._arrays], axis=-1)
        return joined if dtype is None else joined.astype(dtype)


@attrs.frozen
class Layout:
    """The order of axes of a kernel in the file, and the transposition into the model's order."""

    name: str
    axes: tuple[int, ...]
    spatial: tuple[int, ...]  # in the file
    shape: tuple[int, ...]  # afterwards

    @property
    def moves(self) -> bool:
        """Whether the axes change at all."""
        return self.axes != tuple(range(len(self.axes))) or len(self.axes) != len(self.shape)

    @property
    def note(self) -> str:
        """What happens to the axes, in words."""
        if len(self.axes) != len(self.shape):
            return "an axis of length 1 went"
        return f"axes were {self.name}" if self.name == FIRST else "axes moved"


class Kernel:
    """A kernel with its axes transposed and, if needed, rotated by 180 degrees."""

    def __init__(self, array: Any, layout: Layout, turned: bool) -> None:
        self._array, self._layout, self._turned = array, layout, turned
        self.dtype = array.dtype
        self.shape = layout.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        kernel = np.asarray(self._array)
        if self._turned:
            kernel = np.flip(kernel, self._layout.spatial)
        kernel = kernel.transpose(self._layout.axes).reshape(self._layout.shape)
        return np.array(kernel, dtype=dtype)


def layouts(
    kind: str, is_first: bool, shape: tuple[int, ...], described: Mapping[str, str]
) -> Iterator[Layout]:
    """The possible layouts of a kernel in the file, the most likely first."""
    count = len(shape)
    middle = tuple(range(count - 2))
    same = tuple(range(count))
    if kind == "transposed":
        orders = [
            (LAST, same, middle),
            (LAST, (*middle, count - 1, count - 2), middle),
            (FIRST, (*range(2, count), 0, 1), tuple(range(2, count))),
        ]
        if "dim_ordering" in described.get(
            "known_by", ""
        ):  # 1.x: input and output channels swapped
            orders = [orders[1], orders[2], orders[0]]
    elif is_first:
        orders = [
            (FIRST, same, tuple(range(2, count))),
            (LAST, (count - 1, count - 2, *middle), middle),
        ]
    else:
        orders = [(LAST, same, middle), (FIRST, (*range(2, count), 1, 0), tuple(range(2, count)))]
    for name, axes, spatial in orders:
        after = tuple(shape[axis] for axis in axes)
        yield Layout(name, axes, spatial, after)
        if kind == "conv" and count == 4 and after[1] == 1:  # Convolution1D of 1.x
            yield Layout(name, axes, spatial, (after[0], *after[2:]))
