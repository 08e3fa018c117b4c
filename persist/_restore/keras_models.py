"""Make a living model of Keras 3 from records of layers, and give it their weights.

The records are those of `persist._wire.keras.network`, upgraded to version 4. What cannot be made is
listed before anything is built. Keras makes layers only from classes of its own, or of custom objects
that the user registered or trusts: no module that a configuration names is imported.

Evidence: ``deserialize_keras_object`` of ``keras/src/saving/serialization_lib.py``,
``functional_from_config`` of ``keras/src/models/functional.py``, ``_legacy_weights`` of
``keras/src/legacy/saving/legacy_h5_format.py``, all of 3.15.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from persist.errors import PersistError, RestoreError, UntrustedError
from persist.tree import Record

__all__ = [
    "build",
    "build_current",
    "check_modules",
    "compiled",
    "compiled_current",
    "faults",
    "keras_or_reason",
    "names_in",
    "refuse",
    "weights_of",
]

ACTIVATIONS = {
    *("softmax", "elu", "selu", "softplus", "softsign", "relu", "relu6", "tanh", "sigmoid", "gelu"),
    *(
        "hard_sigmoid",
        "linear",
        "exponential",
        "swish",
        "silu",
        "leaky_relu",
        "mish",
        "celu",
        "glu",
    ),
    *(
        "hard_silu",
        "hard_swish",
        "hard_tanh",
        "hard_shrink",
        "log_softmax",
        "log_sigmoid",
        "soft_shrink",
    ),
    *("sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink", "threshold"),
}
_INNER = ("layer", "forward_layer", "backward_layer", "cell")
_MODELS = ("keras.Sequential", "keras.Model")
_NOT_OPTIONS = (
    "weights",
    "backend",
    "release",
    "batch_input_shape",
    "registered_name",
    "then",
    "branches",
)
# Where classes that a configuration of Keras 3 names may be.
_MODULES = (
    *("keras.layers", "keras.models", "keras.initializers", "keras.regularizers", "keras.ops"),
    *(
        "keras.constraints",
        "keras.optimizers",
        "keras.losses",
        "keras.metrics",
        "keras.activations",
    ),
    *("keras.dtype_policies", "keras.quantizers", "keras.src.models", "keras.src.layers"),
    *("keras.src.ops", "keras.src.losses", "keras.src.metrics", "keras.src.optimizers"),
    *("keras.random", "keras.src.initializers"),
    *("keras.src.backend.torch.optimizers", "keras.src.backend.jax.optimizer"),
    *(
        "keras.src.backend.tensorflow.optimizer",
        "keras.src.backend.tensorflow.optimizer_distribute",
    ),
)
_REGISTER = (
    "Register its class with keras.saving.register_keras_serializable, or pass its dotted name "
    'in trust=["..."].'
)


def keras_or_reason() -> tuple[Any, str]:
    """Return Keras 3, and why it is not to be had where it is None."""
    try:
        keras = importlib.import_module("keras")
    except Exception as error:  # its backend may be missing, or broken
        return None, f"Keras cannot be imported ({type(error).__name__}: {error})"
    version = str(getattr(keras, "__version__", "?"))
    if not hasattr(keras, "saving") or int(version.partition(".")[0] or 0) < 3:
        return None, f"Keras {version} is installed, and the model is made for Keras 3"
    return keras, ""


# What cannot be made.


def faults(
    record: Record, custom: Mapping[str, Any], unknown: Collection[str]
) -> Iterator[PersistError]:
    """List the layers of an upgraded network that cannot be made.

    Args:
        record: of the model.
        unknown: the classes of which nothing is known, by their dotted names.
        custom: the user's own classes and functions, by name.
    """
    for path, one in _walk(record, ""):
        is_layer = one.qualname.startswith("keras.layers.")
        if is_layer and one.qualname in unknown and _registered(one, custom) is None:
            yield RestoreError(
                f"{one.cls.name}: no layer of Keras has this name.",
                where=f"layer {path!r}",
                remedy=_REGISTER,
            )
        for option in ("activation", "recurrent_activation"):
            value = one.fields().get(option)
            if isinstance(value, str) and value not in ACTIVATIONS and value not in custom:
                yield RestoreError(
                    f"{one.cls.name}: {option}={value!r} is no activation of Keras.",
                    where=f"layer {path!r}",
                    remedy="Register the function with keras.saving.register_keras_serializable.",
                )


def names_in(record: Record) -> set[str]:
    """The names of classes and activations in a network, which may be the user's own."""
    found = set()
    for _, one in _walk(record, ""):
        fields = one.fields()
        own = (fields.get(key) for key in ("activation", "recurrent_activation", "registered_name"))
        found |= {one.cls.name, *(name for name in own if isinstance(name, str))}
    return found


def refuse(problems: list[PersistError], file: str | None) -> PersistError:
    """Return one error for all that cannot be brought over."""
    lines = []
    for one in problems[:40]:
        cause = one.__cause__
        reported = cause if isinstance(cause, RestoreError) else one
        lines.append(f"\n  {one.where}: {reported.what} {reported.remedy}".rstrip())
    if len(problems) > 40:
        lines.append(f"\n  and {len(problems) - 40} more")
    return RestoreError(
        f"{len(problems)} part{'s' * (len(problems) != 1)} of the network cannot be brought to "
        f"Keras 3:{''.join(lines)}\n",
        file=file,
        remedy="The weights alone: persist.open(...).arrays, or persist.restore(file, model). "
        "The command `persist convert --allow-partial` writes them and what can be built.",
        problems=[str(one) for one in problems],
    )


def _registered(record: Record, custom: Mapping[str, object]) -> str | None:
    name = record.cls.name
    for key in (record.fields().get("registered_name"), name):
        if isinstance(key, str) and key in custom:
            return key
    found = [key for key in custom if key.rpartition(">")[2] == name]
    return found[0] if len(found) == 1 else None


def _walk(record: Record, path: str) -> Iterator[tuple[str, Record]]:
    yield path, record
    for name, below in _below(record):
        yield from _walk(below, f"{path}/{name}" if path else name)


def _below(record: Record) -> Iterator[tuple[str, Record]]:
    fields = record.fields()
    layers = fields.get("layers")
    if isinstance(layers, dict):
        yield from layers.items()
    for key in _INNER:
        if isinstance(fields.get(key), Record):
            yield key, fields[key]
    for number, one in enumerate(fields.get("cells") or ()):
        if isinstance(one, Record):
            yield f"cells/{number}", one


# Building.


def build(record: Record, custom: Mapping[str, Any]) -> Any:
    """Make a model of an upgraded record, with its weights.

    Args:
        record: of the model.
        custom: the user's own classes and functions, by name.

    Raises:
        RestoreError: Keras refuses the configuration, or an array does not fit.
    """
    keras, reason = keras_or_reason()
    if keras is None:
        raise RestoreError(
            f"{reason}.",
            remedy="Install Keras 3 and a backend (pip install keras jax), and name it in the "
            "environment: KERAS_BACKEND=jax, torch or tensorflow.",
        )
    model = _made(keras, _serialized(record, custom), custom)
    for variable, array in weights_of(record, model):
        variable.assign(np.asarray(array))
    return model


def build_current(config: Any, custom: Mapping[str, object]) -> object:
    """Make a model of a configuration of Keras 3 as it is; its weights are the initial ones.

    Raises:
        UntrustedError: it names a module that is no part of Keras.
        RestoreError: Keras refuses it.
    """
    check_modules(config, custom)
    keras, _ = keras_or_reason()
    config = {key: value for key, value in config.items() if key != "compile_config"}
    if config.get("module") is None:  # HDF5 has the model itself in the spelling of Keras 2
        known = {"Sequential": "keras", "Functional": "keras.src.models.functional"}
        kind = {"Model": "Functional"}.get(config["class_name"], config["class_name"])
        if kind in known:
            config = _item(known[kind], kind, config["config"])
    return _made(keras, config, custom)


def compiled(model: Any, training: Record, optimizer: object) -> list[str]:
    """Compile a model as the file says, and return what could not be done, in words."""
    keras, _ = keras_or_reason()
    loss = training.fields().get("loss")
    options: dict[str, Any] = {"optimizer": "rmsprop", "loss": loss}
    if isinstance(optimizer, Record):
        options["optimizer"] = {
            "module": "keras.optimizers",
            "class_name": optimizer.cls.name,
            "config": dict(optimizer.fields()),
            "registered_name": None,
        }
    if training.fields().get("loss_weights"):
        options["loss_weights"] = training["loss_weights"]
    notes = []
    metrics = _metric_names(training.fields().get("metrics"))
    if metrics is None:
        notes.append("the metrics are left out: they are no names of metrics of Keras")
    else:
        options["metrics"] = metrics
    try:
        if isinstance(options["optimizer"], dict):
            options["optimizer"] = keras.optimizers.deserialize(options["optimizer"])
        model.compile(**options)
        if isinstance(loss, str):
            keras.losses.get(loss)
    except Exception as error:
        return [f"it is not compiled: {type(error).__name__}: {str(error)[:200]}"]
    return notes


def _metric_names(metrics: object) -> list[str] | None:
    """The metrics by name, as ``compile`` was given them; None where one has none."""
    found: list[str] = []
    todo = [metrics]
    while todo:
        item = todo.pop(0)
        if isinstance(item, list):
            todo[:0] = item
        elif isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict) and isinstance(item.get("config"), dict):
            name = item["config"].get("name")
            if not isinstance(name, str):
                return None
            found.append(name)
        elif item is not None:
            return None
    return found


_OF_BACKENDS = (
    "keras.src.backend."  # its own class of an optimizer, which deserializing chooses again
)


def compiled_current(model: Any, config: Any, custom: Mapping[str, object]) -> list[str]:
    """Compile a model of Keras 3 as its file says, and return what could not be done, in words."""
    keras, _ = keras_or_reason()
    notes = []
    optimizer = config.get("optimizer")
    if optimizer is None:  # Keras itself leaves one out that it cannot serialize
        notes.append("it does not state its optimizer; the model is compiled with rmsprop")
    elif isinstance(optimizer, dict) and str(optimizer.get("module")).startswith(_OF_BACKENDS):
        optimizer = {**optimizer, "module": "keras.optimizers", "registered_name": None}
        config = {**config, "optimizer": optimizer}
    try:
        check_modules(config, custom)
        with keras.saving.custom_object_scope(dict(custom)):
            model.compile_from_config(config)
    except Exception as error:
        return [f"it is not compiled: {type(error).__name__}: {str(error)[:200]}"]
    return notes


def _made(keras: Any, config: object, custom: Mapping[str, object]) -> Any:
    try:
        with keras.saving.custom_object_scope(dict(custom)):
            return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except PersistError:
        raise
    except Exception as error:  # whatever Keras, its backend or a custom class raises
        raise RestoreError(
            f"Keras {keras.__version__} refuses the configuration: {type(error).__name__}: "
            f"{str(error)[:600]}",
            remedy="The weights alone: persist.open(...).arrays, or persist.restore(file, model).",
        ) from error


def check_modules(config: object, custom: Mapping[str, object]) -> None:
    """Refuse a configuration of Keras 3 that names a module of others, or that has code in it.

    Raises:
        UntrustedError: it names a class that is no part of Keras, and that nobody registered.
        RestoreError: it has the code of a Lambda layer.
    """
    todo: list[object] = [config]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo += item.values()
            module, name = item.get("module"), item.get("class_name")
            if name == "__lambda__":
                raise RestoreError(
                    "a Lambda layer has its code in the file, and code from a file is never run.",
                    remedy="keras.saving.load_model(path, safe_mode=False) runs it, if you trust it.",
                )
            if not isinstance(name, str) or module in (None, "builtins", "keras"):
                continue
            is_own = isinstance(module, str) and any(
                module == one or module.startswith(f"{one}.") for one in _MODULES
            )
            key = item.get("registered_name")
            if not is_own and not (key in custom or name in custom):
                raise UntrustedError(
                    f"the configuration names {module}.{name}, which is no part of Keras.",
                    remedy=_REGISTER,
                )
        elif isinstance(item, list):
            todo += item


def _serialized(record: Record, custom: Mapping[str, object]) -> dict[str, object]:
    """A record as Keras 3 serializes what it is."""
    fields = record.fields()
    if record.qualname == "keras.Sequential":
        config = {
            "name": fields["name"],
            "trainable": fields.get("trainable", True),
            "layers": [_serialized(one, custom) for one in fields["layers"].values()],
        }
        return _item("keras", "Sequential", config)
    if record.qualname == "keras.Model":
        return _item("keras.src.models.functional", "Functional", _functional(fields, custom))
    config = {
        name: _plain(value, custom) for name, value in fields.items() if name not in _NOT_OPTIONS
    }
    if record.version != 4:
        key = _registered(record, custom)
        return {**_item(None, record.cls.name, config), "registered_name": key}
    if record.qualname.startswith("keras.ops."):
        return _item(
            f"keras.src.ops.{record.cls.module.rpartition('.')[2]}", record.cls.name, config
        )
    return _item("keras.layers", record.cls.name, config)


def _item(module: str | None, name: str, config: object) -> dict[str, object]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def _plain(value: object, custom: Mapping[str, Any]) -> Any:
    if isinstance(value, Record):
        return _serialized(value, custom)
    if isinstance(value, list):
        return [_plain(one, custom) for one in value]
    return value


def _functional(fields: Mapping[str, Any], custom: Mapping[str, object]) -> dict[str, object]:
    names = fields["layers"]
    layers = []
    for name, one in names.items():
        item = _serialized(one, custom)
        item["name"] = name
        item["inbound_nodes"] = [_node(call, names) for call in fields["nodes"].get(name, ())]
        layers.append(item)
    return {
        "name": fields["name"],
        "trainable": fields.get("trainable", True),
        "layers": layers,
        "input_layers": _alone(fields["input_layers"]),
        # `get_tensor` counts the calls of a network from 1.
        "output_layers": _alone(
            [
                [one[0], one[1] + (names[one[0]].qualname == "keras.Model"), *one[2:]]
                for one in fields["output_layers"]
            ]
        ),
    }


def _alone(ends: list[object]) -> object:
    """One end is no list of ends: it is a tensor, and not a list with a tensor."""
    return ends[0] if len(ends) == 1 else ends


def _node(call: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(call, dict):
        return call
    inputs, options = call
    if options is None:  # of an operation, whose inputs are arguments
        args = [_tensor(one) if isinstance(one, list) else one for one in inputs]
        return {"args": args, "kwargs": {}}
    tensors = [_tensor(one) for one in inputs]
    return {
        "args": [tensors if len(tensors) > 1 else tensors[0]],
        "kwargs": {name: _argument(value, names) for name, value in options.items()},
    }


def _argument(value: object, names: Mapping[str, Any]) -> object:
    if isinstance(value, list):
        if len(value) >= 3 and value[0] in (*names,) and all(type(n) is int for n in value[1:3]):
            return _tensor(value)
        return [_argument(one, names) for one in value]
    return value


def _tensor(history: Any) -> dict[str, Any]:
    # Only the history counts: `convert_revived_tensor` puts the tensor of that layer in its place.
    config = {"shape": [None], "dtype": "float32", "keras_history": list(history[:3])}
    return {"class_name": "__keras_tensor__", "config": config}


# Weights.


def weights_of(record: Record, layer: Any, path: str = "") -> Iterator[tuple[Any, Any]]:
    """Yield each variable of a layer or model that has its array in the record, with that array.

    Raises:
        RestoreError: an array does not fit.
    """
    below = list(_below(record))
    if record.qualname in _MODELS:
        for name, one in below:
            # The input of a sequence is none of its layers; operations have no weights.
            if one.cls.name != "InputLayer" and not one.qualname.startswith("keras.ops."):
                yield from weights_of(
                    one, layer.get_layer(name), f"{path}/{name}" if path else name
                )
        return
    for name, one in below:
        yield from weights_of(one, _part(layer, name), f"{path}/{name}")
    weights = record.fields().get("weights")
    if below or weights is None:
        return
    arrays = list(weights.values()) if isinstance(weights, dict) else list(weights)
    if arrays:
        yield from _paired(layer, arrays, path)


def _part(layer: object, name: str) -> Any:
    kind, _, number = name.partition("/")
    if number:
        return getattr(layer, kind)[int(number)]
    if kind == "layer" and hasattr(layer, "forward_layer"):
        return layer.forward_layer
    return getattr(layer, kind)


def _paired(layer: Any, arrays: list[Any], path: str) -> Iterator[tuple[object, object]]:
    variables = [*layer.trainable_weights, *layer.non_trainable_weights]
    shapes = [tuple(int(one) for one in variable.shape) for variable in variables]
    given = [tuple(np.shape(array)) for array in arrays]
    if shapes != given:
        text = f"of shapes {shapes}" if layer.built else "not known, as its input's shape is not"
        raise RestoreError(
            f"the file has arrays of shapes {given}, and the weights of the layer are {text}.",
            where=f"layer {path!r}",
            remedy="The weights alone: persist.open(...).arrays, or persist.restore(file, model).",
        )
    yield from zip(variables, arrays, strict=True)
