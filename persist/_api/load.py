"""`load`: read a file, gather what is known about its classes, upgrade its tree, build its objects."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from persist._api.file import (
    File,
    has_steps,
    names_declared,
    nothing_at,
    plain_value,
    settle_text_of,
    warn_about_damage,
    written_layouts,
)
from persist._api.keywords import complete, shares
from persist._api.open import check_arrays, open, open_writable
from persist._runtime.gc_pause import collector_paused
from persist._runtime.progress import current, reporting
from persist._trees.copier import Copier
from persist._trees.driver import TIMES
from persist._trees.pack_view import PackView
from persist._wire.torch.storage import placed_on
from persist.errors import (
    ChoiceWarning,
    MissingExtraError,
    OpaqueWarning,
    PersistError,
    SchemaError,
    SignatureError,
)
from persist.tree import ABSENT, Record

if TYPE_CHECKING:
    from persist._layouts.checks import Written
    from persist._objects.trust import Trust
    from persist._upgrade.plan import Plan
    from persist.registry import Registry
    from persist.typing import (
        LayoutPolicy,
        LoadOptions,
        OnError,
        Openable,
        OpenOptions,
        Resources,
        UnknownFields,
    )

__all__ = ["check_loads", "check_tree", "load", "load_file", "upgraded_state", "wanted_part"]


_T = TypeVar("_T")


@overload
def load(source: Openable, cls: type[_T], **options: Unpack[LoadOptions]) -> _T: ...


@overload
def load(source: Openable, cls: None = None, **options: Unpack[LoadOptions]) -> Any: ...


@shares
def load(
    source: Openable,
    cls: type | None = None,
    *,
    at: str = "",
    assume_version: int | None = None,
    trust: Iterable[str] = (),
    strict: bool = False,
    unknown: UnknownFields = "warn",
    validate: bool = True,
    migrate: bool = True,
    layout: LayoutPolicy | None = None,
    device: object = None,
    dtype: object = None,
    live: bool = True,
    weights: Openable | None = None,
    on_error: OnError = "raise",
    resources: Resources | None = None,
    require_signature: object = None,
    **options: Unpack[OpenOptions],
) -> Any:
    """Load what was saved, however long ago, as what it is today.

    The file is read into a tree, the tree is upgraded, and then objects are made: of classes
    that are declared (`Versioned`, `register`), and of those that ``trust`` names. Everything else
    stays a `Record` that looks like what it was. Arrays are writable and private (copy on write).

    Args:
        source: as for `open`.
        cls: the declared class that is wanted. A value that bears no class (a tuple, a dict, an
            npz, a state dict) is taken as an unversioned state of it: stamped, migrated,
            validated, built.
        at: the part of the file that is wanted, by its natural path (``model/state_dict``).
        assume_version: the version of a state of a declared class that states none by itself.
        trust: other classes that may be made: an exact dotted name may import its module, a
            pattern (``lab.*``) matches only what is imported already; functions never.
        strict: a class that would stay a record is an error, and so is a state whose version
            nothing states.
        unknown: what becomes of a field that no class declares: "warn" (left out, and reported once a
            class), "drop", "keep", "error".
        validate: run attrs' validators on what was upgraded.
        migrate: False leaves the records of declared classes that are not of today as they are.
        layout: what to do about a state whose version is today's and whose layout is not, since the
            class changed and its version did not: "error", "warn" or "ignore"; None leaves it to
            the registry (``Registry.layout_policy``), which says "error".
        mmap, verify, py2_str, salvage, step, storage_options, limits, progress: as for `open`.
        registry: schemas, aliases, stamps and migrations; None is the default one.
        arrays: "numpy", or "torch" to make tensors of all arrays (with torch installed).
        device: the device of torch on which tensors and modules are made, straight from the file
            ("cuda:0"); it makes tensors of all arrays.
        dtype: the dtype of torch in which those of floating point are made; likewise.
        live: make objects of installed libraries (pandas, scikit-learn, ...) where a pack knows how
            their states of every release become those of today; False leaves them records.
        weights: the file of the weights of a Keras network, if ``source`` has its architecture alone.
        on_error: "raise", or "record": a record of a declared class that cannot be upgraded or made
            stays a record, as it is in the file, and ``record.failure`` has the error; everything
            else is loaded. It takes more memory, as arrays of the file are copied.
        resources: what takes the place of what `resource` declares, a mapping or a function. Keys:
            the attribute (``"training_set"``), or the schema's name and the attribute
            (``"lab.Trainer.training_set"``); the value is a path that is opened instead, or the
            resource itself if it is neither text nor a path. Any other key is the beginning of paths,
            in whose place its value is put (``{"/old/data/": "/data/"}``). A function takes the
            path that the file has, and returns the one to open.
        require_signature: load only a container that was signed with this key, or one of a list of them, and
            not altered since: the path of a public key in PEM, its content as bytes, or an Ed25519 key of
            ``cryptography`` (see `persist.security.sign`). The whole file is read for it.

    Returns:
        The object; of a file of several pickles, the list of them. A network that any release of
        Keras saved is a model of Keras 3, where that is installed, and else its arrays.

    Raises:
        FormatError: the file cannot be read.
        PersistError: there is nothing at ``at``, or it is no ``cls``; or ``resources`` names what no
            object has.
        SchemaError: a record cannot be upgraded, with its path.
        UntrustedError: ``trust`` names a function.
        SignatureError: the file has no signature of the required keys, or was altered after it was signed.

    Warns:
        OpaqueWarning: once for each class that stayed a record, with the cure.
        FailedRecordWarning: once, with all records that failed.
        DamageWarning: once for each thing that was wrong with the file and passed over.
        ChoiceWarning: the source is a folder of several things, of which one was chosen; or what
            belongs to a network was left out.
    """
    from persist._api.unversioned import check_is

    said = complete(load, options)
    arrays = said["arrays"] if device is None and dtype is None else "torch"
    _check_choices(arrays, layout, on_error)
    recovers = on_error == "record" and migrate
    with (
        _once(source, (id(said["registry"]), migrate, said["step"])),
        reporting(said["progress"]),
        _opened(source, said, writable=not recovers) as file,
        collector_paused(),
        placed_on(device, dtype),
    ):
        _require(file, require_signature, weights)
        warn_about_damage(file)
        looker = file.looker if arrays == "torch" else None
        is_all = cls is None and not at and assume_version is None
        tree = ABSENT if is_all else wanted_part(file, cls, at, assume_version)
        value = _network(file, weights, trust) if is_all and migrate and live else ABSENT
        if value is ABSENT and migrate:
            value = load_file(
                file,
                trust,
                strict,
                unknown,
                validate,
                tree=tree,
                looker=looker,
                layout=layout,
                live=live,
                recovers=recovers,
                resources=resources,
            )
        elif value is ABSENT:
            written = file._written if is_all else tree
            value = _as_written(file, written, live=live, trust=trust, strict=strict, looker=looker)
        if cls is not None and not (recovers and getattr(value, "failure", None) is not None):
            check_is(value, cls, file.name)
        return value


def _opened(source: Openable, said: OpenOptions, *, writable: bool) -> File:
    """Open the file of a load: with NumPy's arrays, and with the progress of the load itself."""
    return open_writable(source, {**said, "arrays": "numpy", "progress": None}, writable=writable)


def _require(file: File, keys: object, weights: object) -> None:
    """Refuse a file that is not signed with one of these keys; None asks for no signature."""
    if keys is None:
        return
    from persist._container.signed import check, public_keys

    if weights is not None:
        raise SignatureError(
            "weights= is a file without a signature.",
            file=file.name,
            remedy="Leave weights= or require_signature= out.",
        )
    check(file._source, public_keys(keys))


def _check_choices(arrays: str, layout: str | None, on_error: str) -> None:
    """Refuse keywords whose values are no choices."""
    from persist._layouts import checks

    check_arrays(arrays)
    checks.check_policy(layout)
    if on_error not in ("raise", "record"):
        raise PersistError(f"on_error={on_error!r} is no choice.", remedy='"raise" or "record".')


def _as_written(file: File, tree: Any, **options: Any) -> object:
    """Make the objects of a tree that was not upgraded."""
    from persist._objects.build import build

    return build(tree, file.knowledge, file=file.path, is_known=file.is_known, **options)


def _network(file: File, weights: Openable | None, trust: Iterable[str]) -> object:
    """The living model of a file of Keras, or ABSENT where it has none or Keras is not here."""
    from persist._api import networks

    if not networks.may_have_one(file):
        return ABSENT
    with contextlib.ExitStack() as stack:
        other = None if weights is None else stack.enter_context(open(weights))
        found = networks.found_in(file, other)
        if found is None:
            return ABSENT
        reason = networks.why_not(found)
        if reason:
            warnings.warn(
                f"{file.name}: the network is given as its arrays and values: {reason}. Keras 3 needs a "
                "backend, which the environment names: KERAS_BACKEND=jax, torch or tensorflow.",
                OpaqueWarning,
                stacklevel=3,
            )
            return ABSENT
        if not found.has_weights:
            warnings.warn(
                f"{file.name}: it holds an architecture without weights; those of the model are "
                "initial. Fill it with persist.restore, or give weights=.",
                ChoiceWarning,
                stacklevel=3,
            )
        model, notes = networks.load_network(file, found, trust)
        for note in notes:
            warnings.warn(f"{file.name}: {note}", ChoiceWarning, stacklevel=3)
        return model


def load_file(
    file: File,
    trust: Iterable[str],
    strict: bool,
    unknown: UnknownFields,
    validate: bool,
    *,
    tree: object = ABSENT,
    looker: PackView | None = None,
    finish: bool = True,
    layout: str | None = None,
    live: bool = False,
    recovers: bool = False,
    resources: Resources | None = None,
) -> Any:
    """Upgrade the tree of a file, or a part of it, and make its objects.

    Args:
        file: that is open.
        trust, strict, unknown, validate: as for `load`.
        tree: a part of the file's tree; ABSENT is all of it.
        looker: sees arrays in records; with it, arrays become tensors of torch.
        finish: open resources and call ``__loaded__``.
        layout, live, resources: as for `load`.
        recovers: records that fail stay records (``on_error="record"``).
    """
    from persist._api.recover import recovered
    from persist._objects.build import build
    from persist._objects.trust import Trust
    from persist._torch_modules.reviving import tensors_of
    from persist._upgrade import today

    knowledge = file.knowledge
    trusted = Trust(trust, knowledge)
    made = functools.partial(
        build,
        trust=trusted,
        strict=strict,
        validate=validate,
        finish=finish,
        tensors=lambda: tensors_of(file._written),
        live=live,
        resources=resources,
    )
    if recovers:
        return recovered(
            file,
            file._written if tree is ABSENT else tree,
            build=functools.partial(made, looker=looker),
            see=_plain_values(file, trusted, live),
            unknown=unknown,
            strict=strict,
            layout=layout,
        )
    written = written_layouts(file)
    if tree is ABSENT and looker is None:
        found = ABSENT if written else _by_columns(file, made)
        if found is not ABSENT:
            return found
    tree, plan = file._written if tree is ABSENT else tree, None
    if written or not today.is_today(tree, knowledge):
        see = _plain_values(file, trusted, live)
        instead: dict[int, tuple[object, Record]] = {}
        if live:
            see = _noting_times(see, file.knowledge, instead)
            made = functools.partial(made, instead=instead)
        tree, plan = _upgraded(file, tree, see, unknown, strict, layout, written)
    return made(tree, knowledge, plan=plan, file=file.path, is_known=file.is_known, looker=looker)


def _upgraded(
    file: File,
    tree: object,
    see: Callable[[Record], object],
    unknown: UnknownFields,
    strict: bool,
    layout: str | None,
    written: Written,
) -> tuple[object, Plan]:
    """Upgrade a tree of a file, and decide what Python 2's text is in its fields."""
    from persist._objects.inert import Inert
    from persist._upgrade import records

    knowledge = file.knowledge
    tree, plan = records.upgrade(
        tree,
        knowledge,
        file=file.name,
        unknown=unknown,
        strict=strict,
        see=see,
        live=Inert(knowledge),
        read=True,
        layout=layout,
        written=written,
        listed=False,
    )
    settle_text_of(file, tree)
    return tree, plan


def _plain_values(file: File, trusted: Trust, live: bool) -> Callable[[Record], object]:
    """What takes the place of a library's record in an upgraded tree: a plain value, where a pack knows one.

    Of a file without steps, a record of which an object is made stays a record until then. Steps see
    plain values, whether the library is installed or not.
    """
    see = functools.partial(plain_value, file.looker, trusted)
    if not live or has_steps(file):
        return see
    knowledge = file.knowledge

    def unless_rebuilt(record: Record) -> Any:
        rebuilt = knowledge.rebuild_for(knowledge.resolve(record.qualname))
        return see(record) if rebuilt is None else ABSENT

    return unless_rebuilt


def _noting_times(
    see: Callable[[Record], object], knowledge: Registry, noted: dict[int, tuple[object, Record]]
) -> Callable[[Record], object]:
    """What `_plain_values` returns, and a note of the times among them, by their ids.

    Where the steps leave such a value as it is, the object of the library takes its place again: it
    may have nanoseconds, and is no value for "no time" of another library.
    """

    def seen_and_noted(record: Record) -> object:
        seen = see(record)
        if type(seen) in TIMES and knowledge.rebuild_for(knowledge.resolve(record.qualname)):
            noted[id(seen)] = seen, record
        return seen

    return seen_and_noted


def wanted_part(file: File, cls: type | None, at: str, assume_version: int | None) -> Any:
    """A part of a file's tree, as the state of a class where one is given."""
    from persist._api.unversioned import assume, state_of
    from persist._objects.torch_values import part_at
    from persist._objects.trust import Trust

    tree = part_at(file._written, file.looker, at) if at else file._written
    if tree is ABSENT:
        raise nothing_at(at, file)
    if cls is not None:
        seen = tree
        if isinstance(tree, Record):
            seen = plain_value(file.looker, Trust((), file.knowledge), tree)
        tree = state_of(tree if seen is ABSENT else seen, cls, file.knowledge)
    if assume_version is not None:
        assume(tree, assume_version, file.knowledge)
    return tree


class _Loading(threading.local):
    """What is being loaded, in this thread."""

    def __init__(self) -> None:
        self.sources: list[tuple[object, ...]] = []


_loading = _Loading()


@contextlib.contextmanager
def _once(source: Openable, options: tuple[object, ...]) -> Iterator[None]:
    """Refuse to load a file while it is loaded: a step or a class that does so would never end."""
    path = os.fsdecode(source) if isinstance(source, str | os.PathLike) else None
    key = (id(source) if path is None else os.path.abspath(path), options)
    if key in _loading.sources:
        raise SchemaError(
            "the file is loaded while it is being loaded: a step, a class or a resource asks for it.",
            file=path,
            remedy="A step gets the whole state that it needs; what else is in the file, "
            "persist.open(...) gives without upgrading it.",
        )
    _loading.sources.append(key)
    try:
        yield
    finally:
        _loading.sources.remove(key)


def check_loads(source: Openable, *, registry: Registry | None = None) -> None:
    """Make the objects of a file as `load` does, to see that it can be done, and let them go.

    Only classes that are declared are made; no resource is opened and no ``__loaded__`` called. A
    file that names no declared class is not tried, and arrays whose type needs an extra that is not
    installed are no fault of the file.

    Raises:
        FormatError, SchemaError, RestoreError: as `load` does.
    """
    with open(source, registry=registry) as file, collector_paused(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever writes a file reports its classes
        if names_declared(file):
            with contextlib.suppress(MissingExtraError):
                load_file(file, (), False, "warn", True, finish=False)


def check_tree(tree: object, registry: Registry, file: str | None = None) -> None:
    """Make the objects of an upgraded tree, which is used up; as `check_loads`."""
    from persist._objects.build import build

    with warnings.catch_warnings(), contextlib.suppress(MissingExtraError):
        warnings.simplefilter("ignore")
        build(tree, registry, file=file, finish=False)


def _by_columns(file: File, build: Callable[..., object]) -> object:
    """Make the instances of a container's tables straight from their columns.

    ABSENT where there are none, or where records are to be looked at one by one.
    """
    with_rows, knowledge = file._content.with_rows, file.knowledge
    if with_rows is None or any(knowledge.resolve(name) != name for name in file._content.globals):
        return ABSENT
    from persist._objects.rows import ColumnLoader, NotColumnar, RecordRows, StepFailure

    maker = ColumnLoader(knowledge)
    meter = current()
    count = None if meter is None else meter.count("build", "objects", file=file.path)
    if count is not None:
        maker.count(count)
    try:
        tree = with_rows(maker)
    except NotColumnar:
        if any(progress.done for progress in maker.progress.values()):
            # Each record with what the steps made of it so far, and the version that this is.
            file._content.tree = with_rows(RecordRows(maker.progress))
        return ABSENT
    except StepFailure as failure:
        rows = RecordRows({})
        tree = with_rows(rows)
        raise _failure(file, tree, rows.tables[failure.table][failure.row], failure) from (
            failure.__cause__
        )
    if not maker.has_made:
        file._content.tree = tree  # it is the file's as written
        return ABSENT
    if count is not None:
        count.end()
    if maker.is_whole:
        return tree
    return build(
        tree,
        knowledge,
        file=file.path,
        is_known=file.is_known,
        loose=maker.loose,
        done=maker.done,
    )


def _failure(file: File, tree: object, record: Record, failure: Any) -> PersistError:
    """The error for a step that failed on a record."""
    from persist._upgrade.failures import failed
    from persist._upgrade.plan import located

    paths: list[str] = []

    def note(made: Record, path: Callable[[], str]) -> Record:
        if copier.is_copy_of(made, record):
            paths.append(path())
        return made

    copier = Copier(note)
    copier.copy(tree)
    error = failed(failure.step, dict.fromkeys(failure.names), failure.__cause__)
    return error.at(file=file.name, where=located(record.qualname, paths[0]))


def upgraded_state(
    state: object,
    cls: type,
    registry: Registry,
    assume_version: int | None = None,
    *,
    unknown: UnknownFields = "warn",
    strict: bool = False,
) -> Any:
    """Make an instance of a declared class of a plain value: see `Registry.upgrade`."""
    from persist._api.unversioned import assume, check_is, state_of
    from persist._objects.build import build
    from persist._objects.flatten import flatten
    from persist._upgrade import records

    tree = state_of(flatten(state, registry), cls, registry)
    if assume_version is not None:
        assume(tree, assume_version, registry)
    tree, plan = records.upgrade(tree, registry, unknown=unknown, strict=strict)
    value = build(tree, registry, plan=plan)
    check_is(value, cls, None)
    return value
