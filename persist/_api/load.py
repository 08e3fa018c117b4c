"""`load`: read a file, gather what is known about its classes, upgrade its tree, build its objects."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from persist._api.file import (
    File,
    names_declared,
    nothing_at,
    plain_value,
    warn_about_damage,
    written_layouts,
)
from persist._api.open import check_arrays, open, open_writable
from persist._runtime.gc_pause import collector_paused
from persist._trees.paths import PackView
from persist._wire.torch.storage import placed_on
from persist.errors import (
    MissingExtraError,
    SchemaError,
)
from persist.tree import ABSENT, Record

if TYPE_CHECKING:
    from persist.registry import Registry

__all__ = ["check_loads", "check_tree", "load", "load_file", "upgraded_state", "wanted_part"]


_T = TypeVar("_T")


@overload
def load(source: Any, cls: type[_T], **options: Any) -> _T: ...


@overload
def load(source: Any, cls: None = None, **options: Any) -> Any: ...


def load(  # type: ignore[misc]  # the overloads' options are these
    source: Any,
    cls: type | None = None,
    *,
    at: str = "",
    assume_version: int | None = None,
    trust: Iterable[str] = (),
    strict: bool = False,
    unknown: str = "warn",
    validate: bool = True,
    migrate: bool = True,
    layout: str | None = None,
    mmap: bool = True,
    verify: str | None = None,
    py2_str: str | Callable[[bytes], Any] | None = None,
    salvage: bool = False,
    step: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    limits: Mapping[str, int] | None = None,
    registry: Registry | None = None,
    arrays: str = "numpy",
    device: Any = None,
    dtype: Any = None,
    live: bool = True,
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
        assume_version: the version of a state of a declared class that tells none by itself.
        trust: other classes that may be made: an exact dotted name may import its module, a
            pattern (``lab.*``) matches only what is imported already; functions never.
        strict: a class that would stay a record is an error, and so is a state whose version
            nothing tells.
        unknown: what becomes of a field that no class declares: "warn" (left out, and reported once a
            class), "drop", "keep", "error".
        validate: run attrs' validators on what was upgraded.
        migrate: False leaves the records of declared classes that are not of today as they are.
        layout: what to do about a state whose version is today's and whose layout is not, since the
            class changed and its version did not: "error", "warn" or "ignore"; None leaves it to
            the registry (``Registry.layout_policy``), which says "error".
        mmap, verify, py2_str, salvage, step, storage_options, limits: as for `open`.
        registry: schemas, aliases, stamps and migrations; None is the default one.
        arrays: "numpy", or "torch" to make tensors of all arrays (with torch installed).
        device: the device of torch on which tensors and modules are made, straight from the file
            ("cuda:0"); it makes tensors of all arrays.
        dtype: the dtype of torch in which those of floating point are made; likewise.
        live: make objects of installed libraries (pandas, scikit-learn, ...) where a pack knows how
            their states of every release become those of today; False leaves them records.

    Returns:
        The object; of a file of several pickles, the list of them.

    Raises:
        FormatError: the file cannot be read.
        PersistError: there is nothing at ``at``, or it is no ``cls``.
        SchemaError: a record cannot be upgraded, with its path.
        UntrustedError: ``trust`` names a function.

    Warns:
        OpaqueWarning: once for each class that stayed a record, with the cure.
        DamageWarning: once for each thing that was wrong with the file and passed over.
        ChoiceWarning: the source is a folder of several things, of which one was chosen.
    """
    from persist._api.unversioned import check_is
    from persist._layouts import checks

    arrays = arrays if device is None and dtype is None else "torch"
    check_arrays(arrays)
    checks.check_policy(layout)
    reading: dict[str, Any] = {"py2_str": py2_str, "verify": verify, "salvage": salvage}
    opening: dict[str, Any] = {"mmap": mmap, "limits": limits, "storage_options": storage_options}
    with (
        _once(source, (id(registry), migrate, step)),
        open_writable(source, registry, step=step, **opening, **reading) as file,
        collector_paused(),
        placed_on(device, dtype),
    ):
        warn_about_damage(file)
        looker = file.looker if arrays == "torch" else None
        is_all = cls is None and not at and assume_version is None
        tree = ABSENT if is_all else wanted_part(file, cls, at, assume_version)
        if migrate:
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
            )
        else:
            options: dict[str, Any] = {"trust": trust, "strict": strict, "looker": looker}
            value = _as_written(file, file._written if is_all else tree, live=live, **options)
        if cls is not None:
            check_is(value, cls, file.name)
        return value


def _as_written(file: File, tree: Any, **options: Any) -> Any:
    """Make the objects of a tree that was not upgraded."""
    from persist._objects.build import build

    return build(tree, file.knowledge, file=file.path, is_known=file.is_known, **options)


def load_file(
    file: File,
    trust: Iterable[str],
    strict: bool,
    unknown: str,
    validate: bool,
    *,
    tree: Any = ABSENT,
    looker: PackView | None = None,
    finish: bool = True,
    layout: str | None = None,
    live: bool = False,
) -> Any:
    """Upgrade the tree of a file, or a part of it, and make its objects.

    Args:
        file: that is open.
        trust, strict, unknown, validate: as for `load`.
        tree: a part of the file's tree; ABSENT is all of it.
        looker: sees arrays in records; with it, arrays become tensors of torch.
        finish: open resources and call ``__loaded__``.
        layout, live: as for `load`.
    """
    from persist._objects.build import build
    from persist._objects.inert import Inert
    from persist._objects.trust import Trust
    from persist._torch_modules.reviving import tensors_of
    from persist._upgrade import records

    knowledge = file.knowledge
    trusted = Trust(trust, knowledge)
    made = functools.partial(
        build,
        trust=trusted.names,
        strict=strict,
        validate=validate,
        finish=finish,
        tensors=lambda: tensors_of(file._written),
        live=live,
    )
    written = written_layouts(file)
    if tree is ABSENT and looker is None:
        found = ABSENT if written else _by_columns(file, made)
        if found is not ABSENT:
            return found
    tree, plan = file._written if tree is ABSENT else tree, None
    if written or not records.is_today(tree, knowledge):
        tree, plan = records.upgrade(
            tree,
            knowledge,
            file=file.name,
            unknown=unknown,
            strict=strict,
            see=functools.partial(plain_value, file.looker, trusted),
            live=Inert(knowledge),
            read=True,
            layout=layout,
            written=written,
        )
    return made(tree, knowledge, plan=plan, file=file.path, is_known=file.is_known, looker=looker)


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
        self.sources: list[Any] = []


_loading = _Loading()


@contextlib.contextmanager
def _once(source: Any, options: Any) -> Iterator[None]:
    """Refuse to load a file while it is loaded: a step or a class that does so would never end."""
    is_path = isinstance(source, str | os.PathLike)
    name = os.path.abspath(os.fsdecode(os.fspath(source))) if is_path else id(source)
    key = (name, options)
    if key in _loading.sources:
        raise SchemaError(
            "the file is loaded while it is being loaded: a step, a class or a resource asks for it.",
            file=os.fsdecode(os.fspath(source)) if is_path else None,
            remedy="A step gets the whole state that it needs; what else is in the file, "
            "persist.open(...) gives without upgrading it.",
        )
    _loading.sources.append(key)
    try:
        yield
    finally:
        _loading.sources.remove(key)


def check_loads(source: Any, *, registry: Registry | None = None) -> None:
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


def check_tree(tree: Any, registry: Registry, file: str | None = None) -> None:
    """Make the objects of an upgraded tree, which is used up; as `check_loads`."""
    from persist._objects.build import build

    with warnings.catch_warnings(), contextlib.suppress(MissingExtraError):
        warnings.simplefilter("ignore")
        build(tree, registry, file=file, finish=False)


def _by_columns(file: File, build: Callable[..., Any]) -> Any:
    """Make the instances of a container's tables straight from their columns.

    ABSENT where there are none, or where records are to be looked at one by one.
    """
    with_rows, knowledge = file._content.with_rows, file.knowledge
    if with_rows is None or any(knowledge.resolve(name) != name for name in file._content.globals):
        return ABSENT
    from persist._objects.rows import ColumnLoader, NotColumnar

    maker = ColumnLoader(knowledge)
    try:
        tree = with_rows(maker)
    except NotColumnar:
        return ABSENT
    if not maker.has_made:
        file.__dict__["_written"] = tree  # it is the file's as written
        return ABSENT
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


def upgraded_state(
    state: Any, cls: type, registry: Registry, assume_version: int | None = None, **options: Any
) -> Any:
    """Make an instance of a declared class of a plain value: see `Registry.upgrade`."""
    from persist._api.unversioned import assume, check_is, state_of
    from persist._objects.build import build
    from persist._objects.flatten import flatten
    from persist._upgrade import records

    tree = state_of(flatten(state, registry), cls, registry)
    if assume_version is not None:
        assume(tree, assume_version, registry)
    tree, plan = records.upgrade(tree, registry, **options)
    value = build(tree, registry, plan=plan)
    check_is(value, cls, None)
    return value
