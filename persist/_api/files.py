"""The spine: open, load, save. Start reading here.

bytes --reader--> tree --packs, aliases, migrations--> tree of today --> objects

A process that only looks into a file goes the first part of the road, and waits for no more than
that: what lies further on is imported where it is walked first.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from persist._runtime.discovery import entry_points, modules_in
from persist._runtime.gc_pause import collector_paused
from persist._trees.paths import PackView, PathMapping, described, is_array
from persist._wire.base.source import Limits, Source, create, open_source
from persist.errors import (
    AmbiguousFormatError,
    ChoiceWarning,
    DamagedFileError,
    DamageWarning,
    FormatError,
    LimitError,
    MissingExtraError,
    PackWarning,
    PersistError,
    RestoreError,
    SchemaError,
    UnknownFormatError,
    UnknownSchemaError,
)
from persist.readers.base import Content, Options, Reader
from persist.tree import ABSENT, Global, Record, View

if TYPE_CHECKING:
    from persist import _container
    from persist._objects.snapshot import Memory
    from persist._objects.trust import Trust
    from persist._restore.match import Report
    from persist._upgrade.plan import Plan
    from persist.registry import Registry

__all__ = ["File", "explain", "load", "open", "readers", "restore", "save"]


_T = TypeVar("_T")


class File:
    """What is inside a file, to look at; nothing in it was imported or called.

    Attributes:
        name: the file as it was named.
        format: the name of the reader that took it.
        claim: why it took it.
        writer: what the file itself tells of its writer; never guessed.
        arrays: natural path -> array, lazy where the format allows.
        scalars: natural path -> every other leaf.
        notes: what was chosen of several, and what was left out, in words; empty as a rule.
    """

    def __init__(
        self,
        source: Source,
        content: Content,
        reader: Reader,
        claim: str,
        registry: Registry | None,
    ) -> None:
        self._source = source
        self._content = content
        self._registry = registry
        self.name = source.name
        self.format = content.format or reader.name
        self.claim = claim
        self.writer = content.writer
        self.notes = content.notes
        self.held = content.held
        self._looked_over = False
        self._as_torch = False

    @property
    def path(self) -> str | None:
        """The path or URL as text; None for bytes and open files."""
        return self._source.path

    @property
    def damage(self) -> list[str]:
        """What was wrong and passed over, and what is shown as its record, in words; empty as a rule."""
        if not self._looked_over:
            self._looked_over = True
            views = map(self.knowledge.plain_for, self._content.globals)
            if any(getattr(view, "may_fall_back", False) for view in views):
                described(self._written, self.looker, self._source.limits.paths)
        return [*self._content.damage, *self.looker.notes]

    @functools.cached_property
    def tree(self) -> Any:
        """The file as written, made when it is asked for; with ``arrays="torch"`` of tensors."""
        if not self._as_torch:
            return self._written
        from persist._objects.torch_values import with_tensors

        return with_tensors(self._written, self.looker)

    @functools.cached_property
    def _written(self) -> Any:
        with collector_paused():
            return self._content.tree

    @functools.cached_property
    def evidence(self) -> list[str]:
        """What the names in it prove of the releases that can have written it, and which names."""
        from persist.packs import _gather

        return _gather.written_by(self._content.globals)

    @functools.cached_property
    def knowledge(self) -> Registry:
        """The registry, and behind it the packs of the libraries that the file names."""
        from persist.packs import _gather

        return _moved_schemas(
            self._content, _gather.gather(self._content.globals, _known(self._registry))
        )

    @functools.cached_property
    def looker(self) -> PackView:
        """How the tree looks through those packs."""
        return PackView(lambda *asked: _view(self.knowledge, *asked), self._tree_of)

    def is_known(self, record: Record) -> bool:
        """Whether a pack knows how to look into a record."""
        return self.looker.through(record) is not record

    def _tree_of(self, data: bytes, name: str) -> Any:
        return read(self._source.nested(data, name), Options(), ())[1].tree

    @functools.cached_property
    def arrays(self) -> Mapping[str, Any]:
        """Natural path -> array-like: ``shape``, ``dtype``, ``nbytes``, ``numpy.asarray()``, ``[i:j]``."""
        names = self._names(is_array, self._content.find)
        if not self._as_torch:
            return names
        from persist._wire.torch.storage import Tensors

        return Tensors(names)

    @functools.cached_property
    def scalars(self) -> Mapping[str, Any]:
        """Natural path -> every leaf that is no array."""
        return self._names(lambda leaf: not is_array(leaf))

    def _names(
        self, wanted: Callable[[Any], bool], find: Callable[[str], Any] | None = None
    ) -> PathMapping:
        most = self._source.limits.paths
        return PathMapping(lambda: self._written, self.looker, wanted, most, self.name, find)

    @functools.cached_property
    def structure(self) -> dict[str, Any]:
        """JSON-able description of what is no array: a config, graph nodes, the globals named."""
        structure = self._content.structure
        if callable(structure):
            with collector_paused():
                structure = structure()
        keys: dict[str, str] = {}
        seen = described(self._written, self.looker, self._source.limits.paths, keys)
        beside = {"objects": seen, "key_classes": keys}
        return {**structure, **{name: told for name, told in beside.items() if told}}

    def close(self) -> None:
        """Let go of the file; mapped arrays stay valid."""
        self._source.close()

    def __enter__(self) -> File:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.format} file {self.name}>"

    def __str__(self) -> str:
        from persist._trees import show

        return show.page(self)


def open(
    source: Any,
    *,
    mmap: bool = True,
    verify: str | None = None,
    py2_str: str | Callable[[bytes], Any] | None = None,
    salvage: bool = False,
    step: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    limits: Mapping[str, int] | None = None,
    registry: Registry | None = None,
    arrays: str = "numpy",
) -> File:
    """Look into an experiment file without the framework that wrote it.

    Nothing that the file names is imported or called, whatever it holds.

    Args:
        source: a path, a checkpoint prefix, a folder, an fsspec URL, bytes, or
            an open binary file.
        mmap: map local files instead of reading them.
        verify: when checksums are checked: "lazy", "always", "never"; None
            leaves it to the format.
        py2_str: what Python 2's ``str`` becomes: None (text where it is UTF-8,
            bytes otherwise), "text", "bytes", an encoding, or a callable.
        salvage: give what is whole of a damaged file; ``damage`` tells the rest.
        step: of a series of checkpoints, the one wanted; None is the latest.
        storage_options: for fsspec.
        limits: what reading may cost, by name (see `docs/reference.md`).
        registry: schemas and packs to look through; None is the default one.
        arrays: "numpy", or "torch" to hand out tensors (with torch installed).

    Returns:
        A `File`; also a context manager.

    Raises:
        FormatError: the file cannot be read, with the place and the reason.
        FileNotFoundError: there is no such file.
    """
    _check_arrays(arrays)
    opened = open_source(
        source,
        map=mmap,
        limits=limits,
        storage_options=storage_options,
        writable=arrays == "torch",  # torch knows no memory that is read only: its own, then
    )
    options = Options(py2_str=py2_str, verify=verify, salvage=salvage, step=step, arrays=arrays)
    file = _open(opened, options, registry)
    file._as_torch = arrays == "torch"
    return file


def _check_arrays(arrays: str) -> None:
    if arrays not in ("numpy", "torch"):
        raise PersistError(f"arrays={arrays!r} is no kind of array.", remedy='"numpy" or "torch".')


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
        unknown: what becomes of a field that no class declares: "warn" (left out, and told once a
            class), "drop", "keep", "error".
        validate: run attrs' validators on what was upgraded.
        migrate: False leaves the records of declared classes that are not of today as they are.
        layout: what to do about a state whose version is today's and whose layout is not, since the
            class changed and its version did not: "error", "warn" or "ignore"; None leaves it to
            the registry (``Registry.layout_policy``), which says "error".
        mmap, verify, py2_str, salvage, step, storage_options, limits: as for `open`.
        registry: schemas, aliases, stamps and migrations; None is the default one.
        arrays: "numpy", or "torch" to make tensors of all arrays (with torch installed).

    Returns:
        The object; of a file of several pickles, the list of them.

    Raises:
        FormatError: the file cannot be read.
        PersistError: there is nothing at ``at``, or it is no ``cls``.
        SchemaError: a record cannot be brought up to date, with its path.
        UntrustedError: ``trust`` names a function.

    Warns:
        OpaqueWarning: once for each class that stayed a record, with the cure.
        DamageWarning: once for each thing that was wrong with the file and passed over.
        ChoiceWarning: the source is a folder of several things, of which one was chosen.
    """
    from persist._api.unversioned import check_is
    from persist._layouts import checks
    from persist._objects.build import build

    _check_arrays(arrays)
    checks.check_policy(layout)
    reading: dict[str, Any] = {"py2_str": py2_str, "verify": verify, "salvage": salvage}
    opening: dict[str, Any] = {"mmap": mmap, "limits": limits, "storage_options": storage_options}
    with (
        _once(source, (id(registry), migrate, step)),
        _open_writable(source, registry, step=step, **opening, **reading) as file,
        collector_paused(),
    ):
        _tell_damage(file)
        looker = file.looker if arrays == "torch" else None
        is_all = cls is None and not at and assume_version is None
        tree = ABSENT if is_all else _wanted(file, cls, at, assume_version)
        if migrate:
            value = _made_today(
                file, trust, strict, unknown, validate, tree=tree, looker=looker, layout=layout
            )
        else:
            value = build(
                file._written if is_all else tree,
                file.knowledge,
                trust=trust,
                strict=strict,
                file=file.path,
                is_known=file.is_known,
                looker=looker,
            )
        if cls is not None:
            check_is(value, cls, file.name)
        return value


def _made_today(
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
) -> Any:
    """Upgrade the tree of a file, or a part of it, and make its objects.

    Args:
        file: that is open.
        trust, strict, unknown, validate: as for `load`.
        tree: a part of the file's tree; ABSENT is all of it.
        looker: sees arrays in records; with it, arrays become tensors of torch.
        finish: open resources and call ``__loaded__``.
        layout: as for `load`.
    """
    from persist._objects.build import build
    from persist._objects.inert import Inert
    from persist._objects.trust import Trust
    from persist._upgrade import records

    knowledge = file.knowledge
    trusted = Trust(trust, knowledge)
    made = functools.partial(
        build, trust=trusted.names, strict=strict, validate=validate, finish=finish
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
            see=functools.partial(_plain_value, file.looker, trusted),
            live=Inert(knowledge),
            read=True,
            layout=layout,
            written=written,
        )
    return made(tree, knowledge, plan=plan, file=file.path, is_known=file.is_known, looker=looker)


def _wanted(file: File, cls: type | None, at: str, assume_version: int | None) -> Any:
    """A part of a file's tree, as the state of a class where one is given."""
    from persist._api.unversioned import assume, state_of
    from persist._objects.torch_values import part_at
    from persist._objects.trust import Trust

    tree = part_at(file._written, file.looker, at) if at else file._written
    if tree is ABSENT:
        raise _nothing_at(at, file)
    if cls is not None:
        seen = tree
        if isinstance(tree, Record):
            seen = _plain_value(file.looker, Trust((), file.knowledge), tree)
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
                _made_today(file, (), False, "warn", True, finish=False)


def names_declared(file: File) -> bool:
    """Whether a file names any class that is declared here."""
    knowledge = file.knowledge
    names = file._content.globals
    return any(knowledge.schema_for(knowledge.resolve(name)) is not None for name in names)


def has_steps(file: File) -> bool:
    """Whether a file names any class of which there are migrations, which may look at arrays."""
    knowledge = file.knowledge
    for name in file._content.globals:
        schema = knowledge.schema_for(knowledge.resolve(name))
        if schema is not None and knowledge.migrations(schema.name):
            return True
    return False


def check_tree(tree: Any, registry: Registry, file: str | None = None) -> None:
    """Make the objects of an upgraded tree, which is used up; as `check_loads`."""
    from persist._objects.build import build

    with warnings.catch_warnings(), contextlib.suppress(MissingExtraError):
        warnings.simplefilter("ignore")
        build(tree, registry, file=file, finish=False)


def _moved_schemas(content: Content, registry: Registry) -> Registry:
    """The registry with what a container's manifest tells of classes that moved since.

    A file that names a class by its dotted name, and not by its schema's, still says in its
    manifest which schema that was.
    """
    said = content.structure.get("schemas") if isinstance(content.structure, dict) else None
    moved: dict[str, str] = {}
    for one in said if isinstance(said, list) else ():
        old, schema = (one.get("class"), one.get("name")) if isinstance(one, dict) else (None, None)
        if type(old) is not str or type(schema) is not str or old == schema:
            continue
        if old not in content.globals or registry.resolve(old) != old:
            continue
        today = registry.schema_for(schema)
        known = registry.schema_for(old)
        if today is not None and (known is None or known.name != schema):
            moved[old] = schema
    if not moved:
        return registry
    from persist.registry import Registry

    healed = Registry(f"{registry.name} with schemas of the file", parents=(registry,))
    for old, schema in moved.items():
        healed.alias(old, schema, evidence="the manifest of the file")
    return healed


def written_layouts(file: File) -> dict[str, Any]:
    """The schemas whose layout in a container is another than today's, at the same version."""
    structure = file._content.structure
    if file.format != "persist" or not isinstance(structure, dict):
        return {}
    from persist._layouts.checks import mismatched

    named = frozenset(file._content.globals)  # a file may list schemas that nothing in it is of
    said = [
        one
        for one in structure.get("schemas") or ()
        if not named.isdisjoint((one.get("class"), one.get("name")))
    ]
    return mismatched(said, file.knowledge)


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


def explain(
    source: Any,
    cls: type | None = None,
    *,
    at: str = "",
    assume_version: int | None = None,
    trust: Iterable[str] = (),
    strict: bool = False,
    unknown: str = "warn",
    validate: bool = True,
    registry: Registry | None = None,
    step: int | None = None,
    **options: Any,
) -> Plan:
    """Tell what `load` would do to each record of a file, and why; the file stays as it is.

    The load is rehearsed in memory and its result thrown away, since only so the plan has a
    problem exactly where `load` raises: stamps, migrations, converters, validators, codecs,
    ``__loaded__`` and the opening of resources run as they do in a load.

    Args:
        source: as for `open`.
        cls, at, assume_version, trust, strict, unknown, validate: as for `load`.
        registry: schemas, aliases, stamps and migrations; None is the default one.
        step: of a series of checkpoints, the one wanted.
        options: those of `open`.

    Returns:
        A `Plan`: for each record its path and class, how its version is known (envelope, stamp,
        or the lack of one), the aliases, the steps, what stays opaque, and what `load` would
        raise (``problems``, of all records and not of the first alone).

    Raises:
        FormatError: the file cannot be read.
        UntrustedError: ``trust`` holds what may not be trusted.
    """
    # Arrays that may be written into, as a load has them: what runs in it may do so.
    with _open_writable(source, registry, step=step, **options) as file, collector_paused():
        return explain_file(
            file,
            _wanted(file, cls, at, assume_version),
            cls=cls,
            trust=trust,
            strict=strict,
            unknown=unknown,
            validate=validate,
        )


def explain_file(
    file: File,
    tree: Any = ABSENT,
    *,
    cls: type | None = None,
    trust: Iterable[str] = (),
    strict: bool = False,
    unknown: str = "warn",
    validate: bool = True,
) -> Plan:
    """Return what `load` would do to each record of an open file, or of a part of its tree."""
    from persist._api.unversioned import check_is
    from persist._objects.build import build
    from persist._objects.inert import Inert
    from persist._objects.trust import Trust
    from persist._upgrade import records

    knowledge = file.knowledge
    tree, rehearsal = records.rehearse(
        file._written if tree is ABSENT else tree,
        knowledge,
        file=file.name,
        unknown=unknown,
        strict=strict,
        see=functools.partial(_plain_value, file.looker, Trust(trust, knowledge)),
        live=Inert(knowledge),
        read=True,
        written=written_layouts(file),
    )
    made = build(
        tree,
        knowledge,
        trust=trust,
        strict=strict,
        validate=validate,
        plan=rehearsal.plan,
        file=file.path,
        is_known=file.is_known,
        rehearsal=rehearsal,
    )
    if cls is not None and made is not ABSENT and not rehearsal.plan.problems:
        try:
            check_is(made, cls, file.name)
        except PersistError as error:
            rehearsal.fail(None, error)
    return rehearsal.plan


def _open_writable(
    source: Any,
    registry: Registry | None,
    *,
    mmap: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    limits: Mapping[str, int] | None = None,
    arrays: str = "numpy",
    **options: Any,
) -> File:
    """Open a source as `load` does: maps of arrays are private, and may be written into."""
    opened = open_source(
        source, map=mmap, limits=limits, writable=True, storage_options=storage_options
    )
    return _open(opened, Options(arrays=arrays, **options), registry)


def restore(
    source: Any,
    into: Any,
    *,
    match: Any = "name",
    only: Iterable[str] | None = None,
    strict: bool = True,
    at: str = "",
    registry: Registry | None = None,
    **options: Any,
) -> Report:
    """Fill what exists with the arrays of a file.

    Args:
        source: as for `open`.
        into: a mapping of arrays, an instance whose attributes hold arrays, a torch module, a
            Keras model; an optimizer, scheduler or scaler of torch; or a declared class, of which an
            instance is made from the fields.
        match: "name", "shape", "order", or rules from names in the file to names in ``into``: a
            function, or regular expressions with their replacement; None instead of a name leaves
            an array out.
        only: patterns of names in ``into`` (``hidden/*``), or in the file; everything else is left
            alone.
        strict: nothing is touched unless everything fits, in its precision, too.
        at: the part of the file that is wanted, by its natural path (``model/state_dict``).
        registry: as for `open`.
        options: those of `open`.

    Returns:
        A `Report` of what was filled, missing, unexpected, and of another shape or dtype.

    Raises:
        RestoreError: strict, and something does not fit; it carries the `Report`.
    """
    from persist._restore import match as restore_match
    from persist._restore.targets import target_of
    from persist._restore.torch_targets import Written, has_state, restore_state

    wants_torch = options.pop("arrays", "numpy")
    _check_arrays(wants_torch)
    with open(source, registry=registry, **options) as file:
        _tell_damage(file)
        if isinstance(into, type):
            return _restored_class(file, into, match, only, strict, at, wants_torch == "torch")
        written = Written(lambda: file._written, file.looker, at, file.format)
        if at and written.part("") is ABSENT:
            raise _nothing_at(at, file)
        if has_state(into):
            return restore_state(into, written, file.name, strict)
        report = restore_match.fill(
            _below(file, at),
            target_of(into, file.format, lambda: file.structure, written),
            match=match,
            only=only,
            strict=strict,
            file=file.name,
        )
        report.value = into
        return report


def _nothing_at(at: str, file: File) -> PersistError:
    steps = list(dict.fromkeys(step for step, _ in file.looker.look(file._written)[1]))
    there = ", ".join(map(repr, steps[:12])) or "none"
    return RestoreError(
        f"there is nothing at {at!r}.",
        file=file.name,
        remedy=f"at= names a part of the file by its natural path. The first steps are: {there}.",
    )


def _below(file: File, at: str) -> Mapping[str, Any]:
    """The arrays of a part of a file, by their names below it."""
    if not at:
        return file.arrays
    return {
        name[len(at) + 1 :]: file.arrays[name]
        for name in file.arrays
        if name == at or name.startswith(f"{at}/")
    }


def _restored_class(
    file: File,
    cls: type,
    match: Any,
    only: Iterable[str] | None,
    strict: bool,
    at: str,
    as_torch: bool,
) -> Report:
    """Make an instance of a declared class whose fields are a file's arrays."""
    from persist._objects.build import build
    from persist._restore import match as restore_match

    found: dict[str, Any] = {}
    arrays = _below(file, at)
    schema = file.knowledge.schema_for(cls)
    # Fields of its bases are its own here: what is made is of today, all of it.
    names = [] if schema is None else [*file.knowledge.layout(cls).saved()]
    slots = [
        restore_match.Slot(field.name, None, None, functools.partial(found.__setitem__, field.name))
        for field in names
        if field.name in arrays or not field.has_default
    ]
    report = restore_match.fill(
        arrays,
        restore_match.Target(slots),
        match=match,
        only=only,
        strict=strict,
        file=file.name,
    )
    if schema is not None and not report.missing:
        own = {name: np.array(array) for name, array in found.items()}
        record = Record(Global(cls.__module__, cls.__qualname__), own, version=schema.version)
        looker = file.looker if as_torch else None
        report.value = build(record, file.knowledge, file=file.path, looker=looker)
    return report


def save(
    obj: Any,
    target: Any,
    *,
    format: str = "persist",
    durable: bool = True,
    metadata: Mapping[str, Any] | None = None,
    compress: str | None = None,
    digest: str | None = None,
    columns: bool = True,
    pack: bool = True,
    versions: Mapping[str, int] | None = None,
    protocol: int | None = None,
    registry: Registry | None = None,
) -> None:
    """Save an object so that it stays loadable.

    The file is written beside its target and renamed when it is whole.

    Args:
        obj: plain values, arrays, records, instances of declared classes, in any structure.
        target: a path, or an open binary file.
        format: "persist", the container that NumPy alone can open (`docs/container.md`);
            "pickle", "npz", "safetensors", "torch", "theano-zip".
        durable: wait until the disk has it (fsync of file and folder).
        metadata: JSON-able, kept beside the object.
        compress: "zstd" or "deflate", for each array; none by default.
        digest: "xxh3-128", "sha256", "blake3": a digest of each array beside its CRC-32.
        columns: store 1,000 or more records of one class and version as columns.
        pack: store 1,000 or more small arrays of one dtype and shape as a block.
        versions: schema name -> version: write those records as that older version had them, in
            their bare state, for yesterday's code.
        protocol: of ``format="pickle"``; 4 by default, 2 for Python 2.
        registry: schemas; None is the default one.

    Raises:
        SchemaError: something in it cannot be saved, with its path and the way out.
        FormatError: the format cannot hold it, or the suffix belongs to another format.
    """
    _refuse_suffix(target, format)
    registry = _known(registry)
    name = os.fsdecode(os.fspath(target)) if isinstance(target, str | os.PathLike) else None
    try:
        with collector_paused():  # until what was made on the way is gone
            _save(
                obj,
                target,
                format,
                durable,
                metadata,
                compress,
                digest,
                columns,
                pack,
                versions,
                protocol,
                registry,
            )
    except PersistError as error:
        raise error.at(file=name) from error.__cause__


def _save(
    obj: Any,
    target: Any,
    format: str,
    durable: bool,
    metadata: Mapping[str, Any] | None,
    compress: str | None,
    digest: str | None,
    columns: bool,
    pack: bool,
    versions: Mapping[str, int] | None,
    protocol: int | None,
    registry: Registry,
) -> None:
    if format == "persist":
        tree = tree_of(obj, registry, columns=columns and not versions)
        save_tree(
            _older(tree, versions, registry),
            target,
            metadata=metadata,
            compress=compress,
            digest=digest,
            durable=durable,
            columns=columns,
            pack=pack,
            registry=registry,
        )
        return
    writer = _writer_of(format)
    wanted: dict[str, Any] = {"metadata": metadata, "compress": compress, "protocol": protocol}
    options = {name: value for name, value in wanted.items() if value is not None}
    if writer.is_pickle and not versions:
        from persist._objects.flatten import flatten, reduced

        flatten(obj, registry)  # what could not be found again is refused here as in a container
        tree = obj  # objects pickle themselves, their envelopes with them
        options["reducer"] = functools.partial(reduced, registry)
    else:
        tree = _older(tree_of(obj, registry), versions, registry, is_bare=writer.is_pickle)
    if writer.is_flat:
        tree = _flat(tree, format)
    with _writing(target, durable) as file:
        writer.write(tree, file, **options)


def tree_of(
    obj: Any,
    registry: Registry | None = None,
    *,
    snapshot: bool | Memory = False,
    columns: bool = False,
) -> Any:
    """Return the tree of an object, as `save` writes it; with columns, only a container can hold it."""
    from persist._objects.flatten import flatten

    registry = _known(registry)
    with collector_paused():
        return flatten(obj, registry, snapshot=snapshot, columns=columns)


def save_tree(tree: Any, target: Any, *, registry: Registry | None = None, **options: Any) -> None:
    """Write a tree into a container."""
    from persist import _container
    from persist._api.manifest_schemas import schemas_in_file

    options["schemas"] = schemas_in_file(_known(registry))
    with collector_paused():
        if _is_url(target):
            with _writing(target, False) as file:
                _container.write(tree, file, **options)
        else:
            _container.write(tree, target, **options)


def renew(
    path: str | os.PathLike[str],
    *,
    keep: bool = False,
    durable: bool = True,
    check: Callable[[Any, Any], None] | None = None,
    unknown: str = "warn",
    strict: bool = False,
    registry: Registry | None = None,
) -> tuple[Plan, _container.Done | None]:
    """Bring a container up to date in its place; the bytes of its arrays are not written again.

    Args:
        path: of the file.
        keep: keep what was there before, so that it can be brought back.
        durable: wait until the disk has it.
        check: is given the tree of today and what the new file holds, before it gets its name.
        unknown, strict: as for `load`.
        registry: schemas, aliases, stamps and migrations; None is the default one.

    Returns:
        What was done to each record; and how the file was written, None where it is of today already.

    Raises:
        FormatError: it is no container.
        SchemaError: a record cannot be brought up to date, with its path.
    """
    from persist import _container
    from persist._api.manifest_schemas import schemas_in_file
    from persist._objects.inert import Inert
    from persist._upgrade import records

    registry = _known(registry)
    with open(path, registry=registry) as file:
        if file.format != "persist":
            raise FormatError(
                f"a {file.format} file cannot be upgraded in its place.",
                file=file.name,
                remedy="Leave --in-place out: the upgraded file is written beside it.",
            )
        knowledge, plans = file.knowledge, []

        def renewed(tree: Any, store: _container.Store) -> Any:
            made, plan = records.upgrade(
                tree,
                knowledge,
                file=file.name,
                unknown=unknown,
                strict=strict,
                live=Inert(knowledge),
                names="schema",
                read=has_steps(file),
                written=written_layouts(file),
            )
            plans.append(plan)
            if not any(entry.aliases or entry.steps for entry in plan):
                raise _OfToday
            return made

        try:
            done = _container.rewrite(
                path,
                renewed,
                schemas=schemas_in_file(registry),
                keep=keep,
                durable=durable,
                check=check,
            )
        except _OfToday:
            return plans[0], None
    return plans[0], done


class _OfToday(Exception):
    """There is nothing to be done."""


def _tell_damage(file: File) -> None:
    for note in file._content.damage:  # of the file itself; views are not used to load
        warnings.warn(f"{file.name}: {note}", DamageWarning, stacklevel=3)
    for note in file.notes:
        warnings.warn(f"{file.name}: {note}.", ChoiceWarning, stacklevel=3)


def _is_url(target: Any) -> bool:
    return isinstance(target, str) and ("://" in target or target.startswith("memory:"))


@contextlib.contextmanager
def _writing(target: Any, durable: bool) -> Iterator[IO[bytes]]:
    """Open what is to be written: a path is replaced when all is written, a URL by fsspec."""
    if _is_url(target):
        with create(target) as file:
            yield file
        return
    from persist._container.writing.atomic import replacing

    with replacing(target, durable=durable) as raw:
        if raw is target:
            yield raw
            return
        file = io.BufferedWriter(raw, 1 << 20)  # type: ignore[type-var,unused-ignore]
        yield file
        file.flush()
        file.detach()


def _flat(tree: Any, format: str) -> dict[str, Any]:
    """A tree as names and arrays, for formats that hold nothing else; numbers and text as 0-d arrays.

    Raises:
        FormatError: there is something that is no array, with its path.
    """
    from persist._wire.torch.quantized import expanded

    most = Limits().paths
    names = expanded(PathMapping(lambda: tree, PackView(), is_array, most, format))
    for path, value in PathMapping(
        lambda: tree, PackView(), lambda leaf: not is_array(leaf), most, format
    ).items():
        if format != "npz" or not isinstance(
            value, bool | int | float | complex | str | np.generic
        ):
            raise FormatError(
                f"a {type(value).__name__} is no array, and {format} holds nothing else.",
                where=f"at {path!r}",
                remedy='Save the arrays alone, or everything with format="persist".',
            )
        names[path] = np.asarray(value)
    return names


def _older(
    tree: Any, versions: Mapping[str, int] | None, registry: Registry, is_bare: bool = False
) -> Any:
    """The records of these schemas as an older version had them; bare, without a version."""
    if not versions:
        return tree
    from persist._objects.inert import Inert
    from persist._upgrade.downgrade import downgrade_tree

    for name in versions:
        if registry.schema_for(name) is None:
            raise UnknownSchemaError(
                f"versions= names {name!r}, which is no schema here.",
                remedy="Schemas go by the name that schema= gave them, else by their dotted path.",
                schema=name,
            )
    live = Inert(registry, is_pickle=is_bare)
    return downgrade_tree(tree, versions, registry, is_bare=is_bare, live=live)


def _writer_of(format: str) -> Reader:
    """The reader that writes a format: of that name, or the one whose name begins so."""
    able = {reader.name: reader for reader in readers() if reader.writes}
    if format in able:
        return able[format]
    near = [reader for name, reader in able.items() if name.startswith(f"{format}-")]
    if len(near) == 1:
        return near[0]
    raise FormatError(
        f"there is no format {format!r} to write.",
        remedy=f"One of these: {', '.join(sorted(able))}.",
        formats=sorted(able),
    )


def _refuse_suffix(target: Any, format: str) -> None:
    """A file whose suffix promises another format misleads everybody who opens it later."""
    if not isinstance(target, str | os.PathLike):
        return
    suffix = os.path.splitext(os.fsdecode(os.fspath(target)))[1].lower()
    owners = [reader.name for reader in readers() if suffix in reader.suffixes]
    if not suffix or not owners:
        return
    if any(name == format or name.startswith(f"{format}-") for name in owners):
        return
    able = [name for name in owners if any(r.name == name and r.writes for r in readers())]
    cure = f'Write format="{able[0]}"' if able else "That format is read here, not written"
    raise FormatError(
        f"the suffix {suffix!r} belongs to {' and '.join(owners)}, not to {format!r}.",
        file=os.fsdecode(os.fspath(target)),
        remedy=f"{cure}; or choose another suffix.",
        formats=owners,
    )


def _known(registry: Registry | None) -> Registry:
    """The registry that was given, or the default one."""
    from persist.registry import default_registry

    return default_registry if registry is None else registry


def _open(source: Source, options: Options, registry: Registry | None) -> File:
    try:
        reader, content, claim = read(source, options, ())
    except BaseException:
        source.close()
        raise
    return File(source, content, reader, claim, registry)


def read(source: Source, options: Options, layers: tuple[str, ...]) -> tuple[Reader, Content, str]:
    """Read a source by whichever reader claims it; also what is nested in another file."""
    broken: list[str] = []
    reader, inner, claim = choose(source, layers, broken if options.salvage else None)
    options = options._replace(open_nested=lambda found: read(found, options, ())[1])
    try:
        with collector_paused():
            content = reader.read(inner, options)
        content.damage[:0] = broken
        if content.held:
            claim = f"{content.held}; {claim}"
        return reader, content, claim
    except PersistError as error:
        error.at(file=source.name)
        raise
    except MemoryError as error:
        raise LimitError(
            "there is not enough memory for what it holds.",
            file=source.name,
            remedy="If the file is honest, read it on a larger machine.",
        ) from error


def choose(
    source: Source, layers: tuple[str, ...] = (), broken: list[str] | None = None
) -> tuple[Reader, Source, str]:
    """Return the reader whose claim stands, what it is to read, and its reason.

    Compression is taken off until somebody claims what is inside.

    Args:
        source: the file.
        layers: what was taken off already.
        broken: told of broken layers, of which what is whole is read; None makes them an error.

    Raises:
        UnknownFormatError: nobody claims it; with what it is instead, if that shows.
        AmbiguousFormatError: two unrelated readers claim it.
    """
    claims = _claims(source, [reader for reader in readers() if reader.is_sure])
    if len(claims) != 1:
        claims = _claims(source, [reader for reader in readers() if not reader.is_last])
    if not claims:
        claims = _claims(source, [reader for reader in readers() if reader.is_last])
    for reader, _ in list(claims.values()):
        for name in reader.refines:
            claims.pop(name, None)
    if len(claims) > 1:
        reasons = "; ".join(f"{name}: {reason}" for name, (_, reason) in sorted(claims.items()))
        raise AmbiguousFormatError(
            f"{len(claims)} readers claim this file ({reasons}).",
            file=source.name,
            remedy="Please report it with the file: one of the claims is too wide.",
            claims=sorted(claims),
        )
    if claims:
        ((reader, reason),) = claims.values()
        return reader, source, "; ".join((*layers, reason))
    from persist._api.diagnosis import diagnose
    from persist._api.layers import peel

    peeled = peel(source, broken) if source.kind == "file" and source.size else None
    if peeled is not None:
        inner, layer = peeled
        return choose(inner, (*layers, layer), broken)
    if source.kind == "prefix":  # no such file, and what begins so is no checkpoint
        _refuse_database(source)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source.path)
    what, cure = diagnose(source)
    inside = f"inside its {', '.join(layers)} layer, " if layers else ""
    raise UnknownFormatError(f"{inside}{what}", file=source.name, remedy=cure)


def _refuse_database(source: Source) -> None:
    """Say that files of a database are there whose name it is, of which no reader can make one."""
    name = source.basename
    beside = {child[len(name) :] for child in source.children() if child.startswith(f"{name}.")}
    files = beside & {".db"} or beside & {".dir", ".dat", ".pag", ".bak"}
    if files == {".db"} or (".dir" in files and len(files) > 1):
        shown = ", ".join(f"{name}{suffix}" for suffix in sorted(files))
        raise DamagedFileError(
            f"no file has this name, and {shown} beside it is no database that can be read.",
            file=source.name,
            remedy="If it is a shelf, it is damaged: copy all of its files again from where they "
            "came from.",
        )


def _claims(source: Source, asked: Iterable[Reader]) -> dict[str, tuple[Reader, str]]:
    return {
        reader.name: (reader, reason) for reader in asked if (reason := _claim_of(reader, source))
    }


def _claim_of(reader: Reader, source: Source) -> str | None:
    """Ask a reader; one of a stranger's package that raises is no reason that nothing opens."""
    try:
        return reader.claims(source)
    except PersistError:
        raise
    except Exception as error:
        if type(reader).__module__.startswith("persist.readers."):
            raise
        warnings.warn(
            f"the reader {reader.name!r} ({type(reader).__module__}) raised {type(error).__name__} when "
            f"it was asked for its claim: {error}. The file was read without it.",
            PackWarning,
            stacklevel=3,
        )
        return None


@functools.cache
def readers() -> tuple[Reader, ...]:
    """Return one of every reader: those of the package, found by walking it, and entry points'."""
    package = importlib.import_module("persist.readers")
    found: dict[str, Reader] = {}
    for own in modules_in(package.__path__):
        if own.rpartition(".")[2].startswith("_"):  # imported by a reader when it reads
            continue
        module = importlib.import_module(f"persist.readers.{own}")
        for value in vars(module).values():
            if _is_reader(value) and value.__module__ == module.__name__:
                found[value.name] = value()
    for point in entry_points("persist.readers"):
        reader = point.load()()
        found[reader.name] = reader
    return tuple(found.values())


def _is_reader(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Reader) and hasattr(value, "name")


def _view(knowledge: Registry, record: Record, looker: PackView) -> Any:
    """A record through the packs, or None where none knows it."""
    plain = knowledge.plain_for(record.qualname)
    if plain is not None:
        return plain(record, looker)
    for plain in knowledge.plains_like():
        seen = plain(record, looker)
        if seen is not None:
            return seen
    return None


def _plain_value(looker: PackView, trusted: Trust, record: Record) -> Any:
    """What a pack knows a record to be, where that is a plain value and all of it; else ABSENT.

    A name beside the value (of a shared variable) is no part of it; scales and the like are.
    Where objects of a library are trusted, no plain value takes the place of one of their parts.
    """
    if trusted.has_exactly(record.qualname) or trusted.wants_objects_of(record.qualname):
        return ABSENT
    seen = looker.through(record)
    if isinstance(seen, View):
        if seen.parts.keys() - {"name", "freq"}:  # of a Timestamp, where it means nothing
            return ABSENT
        seen = seen.value
    return ABSENT if isinstance(seen, View | Record) else seen


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
