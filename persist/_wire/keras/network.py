"""A network's configuration, of any release, as a tree of records: one a layer, with its weights.

The four dialects of configurations (`persist._wire.keras.config`) become one form, in which nothing
is renamed or interpreted:

- a model is a record ``keras.Sequential``, ``keras.Model`` or ``keras.Graph``; its field ``layers``
  maps names to records, in order;
- a layer is a record ``keras.layers.<class>`` whose fields are its configuration; those within it
  (of a wrapper, a recurrent layer, a ``Merge``) are records, too;
- ``weights`` of a layer is the list of its arrays in the order of the file, or None if the file has
  none; ``backend`` and ``release`` are those that wrote them, or None.

The version of every record is that of its release: 1 for 0.x, 2 for 1.x, 3 for 2.x, 4 for 3.x.

Evidence: ``get_config`` and ``save_weights`` in ``keras/models.py`` of 0.3.3 and 1.2.2,
``keras/engine/topology.py`` of 1.2.2 and 2.0.9, ``keras/engine/saving.py`` of 2.2.4.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from persist._runtime.free_names import free_name
from persist._runtime.lazy_regex import regex
from persist.errors import DamagedFileError, LimitError
from persist.tree import Record
from persist.typing import State

__all__ = ["RELEASES", "Network", "depends_on_backend", "network_record", "version_of", "without"]

RELEASES = {1: "Keras 0.x", 2: "Keras 1.x", 3: "Keras 2.x", 4: "Keras 3.x"}
_DEEPEST, _MOST = 64, 100_000  # models within models, and layers

_MODELS = {"Sequential": "keras.Sequential", "Graph": "keras.Graph"}
# Words of a layer's configuration by which its release is known.
_OF_1 = {
    *("nb_filter", "nb_row", "border_mode", "dim_ordering", "init", "inner_init", "output_dim"),
    *(
        "W_regularizer",
        "subsample",
        "filter_length",
        "concat_mode",
        "inner_activation",
        "nb_feature",
    ),
}
_OF_2 = {
    *("kernel_initializer", "units", "filters", "data_format", "use_bias", "padding", "rate"),
    *("batch_input_shape", "moving_mean_initializer", "embeddings_initializer", "merge_mode"),
}
_WITHIN = ("layer", "forward_layer", "backward_layer", "cell")


@attrs.frozen
class Network:
    """What a file has of a network.

    Attributes:
        config: the configuration, as written.
        weights: name of a layer in the file -> the names of its arrays, in order; None without any.
        arrays: ``layer/name`` -> array.
        version: of the records, a key of `RELEASES`.
        backend: that wrote the weights, or None.
        release: of Keras, as the file states it, or None.
    """

    config: Any
    weights: Mapping[str, list[str]] | None
    arrays: Mapping[str, Any]
    version: int
    backend: str | None = None
    release: str | None = None


def version_of(release: str | None, config: object) -> int:
    """Return the version of a configuration's records: by its release, else by the words in it."""
    found = re.match(r"(\d{1,3})\.", release or "")
    if found:
        major = int(found[1])
        return min(major + 1, 4)
    if isinstance(config, dict) and "class_name" not in config:
        return 1
    words: set[str] = set()
    todo, seen = [config], 0
    while todo and seen < _MOST:
        item, seen = todo.pop(), seen + 1
        if isinstance(item, dict):
            words.update(item)
            todo += item.values()
        elif isinstance(item, list):
            todo += item
    if words & {"registered_name", "build_config"}:
        return 4
    return 2 if words & _OF_1 and not words & (_OF_2 - {"batch_input_shape", "merge_mode"}) else 3


def network_record(
    network: Network, count: Callable[[Record], int | None], notes: list[str]
) -> Record:
    """Return a network as a record, each layer with its weights.

    Args:
        network: what the file has.
        count: gives how many arrays a layer has, or None if that is not known.
        notes: takes what the file does not say and was assumed, where it makes a difference.

    Raises:
        DamagedFileError: the configuration, or the list of weights, is none.
    """
    builder = _Builder(network)
    record = builder.item(network.config, 0)
    if network.version < 3:
        _state_orderings(record, network.backend, notes)
    if network.weights is not None:
        _Weights(network, count).give(record)
    return record


class _Builder:
    def __init__(self, network: Network) -> None:
        self.version = network.version
        self.backend = network.backend
        self.release = network.release
        self._made = 0

    def item(self, item: object, depth: int) -> Record:
        """The record of a model or a layer."""
        self._made += 1
        if depth > _DEEPEST or self._made > _MOST:
            raise LimitError("the network is nested too deep, or has too many layers.")
        if not isinstance(item, dict):
            raise _damaged(item)
        if isinstance(item.get("class_name"), str):
            kind, config = item["class_name"], item.get("config")
        else:  # of 0.x: the class is the name
            kind, config = item.get("name"), {k: v for k, v in item.items() if k != "name"}
            config["name"] = config.pop("custom_name", None) or str(kind).lower()
        if isinstance(config, list):
            config = {"layers": config}
        if not isinstance(kind, str) or not isinstance(config, dict):
            raise _damaged(item)
        state = dict(config)
        if not isinstance(state.get("name"), str):
            state["name"] = item.get("name") if isinstance(item.get("name"), str) else kind.lower()
        if isinstance(state.get("layers"), list) and kind != "Merge":
            return self._model(kind, state, depth)
        if kind == "Graph":
            given = state.get("nodes")
            nodes: dict[str, object] = given if isinstance(given, dict) else {}
            listed = state.get("node_config") or ()
            order = [one.get("name") for one in listed if isinstance(one, dict)]  # of the weights
            state["layers"] = {
                name: self.item(nodes[name], depth + 1)
                for name in dict.fromkeys((*order, *nodes))
                if isinstance(name, str) and isinstance(nodes.get(name), dict)
            }
            return Record("keras.Graph", state, version=self.version)
        for key in _WITHIN:
            if isinstance(state.get(key), dict) and _is_item(state[key]):
                state[key] = self.item(state[key], depth + 1)
        for key in ("cells", "layers"):
            if isinstance(state.get(key), list):
                state[key] = [
                    self.item(one, depth + 1) if _is_item(one) else one for one in state[key]
                ]
        if kind == "Bidirectional" and isinstance(state.get("layer"), Record):
            state.setdefault("backward_layer", _backwards(state["layer"]))
        state["weights"], state["backend"] = None, self.backend
        state["release"] = self.release
        module = "keras.layers"
        if isinstance(item.get("registered_name"), str) and ">" in item["registered_name"]:
            state["registered_name"] = item["registered_name"]
        return Record(f"{module}.{kind}", state, version=self.version)

    def _model(self, kind: str, state: State, depth: int) -> Record:
        layers: dict[str, Record] = {}
        nodes: dict[str, object] = {}
        for one in state["layers"]:
            record = self.item(one, depth + 1)
            # Of an operation, the name in its configuration is another.
            own = one.get("name") if isinstance(one, dict) and "class_name" in one else None
            name = free_name(own if isinstance(own, str) else record["name"], layers, "_")
            record["name"] = name
            layers[name] = record
            if isinstance(one, dict) and "inbound_nodes" in one:
                nodes[name] = one["inbound_nodes"]
        state["layers"] = layers
        if kind == "Sequential":
            return Record("keras.Sequential", state, version=self.version)
        if "input_layers" not in state:
            state["class_name"] = kind
        state["inbound_nodes"] = nodes
        return Record("keras.Model", state, version=self.version)


def _backwards(forward: Record) -> Record:
    """The other layer of a Bidirectional, of which files have the first alone."""
    state = dict(forward.state)
    state["name"] = f"backward_{state['name']}"
    state["go_backwards"] = not state.get("go_backwards", False)
    return Record(forward.qualname, state, version=forward.version)


def _is_item(value: object) -> bool:
    return isinstance(value, dict) and (
        isinstance(value.get("class_name"), str) or isinstance(value.get("name"), str)
    )


def _damaged(item: object) -> DamagedFileError:
    return DamagedFileError(
        f"its configuration has {str(item)[:80]!r} where a layer was expected.",
        remedy="The weights can be read: persist.open(...).arrays.",
    )


def _state_orderings(model: Record, backend: str | None, notes: list[str]) -> None:
    """Add the ``dim_ordering`` that 1.x leaves out of some layers' configurations.

    It is that of the other layers; where none has one, or they differ, that which was the default
    of the backend.
    """
    layers = list(_all_below(model))
    stated = {one["dim_ordering"] for one in layers if "dim_ordering" in one}
    usual = "th" if backend == "theano" else "tf"
    stated_once = len(stated) == 1
    ordering = stated.pop() if stated_once else usual
    silent = [
        one for one in layers if _UNSTATED.fullmatch(one.cls.name) and "dim_ordering" not in one
    ]
    for one in silent:
        one["dim_ordering"] = ordering
    if silent and not stated_once:
        kinds = ", ".join(dict.fromkeys(one.cls.name for one in silent))
        notes.append(
            f"the configurations of {kinds} do not say where the channels are; "
            f"dim_ordering={ordering!r} is assumed"
        )


_UNSTATED = regex(r"(ZeroPadding|UpSampling|Cropping|SpatialDropout)[23]D")


def depends_on_backend(model: Record) -> bool:
    """Whether a network has layers that the backends computed in different ways."""
    return any(_BY_BACKEND.search(one.cls.name) for one in _all_below(model))


_BY_BACKEND = regex(r"Conv|Pooling|ZeroPadding|UpSampling|Cropping")


def _all_below(model: Record) -> Iterator[Record]:
    for one in _below(model):
        yield one
        yield from _all_below(one)


def without(model: Record, names: set[str]) -> Record | None:
    """Return a model without some of its layers, and without all that depend on them.

    Of a sequence that is its beginning; of a network, its ends are those layers whose outputs no
    other layer takes. None where nothing would be left.
    """
    layers: dict[str, Record] = dict(model["layers"])
    state = dict(model.state)
    if model.qualname == "keras.Sequential":
        kept = dict(itertools.takewhile(lambda item: item[0] not in names, layers.items()))
        state["layers"] = kept
        return Record(model.cls, state, version=model.version) if kept else None
    if model.qualname != "keras.Model" or "input_layers" not in state:
        return None
    sources = {name: _sources(node) for name, node in state["inbound_nodes"].items()}
    gone = {name for name in layers if name in names}
    while more := {one for one in layers if one not in gone and sources.get(one, set()) & gone}:
        gone |= more
    taken = {one for name, own in sources.items() if name not in gone for one in own}
    state["layers"] = {name: one for name, one in layers.items() if name not in gone}
    state["inbound_nodes"] = {n: own for n, own in state["inbound_nodes"].items() if n not in gone}
    starts = {one[0] for one in state["input_layers"] if isinstance(one, list)}
    ends = [name for name in state["layers"] if name not in taken and name not in starts]
    state["output_layers"] = [[name, int(_is_model(layers[name])), 0] for name in ends]
    used = {one for name in state["layers"] for one in sources.get(name, ())}
    state["input_layers"] = [one for one in state["input_layers"] if one[0] in used]
    state["layers"] = {
        name: one for name, one in state["layers"].items() if name not in starts or name in used
    }
    return Record(model.cls, state, version=model.version) if ends else None


def _sources(nodes: object) -> set[str]:
    """The layers whose outputs the calls of a layer take."""
    found: set[str] = set()
    todo = [nodes]
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            if len(item) >= 3 and isinstance(item[0], str) and isinstance(item[1], int):
                found.add(item[0])
            todo += item
        elif isinstance(item, dict):
            todo += item.values()
    return found


# Weights.


class _Weights:
    """Gives each layer its arrays, which files list by the layers of the outermost model."""

    def __init__(self, network: Network, count: Callable[[Record], int | None]) -> None:
        assert network.weights is not None
        self._arrays = network.arrays
        self._names = dict(network.weights)
        self._count = count
        self._is_numbered = network.version == 1
        self._known: set[str] = set()  # groups that are a layer's

    def give(self, model: Record) -> None:
        """Give the layers of a model their arrays."""
        self._known |= {one["name"] for one in _layers(model)}
        if self._is_numbered:
            self._by_number(model)
            return
        for layer in _layers(model):
            name = layer["name"]
            if _is_model(layer) and name not in self._names:
                name = self._other_name(layer)
            self._known.add(name)
            if name in self._names:
                own = self._names[name]
                found = [(one, self._array(name, one)) for one in own]
                self._share(layer, found)
            elif _is_model(layer):
                self.give(layer)  # of a sequence in 1.x: inner layers are listed as its own
            else:
                for below in _below(layer):
                    self.give(below) if _is_model(below) else None
                if "weights" in layer and not _below(layer):
                    layer["weights"] = []

    def _other_name(self, model: Record) -> str:
        """The group of a nested sequence of 1.x, whose configuration has no name."""
        inner = {one["name"] for one in _layers(model)}
        if inner & self._names.keys():
            return str(model["name"])  # inner layers have groups of their own
        return next((name for name in self._names if name not in self._known), str(model["name"]))

    def _by_number(self, model: Record) -> None:
        """In 0.x groups have numbers, and arrays have no names."""
        if model.qualname == "keras.Graph":
            own = [(one, self._array("graph", one)) for one in self._names.get("graph", [])]
            self._share(model, own)
            return
        for number, layer in enumerate(_layers(model)):
            group = f"layer_{number}"
            own = [(one, self._array(group, one)) for one in self._names.get(group, [])]
            self._share(layer, own)

    def _array(self, group: str, name: str) -> object:
        path = f"{group}/{name}"
        if path not in self._arrays:
            raise DamagedFileError(
                f"there is no array {path!r}, which its list of weights names.",
                remedy="Open it with salvage=True for what is there.",
            )
        return self._arrays[path]

    def _share(self, layer: Record, found: list[tuple[str, Any]]) -> None:
        """Give a layer its arrays, and those of layers within it to these."""
        inner = _below(layer)
        if not inner:
            layer["weights"] = [array for _, array in found]
            return
        if not _is_model(layer):
            layer["weights"] = []
        if layer.cls.name == "Bidirectional" and len(inner) == 2:
            half = len(found) // 2
            self._share(inner[0], found[:half])
            self._share(inner[1], found[half:])
            return
        if len(inner) == 1:
            self._share(inner[0], found)
            return
        for one, own in self._divided(inner, found):
            self._share(one, own)

    def _divided(
        self, inner: list[Record], found: list[tuple[str, object]]
    ) -> Iterator[tuple[Record, list[tuple[str, object]]]]:
        """Divide a list of arrays among layers: by their names, or by number and order."""
        by_name: dict[str, list[tuple[str, object]]] = {one["name"]: [] for one in inner}
        known = True
        for name, array in found:
            owner = _owner(name, by_name)
            if owner is None:
                known = False
                break
            by_name[owner].append((name, array))
        if known and all(self._fits(one, by_name[one["name"]]) for one in inner):
            for one in inner:
                yield one, by_name[one["name"]]
            return
        counts = [self._number(one) for one in inner]
        if None in counts or sum(sum(one) for one in counts if one) != len(found):
            raise DamagedFileError(
                f"{len(found)} arrays cannot be divided among the layers "
                f"{', '.join(repr(one['name']) for one in inner[:8])}.",
                remedy="The weights can be read: persist.open(...).arrays.",
            )
        rest = list(found)
        parts: list[list[tuple[str, Any]]] = [[] for _ in inner]
        for turn in (0, 1):  # what is trained comes first
            for part, number in zip(parts, counts, strict=True):
                assert number is not None
                part += rest[: number[turn]]
                del rest[: number[turn]]
        yield from zip(inner, parts, strict=True)

    def _fits(self, layer: Record, own: list[Any]) -> bool:
        number = self._number(layer)
        return number is None or sum(number) == len(own)

    def _number(self, layer: Record) -> tuple[int, int] | None:
        """How many arrays a layer has that are trained, and that are not."""
        inner = _below(layer)
        if inner:
            numbers = [self._number(one) for one in inner]
            if None in numbers:
                return None
            both = [sum(one[turn] for one in numbers if one) for turn in (0, 1)]
            return self._frozen(layer, (both[0], both[1]))
        count = self._count(layer)
        if count is None:
            return None
        others = 2 if layer.cls.name == "BatchNormalization" else 0
        return self._frozen(layer, (count - others, others))

    @staticmethod
    def _frozen(layer: Record, number: tuple[int, int]) -> tuple[int, int]:
        frozen = "trainable" in layer and layer["trainable"] is False
        return (0, sum(number)) if frozen else number


def _owner(name: str, layers: Mapping[str, object]) -> str | None:
    """The layer that a weight of a nested model is of, by its name; the longest that fits."""
    steps = name.split("/")
    for step in steps[:-1]:
        if step in layers:
            return step
    fits = [one for one in layers if steps[-1].startswith(f"{one}_")]
    return max(fits, key=len, default=None)


def _is_model(record: Record) -> bool:
    return record.qualname in ("keras.Sequential", "keras.Model", "keras.Graph")


def _layers(model: Record) -> list[Record]:
    layers = model.fields().get("layers")
    return list(layers.values()) if isinstance(layers, dict) else []


def _below(layer: Record) -> list[Record]:
    """The layers within a layer."""
    if _is_model(layer):
        return _layers(layer)
    found = [layer[key] for key in _WITHIN if key in layer and isinstance(layer[key], Record)]
    for key in ("cells", "layers"):
        if key in layer and isinstance(layer[key], list):
            found += [one for one in layer[key] if isinstance(one, Record)]
    return found
