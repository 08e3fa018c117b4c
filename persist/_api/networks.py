"""Networks of Keras: their configuration as records, upgraded by the pack, made into a living model."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from persist._runtime.lazy_regex import regex
from persist._wire.keras import network as wire
from persist.errors import FormatError, MissingExtraError, PersistError, RestoreError
from persist.tree import Record

if TYPE_CHECKING:
    from persist._api.file import File
    from persist._upgrade.plan import Plan

__all__ = ["Found", "found_in", "load_network", "plan_of"]

_FORMATS = ("keras-h5", "keras-zip", "keras-json", "keras-yaml")
_NAMES = {"keras.layers.Layer"}  # select the pack


@attrs.frozen
class Found:
    """The network of a file.

    Attributes:
        record: as written.
        config: the configuration, as written.
        version: of the records.
        has_weights: whether the file, or the one next to it, has them.
        training: what ``compile`` was given, as a record, or None.
        assumed: what the file does not say and was assumed, in words.
        fill: the file whose weights are put into the finished model, by their names; None if the
            record has them, or if there are none.
        network: what the record was made of.
    """

    record: Record
    config: Any
    version: int
    has_weights: bool
    training: Record | None = None
    fill: File | None = None
    assumed: tuple[str, ...] = ()
    network: wire.Network | None = None


def may_have_one(file: File) -> bool:
    """Whether a file's format is one of those that hold networks of Keras."""
    return file.format in _FORMATS


def why_not(found: Found) -> str:
    """Return why no living model can be made here, or an empty text."""
    from persist._restore.keras_models import keras_or_reason

    return keras_or_reason()[1]


def found_in(file: File, weights: File | None = None) -> Found | None:
    """Return the network of a file, or None where it has no configuration of one.

    Args:
        file: of Keras.
        weights: the file of its weights, where they are not in it.

    Raises:
        FormatError: the configuration is damaged.
    """
    if file.format not in _FORMATS:
        return None
    from persist._wire.keras.config import is_architecture

    structure = file.structure
    config = structure.get("model")
    if not is_architecture(config):
        return None
    source = weights if weights is not None else file
    own = source.structure if weights is not None else structure
    release = file.writer.get("keras") or own.get("keras_version")
    version = wire.version_of(release, config)
    names = own.get("weight_names")
    # Weights by class and number are not listed by layer, and those of Keras 3 need no conversion.
    is_listed = isinstance(names, dict) and bool(names) and version < 4
    fill = None if is_listed or not source.arrays else source
    if not is_listed:
        names = None
    backend = _backend(file, own, version)
    arrays = source.arrays if names else {}
    network = wire.Network(config, names, arrays, version, backend, release)
    assumed: list[str] = []
    record = wire.network_record(network, _count, assumed)
    if version == 1 and _written_backend(file, own) is None and wire.depends_on_backend(record):
        assumed.append("it does not say which backend computed it; Theano is assumed")
    has_weights = is_listed or fill is not None or file.format in ("keras-h5", "keras-zip")
    training = _training(structure.get("training_config"), config, version)
    return Found(record, config, version, has_weights, training, fill, tuple(assumed), network)


def _backend(file: File, structure: Mapping[str, Any], version: int) -> str | None:
    known = _written_backend(file, structure)
    if known is None and version == 2 and structure.get("weight_names"):
        names = [one for own in structure["weight_names"].values() for one in own]
        known = "tensorflow" if any(":" in one for one in names) else "theano"
    if known is None and version == 1:
        known = "theano"  # 0.x had TensorFlow for its last three months, and says nothing
    return known


def _written_backend(file: File, structure: Mapping[str, Any]) -> str | None:
    return file.writer.get("backend") or (structure.get("kernel_order") or {}).get("backend")


def _count(record: Record) -> int | None:
    from persist.packs import _gather

    pack = _gather.module_of("keras")
    if pack is None:
        return None
    found: int | None = pack.count_of(record.cls.name, record.version, record.fields())
    return found


def _training(training: object, config: object, version: int) -> Record | None:
    if not isinstance(training, dict):
        if version != 1 or not isinstance(config, dict) or "loss" not in config:
            return None
        training = {"loss": config["loss"], "optimizer_config": config.get("optimizer")}
    state = dict(training)
    optimizer = state.pop("optimizer_config", None) or state.pop("optimizer", None)
    if isinstance(optimizer, dict):
        kind = optimizer.get("class_name") or optimizer.get("name")
        options = optimizer.get("config")
        if not isinstance(options, dict):
            options = {key: value for key, value in optimizer.items() if key != "name"}
        kind = str(kind).rpartition(">")[2]  # "Custom>Adam": tf.keras 2.11
        kind = _SPELLED.get(kind.lower(), kind)
        state["optimizer"] = Record(f"keras.compile.{kind}", dict(options), version=version)
    if isinstance(state.get("loss"), dict) and len(state["loss"]) == 1 and version == 1:
        state["loss"] = next(iter(state["loss"].values()))
    return Record("keras.compile.Arguments", state, version=version)


_SPELLED = {
    name.lower(): name
    for name in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam", "Ftrl")
}


def plan_of(file: File, found: Found) -> tuple[Record, Plan]:
    """Upgrade a network without effect: its record of today, and what was done to each layer."""
    from persist._upgrade import records
    from persist.packs import _gather

    knowledge = _gather.gather(_NAMES, file.knowledge)
    tree, rehearsal = records.rehearse(found.record, knowledge, file=file.name, read=True)
    return tree, rehearsal.plan


def explained(file: File, trust: Iterable[str]) -> Plan | None:
    """Return what is done to each layer of the network of a file; None where it has none."""
    found = found_in(file) if may_have_one(file) else None
    if found is None:
        return None
    record, plan = plan_of(file, found)
    own = {id(entry.problem) for entry in plan}
    problems = problems_of(found, record, plan, custom_objects(trust, found.record))
    plan._general += [one for one in problems if id(one) not in own]
    root = next((entry for entry in plan if entry.qualname.startswith(_MODELS)), None)
    if root is not None and found.assumed:
        root.note = "; ".join([root.note, *found.assumed] if root.note else found.assumed)
    return plan


def custom_objects(trust: Iterable[str], record: Record) -> dict[str, Any]:
    """The user's own classes and functions by name: what is registered, and what is trusted.

    Args:
        trust: dotted names of classes.
        record: of the network, whose names are looked up in Keras's scopes.
    """
    from persist._restore.keras_models import keras_or_reason, names_in

    keras, _ = keras_or_reason()
    found: dict[str, Any] = {}
    if keras is not None:
        found.update(keras.saving.get_custom_objects())
        for name in names_in(record):
            value = keras.saving.get_registered_object(name)
            if value is not None:
                found.setdefault(name, value)
    for name in trust:
        module, _, last = name.rpartition(".")
        if not module or "*" in name or module.partition(".")[0] == "keras":
            continue
        try:
            value = getattr(importlib.import_module(module), last)
        except (ImportError, AttributeError):
            continue
        if isinstance(value, type):
            found.setdefault(last, value)
    return found


def problems_of(
    network: Found, record: object, plan: Plan, custom: Mapping[str, object]
) -> list[PersistError]:
    """All that cannot be brought over: the layers' own problems, else those of the models around."""
    from persist._restore import keras_models

    if network.version == 4:
        try:
            keras_models.check_modules(network.config, custom)
        except PersistError as error:
            return [error]
        return []
    entries = [entry for entry in plan if entry.problem is not None]
    own = [entry for entry in entries if not entry.qualname.startswith(_MODELS)]
    found: list[PersistError] = []
    for entry in own or entries:
        assert entry.problem is not None
        entry.problem.where = f"layer {entry.path!r} ({entry.qualname.rpartition('.')[2]})"
        found.append(entry.problem)
    if isinstance(record, Record):
        found += keras_models.faults(record, custom, plan.opaque)
    return found


_MODELS = ("keras.Sequential", "keras.Model", "keras.Graph")


def load_network(file: File, found: Found, trust: Iterable[str]) -> tuple[Any, list[str]]:
    """Make the living model of a file, and return it with what was left out, in words.

    Raises:
        RestoreError: parts of it cannot be brought over; all of them are listed.
    """
    from persist._restore import keras_models

    custom = custom_objects(trust, found.record)
    notes = list(found.assumed)
    if found.version == 4:
        model = keras_models.build_current(found.config, custom)
        _fill(found, model)
        return model, [*notes, *_compile_current(file, model, custom)]
    record, plan = plan_of(file, found)
    problems = problems_of(found, record, plan, custom)
    if problems:
        raise keras_models.refuse(problems, file.name)
    try:
        model = keras_models.build(record, custom)
    except RestoreError as error:
        raise error.at(file=file.name) from error.__cause__
    _fill(found, model)
    return model, [*notes, *_compile(file, found, model)]


def _fill(found: Found, model: object) -> None:
    """Put weights into a finished model by their names, all of them or an error."""
    from persist._restore import match
    from persist._restore.targets import target_of

    source = found.fill
    if source is None:
        return
    target = target_of(model, source.format, lambda: source.structure)
    match.fill(source.arrays, target, match="name", only=None, strict=True, file=source.name)


def converted(file: File, weights: File | None, allow_partial: bool) -> tuple[Any, list[str]]:
    """Return the living model of a file, and what was left out, in words.

    Args:
        file: of Keras.
        weights: the file of its weights, where they are not in it.
        allow_partial: make what can be made, if not everything can be.

    Raises:
        FormatError: the file has no network.
        MissingExtraError: Keras 3 is not installed.
        RestoreError: parts of it cannot be brought over; all of them are listed.
    """
    found = found_in(file, weights)
    if found is None:
        raise FormatError(
            "it holds no network of Keras whose architecture is stated.",
            file=file.name,
            remedy="Weights alone are converted to npz or safetensors; with the architecture (JSON "
            "or YAML) as the file, --weights names them.",
        )
    if not found.has_weights:
        raise FormatError(
            "it holds an architecture without weights.",
            file=file.name,
            remedy="Name the file of the weights: --weights FILE.",
        )
    reason = why_not(found)
    if reason:
        raise MissingExtraError(
            f"{reason}.",
            file=file.name,
            remedy="Install Keras 3 and a backend (pip install keras jax), and name it in the "
            "environment: KERAS_BACKEND=jax, torch or tensorflow.",
        )
    lost: list[str] = []
    if allow_partial and found.version < 4:
        found, lost = _part_that_can_be(file, found)
    model, notes = load_network(file, found, ())
    return model, [*lost, *notes]


def _part_that_can_be(file: File, found: Found) -> tuple[Found, list[str]]:
    """The network without layers that cannot be brought over and all that depend on them."""
    record, plan = plan_of(file, found)
    problems = problems_of(found, record, plan, custom_objects((), found.record))
    if not problems:
        return found, []
    named = {found_name[1] for one in problems if (found_name := _OUTER.search(one.where or ""))}
    kept = wire.without(found.record, named)
    if kept is None:
        raise RestoreError(
            "no part of the network can be brought over.",
            file=file.name,
            remedy="The weights alone: persist convert --to npz.",
        )
    lost = [str(one.__cause__ or one) for one in problems]
    return attrs.evolve(found, record=kept, training=None), lost


_OUTER = regex(r"layer '(?:layers/)?([^/']+)")


def _compile(file: File, found: Found, model: Any) -> list[str]:
    """Compile a model as the file says; return what could not be done, in words."""
    from persist._restore import keras_models
    from persist._upgrade import records
    from persist.packs import _gather

    stored = _optimizer_weights(file)
    lost = [f"{len(stored)} variables of its optimizer stay in the file"] if stored else []
    if found.training is None:
        return lost
    knowledge = _gather.gather(_NAMES, file.knowledge)
    training, rehearsal = records.rehearse(found.training, knowledge, file=file.name)
    for problem in rehearsal.plan.problems:
        cause = problem.__cause__
        text = cause.what if isinstance(cause, RestoreError) else problem.what
        return [f"the model is not compiled: {text}", *lost]
    notes = keras_models.compiled(model, training, training.fields().get("optimizer"))
    if not stored or model.optimizer is None or not hasattr(model, "loss"):
        return [*notes, *lost]
    reason = _bring_optimizer(file, found, model, stored)
    return [*notes, *([f"{lost[0]}: {reason}"] if reason else [])]


def _compile_current(file: File, model: object, custom: Mapping[str, object]) -> list[str]:
    """The same for a file of Keras 3, whose optimizer is today's."""
    from persist._restore import keras_models, keras_optimizers

    config = file.structure.get("training_config")
    stored = _optimizer_weights(file)
    lost = [f"{len(stored)} variables of its optimizer stay in the file"] if stored else []
    if not isinstance(config, dict):
        return lost
    config = dict(config)
    if "optimizer_config" in config:  # HDF5
        config["optimizer"] = config.pop("optimizer_config")
    notes = keras_models.compiled_current(model, config, custom)
    if notes or not stored:
        return [*notes, *lost]
    if not hasattr(model, "optimizer") or model.optimizer is None:
        return lost
    reason = keras_optimizers.in_order(model.optimizer, [array for _, array in stored])
    return [f"{lost[0]}: {reason}"] if reason else []


def _optimizer_weights(file: File) -> list[tuple[str, object]]:
    """The variables of the optimizer by name, in the order of the file."""
    names = file.structure.get("optimizer_weight_names") or ()
    found = [f"optimizer_weights/{name}" for name in names]
    if not found:
        numbers = [name for name in file.arrays if _NUMBERED.fullmatch(name)]
        found = sorted(numbers, key=lambda name: int(name.rpartition("/")[2]))
    return [
        (name.removeprefix("optimizer_weights/"), file.arrays[name])
        for name in found
        if name in file.arrays
    ]


_NUMBERED = regex(r"optimizer/vars/\d{1,9}")


def _bring_optimizer(file: File, found: Found, model: Any, stored: list[tuple[str, object]]) -> str:
    """Put the state of the file's optimizer into the model's; return why not, or an empty text."""
    from persist._restore import keras_models, keras_optimizers

    model.optimizer.build(model.trainable_variables)
    network = found.network
    if found.fill is not None or network is None or network.weights is None:
        return keras_optimizers.brought_over(model, stored, None, {}, ())
    moves = keras_optimizers.Moves(network.arrays)
    numbered = attrs.evolve(network, arrays=moves)
    record, plan = plan_of(
        file, attrs.evolve(found, record=wire.network_record(numbered, _count, []))
    )
    if plan.problems:
        return "where weights of the file are in the model is not known"
    numbers = {id(variable): array for variable, array in keras_models.weights_of(record, model)}
    order = [f"{layer}/{name}" for layer, names in network.weights.items() for name in names]
    return keras_optimizers.brought_over(
        model, stored, moves, numbers, order, is_sorted=found.version == 2
    )
