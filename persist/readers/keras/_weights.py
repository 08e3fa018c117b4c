"""Decode Keras's HDF5 files and archives, which `persist.readers.keras.files` describes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from persist._runtime.free_names import free_name
from persist._wire.archives.zip import Member, ZipDirectory
from persist._wire.base.ml_dtypes import decodable, extended
from persist._wire.base.source import Source
from persist._wire.hdf5.file import Hdf5, attribute_json, merge
from persist._wire.hdf5.objects import Attribute, Node, node_at
from persist.errors import DamagedFileError, FormatError, UnknownFormatError
from persist.readers.base import Content, Options
from persist.tree import LazyArray
from persist.typing import DType

__all__ = ["kind_of", "read_archive", "read_hdf5"]

_CONFIG, _METADATA = "config.json", "metadata.json"

_LARGEST = 64 << 20  # bytes of a configuration

_LOOKED_AT = 60  # groups that a claim may look into


def read_hdf5(source: Source, options: Options) -> Content:
    """Read a file of weights, or of a model."""
    file = Hdf5(source, verify=options.verify != "never", salvage=options.salvage)
    network = _Network(file)
    kind = _kind_of(file.root)
    form = "keras-h5" if kind and kind[0] == "model" else "keras-weights-h5"
    return Content(
        network.tree(),
        structure=network.structure,
        writer=network.writer(),
        damage=file.damage,
        format=form,
    )


def read_archive(source: Source, options: Options) -> Content:
    """Read an archive ``.keras``."""
    from persist._wire.keras import config as keras_config

    verify = options.verify == "always"
    damage: list[str] = []
    directory = _directory(source, options, damage)
    config = _json_member(directory, _CONFIG, damage, options)
    metadata = _json_member(directory, _METADATA, damage, options)
    tree, structure, names = _archived_weights(directory, options, verify, damage)
    attributes = metadata if isinstance(metadata, dict) else {}
    version = attributes.get("keras_version")
    writer = {"keras": version} if isinstance(version, str) else {}
    for name, value in attributes.items():
        if name in ("keras_version", "backend") and isinstance(value, str):
            tree[free_name(name, tree)] = value
    codes = keras_config.codes_of(config)
    if codes:
        tree[free_name("@code", tree)] = codes
    assets = _assets(directory, verify)
    if assets:
        tree[free_name("assets", tree)] = assets

    def describe() -> dict[str, object]:
        return {
            "kind": "model",
            "metadata": metadata,
            **keras_config.described(config, None, "", writer.get("keras")),
            "training_config": _compiled(config),
            "members": directory.names,
            **structure,
        }

    return Content(tree, structure=describe, writer=writer, damage=damage, globals=names)


def kind_of(source: Source) -> tuple[str, str] | None:
    """Return ("model" or "weights", how that is known) of an HDF5 file, or None of any other's."""
    if "network" not in source.memo:
        try:
            source.memo["network"] = _kind_of(Hdf5(source, verify=False, salvage=True).root)
        except FormatError:
            source.memo["network"] = None
    kind: tuple[str, str] | None = source.memo["network"]
    return kind


def _kind_of(root: Node) -> tuple[str, str] | None:
    """What a root group is: ("model" or "weights", how that is known), or None."""
    if root.kind != "group":
        return None
    names = {link.name: link.address for link in root.links()}
    attributes = {one.name for one in root.attributes()}
    if "model_weights" in names and names["model_weights"] is not None:
        return "model", "the group 'model_weights'"
    if "model_config" in attributes:
        return "model", "the attribute 'model_config'"
    for name in ("layer_names", "layer_names0", "nb_layers"):
        if name in attributes:
            return "weights", f"the attribute {name!r}"
    graph = names.get("graph")
    if graph is not None:  # a Graph of 0.x
        node = node_at(root.frame, graph)
        if any(one.name == "nb_params" for one in node.attributes()):
            return "weights", "the group 'graph' of parameters"
    return _is_numbered(root)


def _is_numbered(root: Node) -> tuple[str, str] | None:
    """The layout of 3.x: somewhere near the root, groups ``vars`` of datasets 0, 1, 2 ..."""
    known_tops = {"layers", "_layer_checkpoint_dependencies", "optimizer", "vars"}
    tops = {link.name for link in root.links()}
    todo = [(root, 0)]
    for _ in range(_LOOKED_AT):
        if not todo:
            return None
        node, depth = todo.pop(0)
        for link in node.links():
            if link.address is None:
                continue
            below = node_at(root.frame, link.address)
            if below.kind != "group":
                continue
            if link.name == "vars":
                names = [one.name for one in below.links()]
                if all(name.isdigit() for name in names) and (names or tops & known_tops):
                    return "weights", "groups 'vars' of numbered weights"
            elif depth < 4:
                todo.append((below, depth + 1))
    return None


class _Network:
    """A file of a network: its weights as a tree, and its attributes."""

    def __init__(self, file: Hdf5) -> None:
        self.file = file
        self.walk = file.walk()
        self.attributes = self._attributes("")
        self.is_model = self.walk.nodes_under("model_weights") or "model_config" in self.attributes
        self.home = "model_weights" if self.walk.nodes_under("model_weights") else ""
        self.weights_attributes = self._attributes(self.home) if self.home else self.attributes
        self.version = self._text("keras_version")
        self.backend = self._text("backend")

    def _attributes(self, path: str) -> dict[str, Attribute]:
        node = self.walk.nodes.get(path)
        if node is None:
            return {}
        found = self.walk.passing(node.attributes, f"attributes of {path or '/'!r}", [])
        return {one.name: one for one in found}

    def _text(self, name: str) -> str | None:
        for attributes in (self.attributes, self.weights_attributes):
            if name in attributes:
                value = self.walk.value(self.home, attributes[name])
                if isinstance(value, np.ndarray) and value.size == 1:
                    value = value.reshape(-1)[0]
                if isinstance(value, bytes):
                    value = value.decode("utf-8", "replace")
                if isinstance(value, str):
                    return value
        return None

    def _json(self, name: str) -> Any:
        """Return a configuration from an attribute: parsed JSON, or the text if it is not JSON."""
        text = self._text(name)
        if text is None:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text

    def _names(self, attributes: dict[str, Attribute], name: str) -> list[str]:
        """A list of names, put together where it was cut to fit an attribute."""
        pieces = [attributes[name]] if name in attributes else []
        number = 0
        while not pieces or number:
            piece = attributes.get(f"{name}{number}")
            if piece is None:
                break
            pieces.append(piece)
            number += 1
        found: list[str] = []
        for piece in pieces:
            found += self.walk.passing(piece.texts, f"attribute {piece.name!r}", [])
        return found

    def writer(self) -> dict[str, str]:
        """What the file states about its writer."""
        writer = {"keras": self.version, "backend": self.backend}
        return {name: value for name, value in writer.items() if value is not None}

    def tree(self) -> dict[str, Any]:
        """The weights by path, in the order of the layers."""
        from persist._wire.keras import config as keras_config

        self._narrow()
        root = self.walk.tree
        weights = root.get(self.home) if self.home else None
        inner = weights if isinstance(weights, dict) else {}
        outer = {name: value for name, value in root.items() if name != self.home or not self.home}
        tree = self._ordered(inner if self.home else outer)
        if self.home:
            for name, value in outer.items():
                tree[free_name(name, tree)] = value
        for name, text in (("keras_version", self.version), ("backend", self.backend)):
            if text is not None:
                tree[free_name(name, tree)] = text
        codes = keras_config.codes_of(self._json("model_config"))
        if codes:
            tree[free_name("@code", tree)] = codes
        return tree

    def _ordered(self, group: dict[str, object]) -> dict[str, object]:
        ranks: dict[str, int] = {}
        for name in self._names(self.weights_attributes, "layer_names"):
            ranks.setdefault(name.partition("/")[0], len(ranks))
        order = sorted(group, key=lambda name: ranks.get(name, len(ranks)))
        return {name: group[name] for name in order}

    def _narrow(self) -> None:
        """Opaque bytes are of the type that their attribute ``dtype`` names; two without it: bfloat16."""
        for path, dataset in self.walk.datasets.items():
            kind = dataset.type.dtype
            if kind.kind != "V" or kind.names is not None or kind.itemsize > 2:
                continue
            stated = self._attributes(path).get("dtype")
            # The older layout has no such attribute, and no other type of Keras takes two bytes.
            default = "bfloat16" if kind.itemsize == 2 else None
            name = default if stated is None else self.walk.value(path, stated)
            try:
                dtype = extended(name) if isinstance(name, str) else None
            except KeyError:
                continue
            group, own = self.walk.holder(path)
            if dtype is not None and dtype.itemsize == kind.itemsize and own in group:
                group[own] = decodable(_as_type(group[own], dtype), path)

    # Structure.

    def structure(self) -> dict[str, Any]:
        """What is no array: the configuration, and layers and weights in their order."""
        from persist._wire.keras import config as keras_config

        layers = list(self._layers())
        names = [name for _, own in layers for name in own]
        config = self._json("model_config")
        parsed = config if isinstance(config, dict) else {}
        backend, known_by = self._backend(names)
        known = {
            *("model_config", "training_config", "keras_version", "backend", "layer_names"),
            *(name for name in self.attributes if name.startswith("layer_names")),
        }
        return {
            "kind": "model" if self.is_model else "weights",
            **keras_config.described(parsed, backend, known_by, self.version),
            "model": keras_config.json_form(config),
            "training_config": keras_config.json_form(self._json("training_config")),
            "layer_names": [name for name, _ in layers],
            "weight_names": dict(layers),
            "weights": self._paths(layers),
            "named": self._named(),
            "optimizer_weight_names": self._names(
                self._attributes("optimizer_weights"), "weight_names"
            ),
            "attributes": {
                name: attribute_json(self.walk.value("", one))
                for name, one in self.attributes.items()
                if name not in known
            },
        }

    def _layers(self) -> Iterator[tuple[str, list[str]]]:
        """Layers in order, each with the names of its weights."""
        names = self._names(self.weights_attributes, "layer_names")
        if not names and "nb_layers" in self.attributes:  # 0.x
            count = self.walk.value("", self.attributes["nb_layers"])
            most = len(self.walk.tree)
            names = [f"layer_{number}" for number in range(min(int(count), most))] \
                if isinstance(count, int | np.integer) else []  # fmt: skip
        elif not names and "graph" in self.walk.tree:
            names = ["graph"]
        for name in names:
            path = f"{self.home}/{name}" if self.home else name
            attributes = self._attributes(path)
            own = self._names(attributes, "weight_names")
            if not own and "nb_params" in attributes:
                group = self.walk.value_at(path)
                own = sorted(group, key=_number_in) if isinstance(group, dict) else []
            yield name, own

    def _named(self) -> dict[str, str]:
        """Return the names that releases since 3.8 store with numbered weights: path of ``vars`` -> layer."""
        found: dict[str, str] = {}
        for path, node in self.walk.nodes.items():
            if node.kind == "group" and path.rpartition("/")[2] == "vars":
                stated = self._attributes(path).get("name")
                name = None if stated is None else self.walk.value(path, stated)
                if isinstance(name, str):
                    found[path] = name
        return found

    def _paths(self, layers: list[tuple[str, list[str]]]) -> list[str]:
        """Natural paths of all weights, in order."""
        if layers:
            return [f"{name}/{weight}" for name, own in layers for weight in own]
        start = f"{self.home}/" if self.home else ""
        return sorted(
            (path[len(start) :] for path in self.walk.datasets if path.startswith(start)),
            key=lambda path: [(_number_in(step), step) for step in path.split("/")],
        )

    def _backend(self, names: list[str]) -> tuple[str | None, str]:
        """The backend that laid the kernels down, and how it is known."""
        if self.backend is not None:
            return self.backend, "the attribute 'backend'"
        if any(name.endswith(":0") for name in names):
            return "tensorflow", "names of weights that end in ':0'"
        if names and self.version is not None and self.version.startswith("1."):
            return "theano", "names of weights without ':0', of a release that had two backends"
        if "nb_layers" in self.attributes and not names:
            return None, ""
        return None, ""


def _number_in(name: str) -> int:
    digits = "".join(char for char in name if char in "0123456789")[-9:]
    return int(digits) if digits else -1


def _as_type(array: Any, dtype: DType) -> object:
    if isinstance(array, LazyArray):
        lazy = array
        rows = None
        if lazy._rows is not None and lazy.shape:

            def rows(start: int, stop: int) -> Any:
                return lazy[start:stop].view(dtype)

        return LazyArray(dtype, lazy.shape, lambda: lazy.read().view(dtype), rows)
    return array.view(dtype)


def _directory(source: Source, options: Options, damage: list[str]) -> ZipDirectory:
    """The members of an archive; with ``salvage`` those that are whole."""
    if options.salvage:
        return ZipDirectory.whole(source, damage)
    try:
        return ZipDirectory.read(source)
    except DamagedFileError as error:
        error.remedy += " Open it with salvage=True for the members that are whole."
        raise


def _json_member(directory: ZipDirectory, name: str, damage: list[str], options: Options) -> object:
    member = directory.find(name)
    if member is None:
        return None
    try:
        if member.size > _LARGEST:
            raise DamagedFileError(f"it takes {member.size:,} bytes.", where=f"member {name!r}")
        inner = directory.open(member, verify=True)
        return json.loads(bytes(inner.view(0, inner.size)))
    except (ValueError, RecursionError) as error:
        if not options.salvage:
            if isinstance(error, FormatError):
                raise
            raise DamagedFileError(
                f"it is no JSON ({str(error)[:100]}).",
                file=directory.source.name,
                where=f"member {name!r}",
            ) from error
        damage.append(f"{name}: {str(error)[:200]}")
        return None


def _archived_weights(
    directory: ZipDirectory, options: Options, verify: bool, damage: list[str]
) -> tuple[dict[str, object], dict[str, object], set[str]]:
    """The weights of an archive, from its one HDF5 file, its shards, or an npz."""
    files = [
        member
        for name in directory.names
        if (member := directory.find(name)) is not None
        and name.startswith("model") and name.endswith(".weights.h5")
    ]  # fmt: skip
    files += [
        member
        for name in directory.names
        if (member := directory.find(name)) is not None
        and name.startswith("model_") and name.endswith(".h5") and member not in files
    ]  # fmt: skip
    tree: dict[str, object] = {}
    weights: list[str] = []
    named: dict[str, str] = {}
    named_globals: set[str] = set()
    for member in files:
        network = _Network(_hdf5(directory, member, options, verify))
        merge(tree, network.tree())
        structure = network.structure()
        weights += structure["weights"]
        named |= structure["named"]
        damage += network.file.damage
    if directory.cut is not None and directory.cut[0].endswith(".h5"):  # of `whole` alone
        _merge_cut(*directory.cut, tree, weights, named, damage)
    member = None if files else directory.find("model.weights.npz")
    if member is not None and options.open_nested is not None:  # its variables are pickled in it
        content = options.open_nested(directory.open(member, verify))
        tree = dict(content.tree) if isinstance(content.tree, dict) else {"": content.tree}
        damage += content.damage
        named_globals = content.globals
    return tree, {"weights": weights, "named": named}, named_globals


def _merge_cut(
    name: str,
    source: Source,
    tree: dict[str, object],
    weights: list[str],
    named: dict[str, str],
    damage: list[str],
) -> None:
    """Add the weights before the end of a file that is cut off within its HDF5 member."""
    try:
        network = _Network(Hdf5(source, salvage=True))
        found, structure = network.tree(), network.structure()
    except (DamagedFileError, UnknownFormatError) as error:
        damage.append(f"{name}: {error.what}")
        return
    merge(tree, found)
    weights += structure["weights"]
    named |= structure["named"]
    damage += [f"{name}: {text}" for text in network.file.damage]


def _hdf5(directory: ZipDirectory, member: Member, options: Options, verify: bool) -> Hdf5:
    inner = directory.open(member, verify)
    return Hdf5(inner, verify=options.verify != "never", salvage=options.salvage)


def _assets(directory: ZipDirectory, verify: bool) -> dict[str, bytes]:
    """Return the files that layers store next to their weights (vocabularies), by path."""
    found: dict[str, bytes] = {}
    for name in directory.names:
        member = directory.find(name)
        if name.startswith("assets/") and member is not None and not member.is_folder:
            inner = directory.open(member, verify)
            directory.source.spend(inner.size)
            found[name[len("assets/") :]] = bytes(inner.view(0, inner.size))
    return found


def _compiled(config: object) -> object:
    return config.get("compile_config") if isinstance(config, dict) else None
