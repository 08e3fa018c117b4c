"""`File`: what is inside a file, looked at without importing or calling anything that it names."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from persist._api.detect import read
from persist._runtime.gc_pause import collector_paused
from persist._runtime.progress import reporting
from persist._trees.pack_view import PackView, is_array
from persist._trees.paths import PathMapping
from persist._trees.references import described, shared_references
from persist._wire.base.source import Source
from persist.errors import (
    ChoiceWarning,
    DamageWarning,
    PersistError,
    RestoreError,
)
from persist.readers.base import Content, Options, Reader
from persist.tree import ABSENT, Record, View, show_records_with

if TYPE_CHECKING:
    from persist._layouts.checks import Written
    from persist._objects.trust import Trust
    from persist._upgrade.capsule import Capsule
    from persist.registry import Registry
    from persist.typing import Progress

__all__ = [
    "File",
    "has_steps",
    "names_declared",
    "nothing_at",
    "plain_value",
    "registry_or_default",
    "settle_text_of",
    "warn_about_damage",
    "written_layouts",
]


_CLASSES = 10_000  # records whose packs are looked for, to show one


class File:
    """What is inside a file, to look at; nothing in it was imported or called.

    Attributes:
        name: the file as it was named.
        format: the name of the reader that took it.
        claim: why it took it.
        writer: what the file itself states about its writer; never guessed.
        arrays: natural path -> array, lazy where the format allows.
        scalars: natural path -> every other leaf.
        objects: natural path -> the object there, upgraded and made when it is asked for.
        notes: what was chosen of several, and what was left out, in words; empty as a rule.
    """

    def __init__(
        self,
        source: Source,
        content: Content,
        reader: Reader,
        claim: str,
        registry: Registry | None,
        *,
        as_torch: bool = False,
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
        self._progress: Progress | None = None
        self._as_torch = as_torch

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
        with collector_paused(), reporting(self._progress):
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

        known = _gather.gather(self._content.globals, registry_or_default(self._registry))
        return _with_releases(self, _moved_schemas(self._content, known))

    @functools.cached_property
    def looker(self) -> PackView:
        """How the tree looks through those packs."""
        return PackView(
            lambda *asked: _view(self.knowledge, *asked), self._tree_of, self._source.spend_views
        )

    @property
    def history(self) -> list[dict[str, Any]]:
        """How the file came about, oldest entry first; [] of a file that is no container.

        An entry says ``action``, ``date`` and ``by`` (releases), and of which file it was made: ``name``,
        ``size``, ``sha256``, ``format``, ``writer``, ``records`` (class, schema, version, number of
        them), ``steps`` (schema, from, to, hash of the source); see `docs/container.md`. It is data of
        the file, and nothing else proves it.
        """
        from persist._api.provenance import history_of

        return history_of(self._content.structure) if self.format == "persist" else []

    def is_known(self, record: Record) -> bool:
        """Whether a pack knows how to look into a record."""
        return self.looker.through(record) is not record

    def _trust_of(self, record: Record) -> str:
        """What is known of the class of a record, as pages show it: "declared", "known to a pack" or "opaque"."""
        return _trust_of(record, self.knowledge, self.looker)

    def to_pandas(self, path: str = "") -> Any:
        """Return the frame, series, index or other object of pandas at a natural path.

        Args:
            path: where it is; as a rule a file is one frame, or a dict of them.

        Raises:
            MissingExtraError: pandas is not installed.
            RestoreError: there is nothing at ``path``, or no object of pandas can be made of it.
        """
        from persist._api.frames import pandas_object

        return pandas_object(self, path)

    def _tree_of(self, data: bytes, name: str) -> object:
        return read(self._source.nested(data, name), Options(), ())[1].tree

    @functools.cached_property
    def arrays(self) -> Mapping[str, Any]:
        """Natural path -> array-like with ``shape``, ``dtype``, ``nbytes``, ``numpy.asarray()``, ``[i:j]``."""
        names = self._names(is_array, self._content.find)
        if not self._as_torch:
            return names
        from persist._wire.torch.storage import Tensors

        return Tensors(names)

    @functools.cached_property
    def scalars(self) -> Mapping[str, Any]:
        """Natural path -> every leaf that is no array."""
        return self._names(lambda leaf: not is_array(leaf))

    @functools.cached_property
    def objects(self) -> Mapping[str, Any]:
        """Natural path -> the object there, upgraded and made when it is asked for, as `persist.load` does.

        Only what the object needs is read: of a large file one part at a time.
        """
        from persist._api.objects import Objects

        return Objects(self)

    @functools.cached_property
    def _arrays_at_every_path(self) -> Mapping[str, object]:
        """The arrays under every path that leads to them, to fill or write what has no sharing."""
        names = self._names(is_array, self._content.find, each_once=False)
        if not self._as_torch:
            return names
        from persist._wire.torch.storage import Tensors

        return Tensors(names)

    def _names(
        self,
        wanted: Callable[[Any], bool],
        find: Callable[[str], Any] | None = None,
        *,
        each_once: bool = True,
    ) -> PathMapping:
        most = self._source.limits.paths
        return PathMapping(
            lambda: self._written, self.looker, wanted, most, self.name, find, each_once=each_once
        )

    @functools.cached_property
    def structure(self) -> dict[str, Any]:
        """JSON-able description of what is no array, such as a config, graph nodes, the globals named.

        ``shared`` has the further paths of containers that are listed at their shortest path.
        """
        structure = self._content.structure
        if callable(structure):
            with collector_paused():
                structure = structure()
        keys: dict[str, str] = {}
        seen = described(self._written, self.looker, self._source.limits.paths, keys)
        shared = shared_references(self._written, self.looker, self._source.limits.paths)
        optional = {"objects": seen, "key_classes": keys, "shared": shared}
        return {
            **structure,
            **{name: described_part for name, described_part in optional.items() if described_part},
        }

    def close(self) -> None:
        """Let go of the file; mapped arrays stay valid."""
        self._source.close()

    def __enter__(self) -> File:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.format} file {self.name}>"

    def _repr_html_(self) -> str:
        from persist._trees.html import file_html

        return file_html(self)

    def __str__(self) -> str:
        from persist._trees import show

        return show.page(self)


def _trust_of(record: Record, knowledge: Registry, looker: PackView) -> str:
    schema = knowledge.schema_for(knowledge.resolve(record.qualname))
    if schema is not None and schema.cls is not None:
        return "declared"
    is_known = schema is not None or looker.through(record) is not record
    is_known = is_known or knowledge.rebuild_for(knowledge.resolve(record.qualname)) is not None
    return "known to a pack" if is_known else "opaque"


def _record_html(record: Record) -> str:
    """What a notebook shows of a record, with what the default registry and packs know of its classes."""
    from persist._trees.copier import records_in
    from persist._trees.html import record_html
    from persist.packs import _gather

    names = {one.qualname for one in islice(records_in(record, set()), _CLASSES)}
    knowledge = _gather.gather(names, registry_or_default(None))
    looker = PackView(lambda *asked: _view(knowledge, *asked))
    return record_html(record, looker, lambda one: _trust_of(one, knowledge, looker))


show_records_with(_record_html)


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


def settle_text_of(
    file: File, tree: object, fail: Callable[[Record, PersistError], None] | None = None
) -> None:
    """Make text or bytes of what Python 2 wrote, in an upgraded tree, as declared fields say.

    Args:
        file: that is open.
        tree: its records are changed.
        fail: as for `persist._objects.py2_text.settle_text`.
    """
    if file._content.origin is None and not file.writer.get("python", "").startswith("2"):
        return
    from persist._objects.py2_text import settle_text

    settle_text(tree, file.knowledge, file._content.origin, file.name, fail)


def _moved_schemas(content: Content, registry: Registry) -> Registry:
    """The registry with what a container's manifest states about classes that moved since.

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


def written_layouts(file: File) -> Written:
    """What a container says of layouts and releases that are not those of the program."""
    from persist._layouts.checks import Written, mismatched, newer_minors, stated_parts
    from persist._layouts.releases import least_readers, written_releases

    structure = file._content.structure
    if file.format != "persist" or not isinstance(structure, dict):
        return Written()
    named = frozenset(file._content.globals)  # a file may list schemas that nothing in it is of
    entries = [one for one in structure.get("schemas") or () if isinstance(one, dict)]
    said = [one for one in entries if not named.isdisjoint((one.get("class"), one.get("name")))]
    knowledge = file.knowledge
    layouts, releases = mismatched(said, knowledge), written_releases(entries, knowledge)
    newer, parts = newer_minors(said, knowledge), stated_parts(said, knowledge)
    least = least_readers(said, knowledge)
    capsule = _capsule(structure.get("capsule"), knowledge)
    if capsule is None:
        return Written(layouts, releases, newer, parts=parts, readers=least)
    size = file._source.size or 0
    budget = file._source.limits.total_for(size)
    return Written(layouts, releases, newer, capsule, budget, parts, least)


def _capsule(said: object, knowledge: Registry) -> Capsule | None:
    """The capsule of a file, if its steps may be of use to a program."""
    if said is None:
        return None
    from persist._upgrade.capsule import is_lifting, read_capsule

    found = read_capsule(said)
    is_useful = found is not None and (found.faults or is_lifting(found, knowledge))
    return found if is_useful else None


def _with_releases(file: File, registry: Registry) -> Registry:
    """The registry with the releases that the file records, where a version is known by a release."""
    if not any(one._releases for one in registry._line()):
        return registry
    recorded, entries = dict(file.writer), file._content.structure
    if file.format == "persist" and isinstance(entries, dict):
        listed = {one.get("name") for one in entries.get("schemas") or () if isinstance(one, dict)}
        schemas = (registry.schema_for(registry.resolve(n)) for n in file._content.globals)
        if all(one is None or one.name in listed for one in schemas):  # each has its version
            return registry
    from persist.registry._releases import package_of

    names = {
        package_of(s) for s in map(registry.schema_for, _released_names(registry)) if s is not None
    }
    recorded = {package: str(release) for package, release in recorded.items() if package in names}
    if not recorded:
        return registry
    from persist.registry import Registry

    child = Registry(f"{registry.name} with releases of the file", parents=(registry,))
    child._recorded = recorded
    return child


def _released_names(registry: Registry) -> set[str]:
    return {name for one in registry._line() for name in one._releases}


def nothing_at(at: str, file: File) -> PersistError:
    """Return the error for a natural path that leads nowhere in a file."""
    steps = list(dict.fromkeys(step for step, _ in file.looker.look(file._written)[1]))
    there = ", ".join(map(repr, steps[:12])) or "none"
    return RestoreError(
        f"there is nothing at {at!r}.",
        file=file.name,
        remedy=f"at= names a part of the file by its natural path. The first steps are: {there}.",
    )


def warn_about_damage(file: File) -> None:
    """Warn of what was wrong with a file and passed over, and of what was chosen of several."""
    for note in file._content.damage:  # of the file itself; views are not used to load
        warnings.warn(f"{file.name}: {note}", DamageWarning, stacklevel=3)
    for note in file.notes:
        warnings.warn(f"{file.name}: {note}.", ChoiceWarning, stacklevel=3)


def registry_or_default(registry: Registry | None) -> Registry:
    """The registry that was given, or the default one."""
    from persist.registry import default_registry

    return default_registry if registry is None else registry


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


def plain_value(looker: PackView, trusted: Trust, record: Record) -> Any:
    """What a pack knows a record to be, where that is a plain value and all of it; else ABSENT.

    A name next to the value (of a shared variable) is no part of it; scales and the like are.
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
