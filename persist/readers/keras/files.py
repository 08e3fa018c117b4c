"""Keras's models and weights in HDF5, and the archive ``.keras`` around it.

Written by  Keras 0.1 to 3.x and tf.keras: ``model.save("x.h5")``, ``save_weights``,
            and since tf.keras 2.12 and Keras 3.0 ``.keras`` and ``.weights.h5``.
Evidence    ``keras/models.py`` of 0.3.3, ``keras/engine/topology.py`` of 1.2.2,
            ``keras/engine/saving.py`` of 2.2.4, ``tensorflow/python/keras/saving/
            hdf5_format.py`` of 2.3, ``keras/src/saving/saving_lib.py`` and
            ``keras/src/legacy/saving/legacy_h5_format.py`` of 3.0 to 3.10; files of
            0.3.3, 1.2.2, 2.0.9, 2.2.4, 3.0.5, and of tf.keras 1.15 and 2.3.
Traps       The order of layers and weights is that of attributes, not of links;
            lists over 64 KB are cut into ``weight_names0``, ``weight_names1``. A
            layer's name may hold slashes. Inner weights of a nested model are under
            the outer layer. ``.weights.h5`` of 3.x names weights by class and number.
            bfloat16 is stored as two opaque bytes, since 3.0 with an attribute ``dtype``.
Gives       The weights under the path of their dataset, without ``model_weights/``;
            ``optimizer_weights/...``; ``keras_version`` and ``backend`` if the file
            states them. ``file.structure``: configuration, layers and weights in order.
            Marshalled code of Lambda layers is in ``@code`` as bytes.
"""

from __future__ import annotations

from typing import IO, Any

from persist._wire.archives.zip import ZipDirectory
from persist._wire.base.source import Source
from persist._wire.hdf5.signature import begins_at
from persist.errors import FormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["KerasArchiveReader", "KerasHdf5Reader"]

_CONFIG, _METADATA = "config.json", "metadata.json"
_WEIGHTS = ("model.weights.h5", "model.weights.npz", "model.weights.json")


class KerasHdf5Reader(Reader):
    """Models and weights in HDF5, of all releases."""

    name = "keras-h5"
    suffixes = (".h5", ".hdf5", ".keras")
    refines = ("hdf5",)
    writes = True
    is_flat = True

    def claims(self, source: Source) -> str | None:
        if begins_at(source) is None:
            return None
        from persist.readers.keras._weights import kind_of

        kind = kind_of(source)
        return None if kind is None else f"HDF5 with {kind[1]}"

    def read(self, source: Source, options: Options) -> Content:
        from persist.readers.keras._weights import read_hdf5

        return read_hdf5(source, options)

    def write(self, tree: Any, target: IO[bytes], **options: object) -> None:
        """Write arrays as ``save_weights("x.h5")`` of Keras 1 and 2 does, with h5py.

        The first step of a path is the layer, the rest the weight's name.

        Raises:
            FormatError: an array is of no layer, or HDF5 cannot hold it.
            MissingExtraError: h5py is not installed.
        """
        if options:
            raise TypeError(f"keras-h5 knows no option {sorted(options)[0]!r}")
        from persist._wire.hdf5.writing import write_layers

        layers: dict[str, dict[str, Any]] = {}
        for path, array in tree.items():
            layer, _, name = path.partition("/")
            if not name:
                raise FormatError(
                    f"the path {path!r} names no layer.",
                    remedy='Weights are <layer>/<weight>; format="hdf5" takes any path.',
                )
            layers.setdefault(layer, {})[name] = array
        write_layers(layers, target)


def _broken_off(source: Source) -> str | None:
    """Why a ZIP without a directory is a model of Keras: by its first local headers."""
    if source.kind != "file" or source.head(4) != b"PK\3\4":
        return None
    names = ZipDirectory.salvage(source).names
    if names[:1] not in ([_METADATA], [_CONFIG]):  # what Keras writes first
        return None
    return f"begins as a ZIP with the member {names[0]!r}, but its directory is missing or broken"


class KerasArchiveReader(Reader):
    """The archive ``.keras``."""

    name = "keras-zip"
    suffixes = (".keras",)
    refines = ("hdf5",)
    writes = True
    is_model = True

    def claims(self, source: Source) -> str | None:
        directory = ZipDirectory.of(source)
        if directory is None:
            return _broken_off(source)
        names = set(directory.names)
        weights = [name for name in _WEIGHTS if name in names]
        if _CONFIG not in names or not (weights or _METADATA in names):
            return None
        return f"ZIP with {_CONFIG!r} and {(weights or [_METADATA])[0]!r}"

    def read(self, source: Source, options: Options) -> Content:
        from persist.readers.keras._weights import read_archive

        return read_archive(source, options)

    def write(self, tree: object, target: IO[bytes], **options: object) -> None:
        """Write a living model of Keras 3, with Keras itself.

        Raises:
            FormatError: it is none, or Keras cannot save it.
        """
        if not hasattr(tree, "layers") or not hasattr(tree, "save"):
            raise FormatError(
                f"a {type(tree).__name__} is no model of Keras, and {self.name} holds nothing else.",
                remedy='Save arrays alone with format="npz", or everything with format="persist".',
            )
        import shutil  # imports much that asking this reader must not
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "model.keras")
            try:
                tree.save(path)
            except Exception as error:  # whatever Keras, or a class of the user's, raises
                raise FormatError(
                    f"Keras cannot save the model: {type(error).__name__}: {str(error)[:300]}"
                ) from error
            with open(path, "rb") as made:
                shutil.copyfileobj(made, target, 1 << 20)
