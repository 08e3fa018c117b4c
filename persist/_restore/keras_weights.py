"""The weights of a Keras model under the names that files of all releases have for them.

A weight is identified by its layer and its role. Files write the two in several forms:

    0.3              layer_0/param_0                     by order alone
    1.x              dense_1/dense_1_W
    2.x, tf.keras    dense_1/dense_1/kernel:0
    3.x, ``.h5``     dense_1/sequential/dense_1/kernel
    3.x, ``.keras``  layers/dense/vars/0                 by class and number
    tf.train         layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE

Names are normalised to ``dense_1/kernel`` on both sides; those by class and number are derived from
the model by the same walk that writes them. The separate gates of 1.x (LSTM and GRU) are joined, and
convolution kernels are rotated and transposed if the metadata of the file requires it.

Evidence: ``preprocess_weights_for_loading`` of ``keras/engine/saving.py`` 2.2.4 (gates, axes,
turning), ``keras/utils/conv_utils.py`` (``convert_kernel``), ``_save_state`` and
``_save_container_state`` of ``keras/src/saving/saving_lib.py`` 3.x.
"""

from __future__ import annotations

import functools
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from persist._restore.keras_kernels import Joined, Kernel, Layout, kind_of, layouts
from persist._restore.match import Slot, Target
from persist._runtime.lazy_regex import regex
from persist._wire.base.ml_dtypes import extended
from persist.typing import Array, DType

__all__ = ["NetworkTarget", "is_network"]

# Role in a file -> current role.
_ROLES = {
    **dict.fromkeys(("W", "weights", "embeddings"), "kernel"),
    **dict.fromkeys(("b", "biases"), "bias"),
    "U": "recurrent_kernel",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",  # it always held the variance
    "alphas": "alpha",
}
_OF_1 = regex(
    r"(.+?)_(running_mean|running_std|gamma|beta|alphas|depthwise_kernel|pointwise_kernel"
    r"|[WUb]_[ifcozrh]|[WUb])"
)
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_CELL = regex(r"(\w*_)?cell(_\d+)?")
_GATES = {"icfo": "ifco", "zrh": "zrh"}  # as 1.x has them -> as they are joined

_OWN = (
    ("_trainable_variables", "_non_trainable_variables"),  # Keras 3
    ("_trainable_weights", "_non_trainable_weights"),  # tf.keras
)
_FIRST = ("kernel", "embeddings", "bias")  # of a quantized layer's weights
_DEEPEST = 12  # attributes below a model
_BOOKKEEPING = {  # attributes in which the libraries keep layers once more
    *("layers", "_layers", "_operations", "_modules", "_functional", "_metrics"),
    *("_input_layers", "_output_layers", "_flattened_layers"),
}
_VISITS = 4  # paths to one layer that are followed


def is_network(value: object) -> bool:
    """Whether something is a model of Keras, or looks like one."""
    if isinstance(value, Mapping) or not hasattr(value, "layers"):
        return False
    weights = getattr(value, "weights", None)
    return isinstance(weights, list | tuple) and all(
        hasattr(one, "assign") or hasattr(one, "set_value") for one in weights
    )


@attrs.frozen
class _Weight:
    """A weight of the model."""

    variable: Any
    layer: str  # of the model itself
    name: str  # layer/role
    raw: str
    kind: str  # "", "conv", "transposed": how its kernel may have to be turned
    is_first: bool  # its axes: out, in, rows, columns
    saved: tuple[str, ...]  # names by class and number
    doubled: tuple[str, ...]  # the same, where layers with weights were counted twice


class NetworkTarget(Target):
    """A Keras model of any release, filled with the help of the file's metadata.

    Args:
        model: with ``layers`` and ``weights``.
        format: that of the file.
        structure: gives the file's structure.
    """

    def __init__(
        self, model: object, format: str = "", structure: Callable[[], Any] | None = None
    ) -> None:
        self._model = model
        self._is_keras = format.startswith("keras")
        self._structure = structure
        self._weights = {weight.name: weight for weight in _weights_of(model)}
        self._joined: dict[str, Joined] = {}
        self._arrays: Mapping[str, Any] = {}
        self._pairs: dict[str, str] = {}
        super().__init__(_slot(weight) for weight in self._weights.values())

    @functools.cached_property
    def _file_structure(self) -> dict[str, Any]:
        structure = self._structure() if self._is_keras and self._structure is not None else None
        return structure if isinstance(structure, dict) else {}

    @functools.cached_property
    def _layer_of(self) -> dict[str, tuple[str, str]]:
        """Name in the file -> (layer, name of the weight), from the file's metadata."""
        names = self._file_structure.get("weight_names") or {}
        return {f"{layer}/{one}": (layer, one) for layer, own in names.items() for one in own}

    # Which arrays.

    def is_foreign(self, name: str) -> bool:
        """Whether an array is of the optimizer, a metric, or what makes random numbers."""
        if name.startswith("_CHECKPOINTABLE_OBJECT_GRAPH") or "/.OPTIMIZER_SLOT/" in name:
            return True
        steps = name.split("/")
        if steps[-2:] == [".ATTRIBUTES", "VARIABLE_VALUE"]:
            return steps[0] in ("optimizer", "save_counter")
        if not self._is_keras:
            return False
        known = any(
            name.startswith(f"{layer}/") for layer in self._file_structure.get("layer_names") or ()
        )
        return (
            not known
            and (
                steps[0] in ("optimizer_weights", "optimizer", "save_counter", "@code", "assets")
                or (steps[0] == "metrics" and steps[-2:-1] == ["vars"])  # tf.keras 2.12 to 2.15
                or (steps[-2:-1] == ["vars"] and "seed_generator" in steps)
            )
        )

    def ordered(self, names: list[str]) -> list[str]:
        """The names by layers and, in a layer, by its weights; a file's tree has its own order."""
        ranks = {name: rank for rank, name in enumerate(self._file_structure.get("weights") or ())}
        return sorted(names, key=lambda name: ranks.get(name, len(ranks)))

    def extended(self, arrays: Mapping[str, Any]) -> Mapping[str, object]:
        """The arrays, and the gates of 1.x joined."""
        self._arrays = arrays
        if not self._is_keras:
            return arrays
        gates: dict[tuple[str, str, str], dict[str, str]] = {}
        for name in arrays:
            layer, weight = self._layer_of.get(name, ("", ""))
            found = re.fullmatch(r"(.+)_([WUb])_([ifcozrh])(:\d+)?", weight)
            if found and len(arrays[name].shape) <= 2:
                gates.setdefault((layer, found[1], found[2]), {})[found[3]] = name
        for (layer, prefix, kind), parts in gates.items():
            for theirs, ours in _GATES.items():
                if set(parts) == set(theirs):
                    joined = Joined([arrays[parts[gate]] for gate in ours],
                                     [parts[gate] for gate in ours])  # fmt: skip
                    name = f"{layer}/{prefix}_{kind}_{{{','.join(ours)}}}"
                    self._joined[name] = joined
                    self._layer_of[name] = (layer, f"{prefix}_{kind}")
        return {**arrays, **self._joined}

    def parts(self, name: str) -> list[str]:
        """The names behind joined gates."""
        joined = self._joined.get(name)
        return [name] if joined is None else joined.names

    # By name.

    def paired(self, names: Mapping[str, str], slots: list[Slot]) -> dict[str, str]:
        """Match by layer and role, the most reliable rule first.

        A name is taken only if it is the only one that fits, on both sides.
        """
        weights = [self._weights[slot.name] for slot in slots]
        theirs = {original: self._keys_of(name, original) for name, original in names.items()}
        ours = {weight.name: _keys(weight.layer, weight.name) for weight in weights}
        pairs: dict[str, str] = {}
        _pair(pairs, {w.name: w.raw for w in weights}, {o: n for n, o in names.items()})
        for one, other in ((0, 0), (1, 1), (1, 3), (3, 1), (3, 3), (4, 4)):
            _pair(
                pairs,
                {name: keys[one] for name, keys in ours.items()},
                {name: keys[other] for name, keys in theirs.items()},
            )
        self._pair_numbered(pairs, weights, names)
        self._pair_in_layers(pairs, weights, names)
        self._pairs = pairs
        return pairs

    def _pair_in_layers(
        self, pairs: dict[str, str], weights: list[_Weight], names: Mapping[str, str]
    ) -> None:
        """Match the weights of a layer by their order, where it has as many in the file.

        Names inside a layer change with the release, and with the number of layers made before.
        """
        every = Counter(weight.layer for weight in self._weights.values())
        taken = set(pairs.values())
        for layer, own in (self._file_structure.get("weight_names") or {}).items():
            whole = {part: name for name, joined in self._joined.items() for part in joined.names}
            theirs = list(
                dict.fromkeys(whole.get(one, one) for one in (f"{layer}/{w}" for w in own))
            )
            ours = [weight.name for weight in weights if weight.layer == layer]
            if len(ours) != every[layer] or len(ours) != len(theirs):
                continue
            if not taken & set(theirs) and not pairs.keys() & set(ours):
                pairs.update(
                    (one, other)
                    for one, other in zip(ours, theirs, strict=True)
                    if names.get(other) == other
                )

    def _keys_of(self, name: str, original: str) -> Sequence[str]:
        """What a name after the rules may be; the file's own division only where none changed it."""
        layer, weight = self._layer_of.get(original, ("", "")) if name == original else ("", "")
        if not layer:
            layer, _, weight = name.partition("/")
        if not weight:
            layer, weight = "", layer
        return _keys(layer, _canonical(layer, weight))

    def _pair_numbered(
        self, pairs: dict[str, str], weights: list[_Weight], names: Mapping[str, str]
    ) -> None:
        """Match names by class and number: by the layers that the file lists, else by place."""
        numbered = {original: _bare(name) for name, original in names.items() if _is_numbered(name)}
        if _is_counted_twice(names):
            _pair_counted_twice(pairs, weights, numbered)
            return
        named = self._names_of_groups()
        known: dict[str, str] = {}
        for original, name in numbered.items():
            group, _, rest = name.removeprefix("layers/").partition("/")
            if name.startswith("layers/") and group in named:
                known[original] = f"{named[group]}/{rest}"
        for turn in range(2 * _VISITS):
            ours = {}
            for weight in weights:
                saved = weight.saved[turn] if turn < len(weight.saved) else ""
                if saved.startswith("layers/"):
                    _, _, rest = saved.removeprefix("layers/").partition("/")
                    ours[weight.name] = f"{weight.layer}/{rest}"
            _pair(pairs, ours, known)
        # A name that somebody chose is not passed over for a place.
        chosen = {
            original
            for original in known
            if not re.fullmatch(rf"{re.escape(_group(numbered[original]))}(_\d+)?",
                                known[original].partition("/")[0])
        }  # fmt: skip
        _pair_places(
            pairs, weights, {one: name for one, name in numbered.items() if one not in chosen}
        )

    def _names_of_groups(self) -> dict[str, str]:
        """Group by class and number -> name of the layer, from the configuration."""
        counts: Counter[str] = Counter()
        found = {}
        for layer in self._file_structure.get("layers") or ():
            if not layer["within"]:
                found[_numbered(layer["class_name"], counts)] = layer["name"]
        return found

    def in_order(self, names: list[str], slots: list[Slot]) -> dict[str, str]:
        """Match by place; that of names by class and number is in their numbers."""
        if not all(_is_numbered(name) for name in names):
            return super().in_order(names, slots)
        pairs: dict[str, str] = {}
        weights = [self._weights[slot.name] for slot in slots]
        pair = _pair_counted_twice if _is_counted_twice(names) else _pair_places
        pair(pairs, weights, {name: _bare(name) for name in names})
        return pairs

    # Kernels.

    def fitted(self, slot: Slot, name: str, array: Any) -> tuple[object, str]:
        """The array with the kernel of a convolution as this model has it."""
        weight = self._weights[slot.name]
        if not weight.kind or len(array.shape) < 3:
            return array, ""
        layer = self._layer_of.get(name, (name.partition("/")[0], ""))[0]
        found = self._layouts_of(slot, layer, tuple(array.shape))
        if not found:
            return array, ""
        layout, is_sure = found[0], len({one.name for one in found}) == 1
        notes = []
        if not is_sure and self._is_keras:
            layout = next((one for one in found if one.name in self._order_elsewhere), layout)
            notes.append(f"taken as {layout.name}: its shape fits either order")
        turned = (self._file_structure.get("kernel_order") or {}).get("turned")
        must_turn = turned is not None and turned != _is_of_theano(weight.variable)
        if must_turn:
            notes.append("kernel rotated by 180°")
        elif turned is None and self._is_keras and self._could_be_of_theano():
            notes.append("kernel not rotated: the file does not name its backend")
        if layout.moves:
            notes.append(layout.note)
        kernel = Kernel(array, layout, must_turn)
        return (kernel if must_turn or layout.moves else array), ", ".join(notes)

    def _layouts_of(self, slot: Slot, layer: str, shape: tuple[int, ...]) -> list[Layout]:
        """The layout of a kernel given in the file, or else all layouts that its shape allows."""
        weight = self._weights[slot.name]
        axes_of = (self._file_structure.get("kernel_order") or {}).get("layers") or {}
        axes = axes_of.get(layer) or axes_of.get("".join(slot.name.split("/")[-2:-1])) or {}
        found = [
            layout
            for layout in layouts(weight.kind, weight.is_first, shape, axes)
            if layout.shape == slot.shape
        ]
        best = [layout for layout in found if layout.name == axes.get("axes")]
        if best or not self._could_be_of_theano():
            return (best or found)[:1]
        return found

    @functools.cached_property
    def _order_elsewhere(self) -> set[str]:
        """The layout of the other kernels of this file, if it is unambiguous."""
        sure = set()
        for slot in self.slots:
            name = self._pairs.get(slot.name)
            array = self._arrays.get(name) if name is not None else None
            if self._weights[slot.name].kind and array is not None:
                found = self._layouts_of(slot, "", tuple(array.shape))
                names = {layout.name for layout in found}
                sure |= names if len(names) == 1 else set()
        return sure if len(sure) == 1 else set()

    def _could_be_of_theano(self) -> bool:
        """Whether a file without a backend in its metadata may have been written with Theano."""
        version = self._file_structure.get("keras_version")
        names = [
            one for own in (self._file_structure.get("weight_names") or {}).values() for one in own
        ]
        return version is None and bool(names) and not any(":" in name for name in names)


# Names.


def _bare(name: str) -> str:
    """A name by place as it is made here: without what releases and callers write around it."""
    if name.endswith(_VALUE):
        name = name.removesuffix(_VALUE)
        start = name.find("layer_with_weights-")
        return name[start:] if start >= 0 else re.sub(r"^(model|net)/", "", name)
    bare = "/".join(step.lstrip("_") for step in name.split("/"))
    return bare.replace("layer_checkpoint_dependencies/", "layers/")


def _is_numbered(name: str) -> bool:
    return re.search(r"(^|/)vars/\d+$", name) is not None or name.endswith(_VALUE)


def _group(name: str) -> str:
    return re.sub(r"_\d+$", "", name.removeprefix("layers/").partition("/")[0])


def _numbered(class_name: str, counts: Counter[str]) -> str:
    """A group's name by class and number (``to_snake_case`` of ``keras/src/utils/naming.py``)."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    counts[name] += 1
    return name if counts[name] == 1 else f"{name}_{counts[name] - 1}"


def _canonical(layer: str, weight: str) -> str:
    """``layer/role``, from a layer and what any release calls a weight of it."""
    weight = re.sub(r":\d+$", "", weight).removesuffix(_VALUE)
    if layer and f"/{layer}/" in f"/{weight}":
        weight = f"/{weight}".partition(f"/{layer}/")[2]
    way, _, last = weight.rpartition("/")
    old = _OF_1.fullmatch(last) if last not in _ROLES.values() else None
    if old and (old[1] == layer or not way):
        way, last = ("" if old[1] == layer else old[1]), old[2]
    last = _ROLES.get(last, last)
    return "/".join(step for step in (layer, way, last) if step)


def _keys(layer: str, name: str) -> Sequence[str]:
    """What a weight may go by, the fullest first; "" where there is no such name."""
    steps = name.split("/")
    without = [step for step in steps[:-1] if not _CELL.fullmatch(step)] + steps[-1:]
    below = name.removeprefix(f"{layer}/")
    rest = below if "/" in below else ""
    plain = "/".join(step for step in below.split("/")[:-1] if not _CELL.fullmatch(step))
    plain = f"{plain}/{steps[-1]}" if plain else ""
    return name, "/".join(without), rest, plain or "/".join(without), "/".join(without[-2:])


def _pair(pairs: dict[str, str], ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Add the pairs whose keys agree, each being the only one of its key on both sides."""
    taken = set(pairs.values())
    keys: dict[str, list[str]] = {}
    for name, key in theirs.items():
        if key and name not in taken:
            keys.setdefault(key, []).append(name)
    wanted = Counter(key for name, key in ours.items() if name not in pairs)
    for name, key in ours.items():
        if name not in pairs and wanted[key] == 1 and len(keys.get(key, ())) == 1:
            pairs[name] = keys[key][0]


def _pair_places(
    pairs: dict[str, str], weights: list[_Weight], numbered: Mapping[str, str]
) -> None:
    """Add the pairs of what is saved under the same class and number."""
    for turn in range(2 * _VISITS):
        ours = {weight.name: weight.saved[turn] for weight in weights if turn < len(weight.saved)}
        _pair(pairs, ours, numbered)


def _pair_counted_twice(
    pairs: dict[str, str], weights: list[_Weight], numbered: Mapping[str, str]
) -> None:
    """The same, where layers with weights were counted twice."""
    for turn in range(_VISITS):
        ours = {one.name: one.doubled[turn] for one in weights if turn < len(one.doubled)}
        _pair(pairs, ours, numbered)


def _is_counted_twice(names: Iterable[str]) -> bool:
    """Whether numbers of a class are not those of neighbours: ``dense``, ``dense_2``, ``dense_4``.

    tf.keras 2.13 walked ``_layer_checkpoint_dependencies``, which has a layer with weights under two keys
    (``_save_container_state`` of ``keras/src/saving/saving_lib.py``, and that property of
    ``keras/src/engine/functional.py``).
    """
    groups: dict[tuple[str, str], set[int]] = {}
    for name in names:
        steps = name.split("/")
        for at, step in enumerate(steps[:-1]):
            if step == "_layer_checkpoint_dependencies":
                kind, _, number = steps[at + 1].rpartition("_")
                is_first = not kind or not number.isdigit()
                key = "/".join(steps[:at]), steps[at + 1] if is_first else kind
                groups.setdefault(key, set()).add(0 if is_first else int(number))
    return any(
        max(found) >= len(found) and len(found) > 1 for found in groups.values()
    )  # fmt: skip


# The model.


def _weights_of(model: Any) -> Iterator[_Weight]:
    """Each weight once: by layers, in a layer what is trained first, as files have them."""
    holders = _holders(model)
    names: Counter[str] = Counter()
    seen: set[int] = set()
    groups = [(str(getattr(layer, "name", "")), layer) for layer in model.layers]
    for layer_name, holder in [*groups, ("", model)]:
        for variable in _in_order(holder):
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            raw = _raw(variable)
            name = _canonical(layer_name, raw)
            if layer_name == "" and "/" in name:
                layer_name_of, _, below = name.partition("/")
                name = _canonical(layer_name_of, below)
            names[name] += 1
            owner, saved, doubled = holders.get(id(variable), (holder, (), ()))
            yield _Weight(
                variable,
                layer_name or name.partition("/")[0],
                name if names[name] == 1 else f"{name}~{names[name]}",
                raw,
                kind_of(owner, name),
                getattr(owner, "dim_ordering", None) == "th",
                tuple(saved),
                tuple(doubled),
            )


def _in_order(holder: object) -> Iterable[object]:
    """The weights of a layer as files have them (``_legacy_weights``)."""
    trained = getattr(holder, "trainable_weights", None)
    others = getattr(holder, "non_trainable_weights", None)
    every = list(getattr(holder, "weights", ()))
    if isinstance(trained, list) and isinstance(others, list):
        first = [*trained, *others]
        if {id(one) for one in first} == {id(one) for one in every}:
            return first
    return every


def _holders(model: object) -> dict[int, tuple[object, list[str], list[str]]]:
    """id of a weight -> (the layer that holds it, its names by place, those where layers were counted twice).

    Two kinds of the first: by class and number (Keras), and by attribute and index (TensorFlow's
    object checkpoints).
    """
    found: dict[int, tuple[Any, list[str], list[str]]] = {}
    visits: Counter[int] = Counter()
    todo: deque[tuple[object, str, str, str, int]] = deque([(model, "", "", "", 0)])
    while todo:
        holder, path, way, twice, depth = todo.popleft()
        visits[id(holder)] += 1
        if visits[id(holder)] > _VISITS or depth > _DEEPEST:
            continue
        children = list(_children(holder))
        for index, variable in enumerate(_own(holder, [child for _, _, child in children])):
            _, saved, doubled = found.setdefault(id(variable), (holder, [], []))
            doubled.append(f"{twice}vars/{index}")
            role = re.sub(r":\d+$", "", _raw(variable)).rpartition("/")[2]
            saved += [f"{path}vars/{index}", f"{way}{role}"]
        counts: Counter[str] = Counter()
        for one, two, child in children:
            three = _counted_twice(child, counts) if one.startswith("layers/") else one
            todo.append((child, f"{path}{one}/", f"{way}{two}/", f"{twice}{three}/", depth + 1))
    return found


def _counted_twice(layer: Any, counts: Counter[str]) -> str:
    name = _numbered(type(layer).__name__, counts)
    if layer.weights:
        _numbered(type(layer).__name__, counts)
    return f"layers/{name}"


def _raw(variable: Any) -> str:
    return str(getattr(variable, "path", None) or variable.name)


def _own(holder: object, children: list[object]) -> list[object]:
    """The weights that a layer holds itself, in the order in which they are saved."""
    for names in _OWN:
        lists = [getattr(holder, name, None) for name in names]
        if all(isinstance(one, list | tuple) for one in lists):
            found = [variable for one in lists if one is not None for variable in one]
            return _of_quantized(holder, found)
    below = {id(one) for child in children for one in getattr(child, "weights", ())}
    return [one for one in getattr(holder, "weights", ()) if id(one) not in below]


def _of_quantized(holder: object, found: list[object]) -> list[object]:
    """A layer that was quantized saves its weights in an order that it lists, not as it made them."""
    mode = getattr(holder, "quantization_mode", None)
    if mode is None:
        return found
    listed = getattr(holder, "variable_serialization_spec", None)  # since 3.12
    names = listed.get(mode, ()) if isinstance(listed, Mapping) else _FIRST
    first = []
    for name in names:
        for attribute in (f"_{name}", name):  # the bare name may be a property that computes
            variable = getattr(holder, attribute, None)
            if any(variable is one for one in found):
                first.append(variable)
                break
    return first + [one for one in found if not any(one is other for other in first)]


def _children(holder: object) -> Iterator[tuple[str, str, object]]:
    """The layers in a layer's attributes: (by class and number, by index, layer)."""
    layers = getattr(holder, "layers", None)
    if isinstance(layers, list | tuple):
        yield from _listed("layers", layers)
    held = dict(getattr(holder, "__dict__", {}))
    inner = held.get("_modules")  # on torch's backend, layers are kept here
    for name, value in sorted({**(inner if isinstance(inner, dict) else {}), **held}.items()):
        bare = name.lstrip("_")
        if name in _BOOKKEEPING or name.startswith("_self_"):
            continue
        if isinstance(value, Mapping):
            value = list(value.values())
        if isinstance(value, list | tuple):
            yield from _listed(bare, value)
        elif _is_layer(value):
            yield bare, bare, value


def _listed(name: str, values: Iterable[Any]) -> Iterator[tuple[str, str, object]]:
    counts: Counter[str] = Counter()
    heavy = 0
    for index, value in enumerate(values):
        if _is_layer(value):
            way = f"layer_with_weights-{heavy}" if name == "layers" else f"{name}/{index}"
            heavy += bool(value.weights)
            yield f"{name}/{_numbered(type(value).__name__, counts)}", way, value


def _is_layer(value: object) -> bool:
    if isinstance(value, type) or hasattr(value, "assign"):
        return False
    return isinstance(getattr(value, "weights", None), list | tuple)


def _slot(weight: _Weight) -> Slot:
    variable = weight.variable
    take = getattr(variable, "assign", None) or variable.set_value
    shape = getattr(variable, "shape", None)
    if shape is None:  # a shared variable of Theano
        shape = variable.get_value(borrow=True).shape
    return Slot(
        weight.name,
        tuple(int(one) for one in shape),
        _dtype_of(variable),
        lambda array: _give(take, array),
        known_as=(weight.raw, re.sub(r":\d+$", "", weight.raw)),
    )


def _give(take: Callable[[Any], object], array: Array) -> None:
    take(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape))


def _dtype_of(variable: Any) -> DType | None:
    dtype = getattr(variable.dtype, "as_numpy_dtype", variable.dtype)
    try:
        found: DType = np.dtype(dtype)
        return found
    except TypeError:
        pass
    try:
        return extended(str(dtype).rpartition(".")[2])
    except KeyError:
        return None


def _is_of_theano(variable: object) -> bool:
    return any(cls.__module__.partition(".")[0] == "theano" for cls in type(variable).__mro__)
