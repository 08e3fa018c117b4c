"""Types that signatures of `persist` use, for annotations in a program of one's own.

- what a value is: `Array`, `Shape`, `State`, `Tree`, `NaturalPath`;
- what a file is given as: `Openable` and `Readable` to read, `Writable` to write;
- the choices of keywords, each a `typing.Literal`: `Format`, `Verify`, `UnknownFields`, ...;
- the keywords that functions share: `OpenOptions`, `LoadOptions`, `SaveOptions`, ... (PEP 692). A function
  that passes them on is declared as ``def f(path: str, **options: Unpack[OpenOptions])``.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, TypedDict

import numpy as np

if TYPE_CHECKING:
    from persist.registry import Registry
    from persist.tree import LazyArray

__all__ = [
    "Array",
    "ArrayKind",
    "BuildOptions",
    "CheckpointMode",
    "Compression",
    "DType",
    "DigestName",
    "FileOptions",
    "FillOptions",
    "Format",
    "LayoutPolicy",
    "LoadOptions",
    "Match",
    "MissingResource",
    "NaturalPath",
    "OpenOptions",
    "Openable",
    "Progress",
    "ProgressEvent",
    "ProgressPhase",
    "ProgressUnit",
    "Python2Text",
    "Readable",
    "SaveOptions",
    "Shape",
    "State",
    "StepOptions",
    "StoredArray",
    "Tree",
    "UnknownFields",
    "Verify",
    "Writable",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""A NumPy array of any shape and dtype."""

DType: TypeAlias = np.dtype[Any]
"""The type of an array's items."""

Shape: TypeAlias = tuple[int, ...]
"""The lengths of an array's axes."""

StoredArray: TypeAlias = "Array | LazyArray"
"""An array of a file: a NumPy array, or one whose bytes are read on first use."""

NaturalPath: TypeAlias = str
"""Where a value lies in a file: names, keys and indices joined by slashes, such as ``layers/0/W``."""

State: TypeAlias = dict[str, Any]
"""The fields of an instance by name: what a migration takes and returns."""

Tree: TypeAlias = object
"""Any value that a file can hold (see `persist.tree`): a tree is examined, never called."""

ArrayKind: TypeAlias = Literal["numpy", "torch"]
"""What arrays become: NumPy's, or tensors (requires torch)."""

CheckpointMode: TypeAlias = Literal["min", "max"]
"""Whether the smallest or the largest value of a metric is the best."""

Codec: TypeAlias = Literal["zstd", "deflate"]
"""A method of compression."""

Compression: TypeAlias = Codec | tuple[Codec, int] | Mapping[str, Codec | tuple[Codec, int] | None]
"""How arrays are compressed: a method, with a level if it is a pair; or by patterns of natural paths."""

DigestName: TypeAlias = Literal["xxh3-128", "sha256", "blake3"]
"""The digest of each array that is stored in addition to its CRC-32."""

Format: TypeAlias = Literal[
    "persist",
    "hdf5",
    "keras-h5",
    "keras-zip",
    "mxnet",
    "npy",
    "npz",
    "pickle",
    "safetensors",
    "tensorflow-checkpoint",
    "theano-zip",
    "torch",
    "torch-legacy",
]
"""The formats that are written; an installed reader may add others."""

LayoutPolicy: TypeAlias = Literal["error", "warn", "ignore"]
"""What to do about a state whose version is the current one, but whose layout is not."""

Match: TypeAlias = Literal["name", "shape", "order"]
"""By what `persist.restore` matches arrays of a file to arrays of the target."""

MissingResource: TypeAlias = Literal["error", "lazy"]
"""What to do if a resource cannot be opened: raise at once, or at its first use."""

UnknownFields: TypeAlias = Literal["warn", "drop", "keep", "error"]
"""What to do with fields that no class declares."""

Verify: TypeAlias = Literal["lazy", "always", "never"]
"""When checksums are verified: on first access of a value, all at once, or not at all."""

OnError: TypeAlias = Literal["raise", "record"]
"""What becomes of a record that cannot be loaded: an error, or it stays a record."""

Resources: TypeAlias = Mapping[str, Any] | Callable[[Any], Any]
"""What takes the place of resources: by name or by the beginning of the path, or a function of the path."""

Python2Text: TypeAlias = str | Callable[[bytes], object]
"""What Python 2's ``str`` becomes: "text", "bytes", the name of an encoding, or a function."""


class Readable(Protocol):
    """A binary file that is open for reading."""

    def read(self, size: int = ..., /) -> bytes:
        """Return at most that many bytes, or all that are left."""


class Writable(Protocol):
    """A binary file that is open for writing."""

    def write(self, data: bytes, /) -> object:
        """Write bytes."""


Openable: TypeAlias = (
    str | os.PathLike[str] | os.PathLike[bytes] | bytes | bytearray | memoryview | Readable
)
"""What a file is given as: a path, a URL, its bytes, or an open binary file."""


ProgressPhase: TypeAlias = Literal[
    "read", "decompress", "verify", "upgrade", "build", "fill", "collect", "write", "files"
]
"""What a call is doing.

- "read": bytes of a file are read, or fetched from a URL; "decompress": compressed bytes are read;
- "verify": its checksums are verified;
- "upgrade": records are brought to the current layout; "build": objects are made of them;
- "fill": arrays are put into what exists (`persist.restore`);
- "collect": objects become the tree that is saved; "write": bytes are written;
- "files": the files of `persist.upgrade`; in one process the phases of each file come in between.
"""

ProgressUnit: TypeAlias = Literal["bytes", "objects", "arrays", "files"]
"""What a phase counts."""


class ProgressEvent(NamedTuple):
    """How far a call is, as a function that is given as ``progress`` receives it.

    Attributes:
        phase: what is being done.
        done: how much of it is done, in ``unit``.
        total: how much there is; None if nobody knows before the end. The last event of a phase has
            ``done == total``.
        unit: "bytes", "objects", "arrays" or "files".
        file: the file or the part of one, as messages name it; None where there is none.
    """

    phase: ProgressPhase
    done: int
    total: int | None
    unit: ProgressUnit
    file: str | None = None


Progress: TypeAlias = bool | Callable[[ProgressEvent], object]
"""Who learns how far a call is: True draws a bar, a function gets a `ProgressEvent`."""


class FileOptions(TypedDict, total=False):
    """The keywords of everything that reads one file (see `persist.open`)."""

    mmap: bool
    verify: Verify | None
    py2_str: Python2Text | None
    salvage: bool
    storage_options: Mapping[str, Any] | None
    limits: Mapping[str, int] | None
    registry: Registry | None
    arrays: ArrayKind
    progress: Progress | None


class OpenOptions(FileOptions, total=False):
    """The keywords that `open`, `load`, `restore` and `explain` share."""

    step: int | None


class BuildOptions(TypedDict, total=False):
    """The keywords of everything that makes objects (see `persist.load`)."""

    at: NaturalPath
    assume_version: int | None
    trust: Iterable[str]
    strict: bool
    unknown: UnknownFields
    validate: bool
    migrate: bool
    layout: LayoutPolicy | None
    device: Any
    dtype: Any
    live: bool
    weights: Openable | None
    on_error: OnError
    resources: Resources | None
    require_signature: Any


class LoadOptions(OpenOptions, BuildOptions, total=False):
    """The keywords of `load`."""


class StepOptions(FileOptions, BuildOptions, total=False):
    """The keywords of `Checkpoints.restore`: those of `load` but ``step``."""


class FillOptions(FileOptions, total=False):
    """The keywords of `Checkpoints.restore` with ``into``: those of `persist.restore` but ``step``."""

    match: Any
    only: Iterable[str] | None
    strict: bool
    at: NaturalPath


class SaveOptions(TypedDict, total=False):
    """The keywords of `save`."""

    format: Format | str
    durable: bool
    metadata: Mapping[str, Any] | None
    compress: Compression | None
    digest: DigestName | Literal[False] | None
    columns: bool
    pack: bool
    versions: Mapping[str, int] | None
    lossy: bool
    class_paths: Mapping[str, str] | None
    capsule: bool
    protocol: int | None
    storage_options: Mapping[str, Any] | None
    date: datetime.datetime | Literal[False] | None
    registry: Registry | None
    progress: Progress | None
