"""TensorFlow's checkpoints: V2 (index and shards) and V1 (tables), by any of their names.

Written by  ``tf.train.Saver`` since 0.5 (V1, which stayed until 1.x as
            ``write_version=V1``; V2 since 0.12), ``tf.train.Checkpoint`` and
            ``Model.save_weights`` since 1.5, TPU and Estimator training.
Evidence    TensorFlow's ``core/util/tensor_bundle/tensor_bundle.cc``,
            ``core/util/tensor_slice_{reader,writer}.cc``,
            ``python/training/checkpoint_management.py`` and
            ``core/protobuf/trackable_object_graph.proto``; files of 0.12 to 2.15.
Traps       A V2 prefix is no file. A V1 checkpoint is a file without a suffix,
            and a LevelDB table has the same magic. The state file names paths of
            another machine. ``.data`` files have no magic at all. A sliced
            tensor's own entry has no bytes. Strings may end in NULs.
Gives       Name of the variable, or key of the object -> lazy array; partitioned
            variables put together; strings as arrays of ``bytes`` objects.
            ``structure``: the state file, the other checkpoints, types and
            parts of each tensor, the graph of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from persist._wire.base.numbered_steps import Step, chosen, grouped
from persist._wire.base.source import Source
from persist._wire.databases.sstable import FOOTER, MAGIC, Table
from persist._wire.tensorflow.checkpoint_files import (
    STATE,
    State,
    bundles,
    is_state,
    read_state,
    split_shard,
    tables,
)  # fmt: skip
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader

if TYPE_CHECKING:
    from persist._wire.tensorflow.bundle import Bundle

__all__ = ["TensorFlowCheckpointReader"]


class _Found(NamedTuple):
    """A checkpoint: what it is called, of which kind, the files to read, and those not there."""

    prefix: str
    kind: str  # "bundle" or "table"
    files: list[Source]
    missing: Sequence[str] = ()


class TensorFlowCheckpointReader(Reader):
    """Checkpoints of ``tf.train.Saver``, ``tf.train.Checkpoint`` and ``save_weights``."""

    name = "tensorflow-checkpoint"
    suffixes = (".ckpt", ".index")
    writes = True
    is_flat = True
    is_prefix = True

    def claims(self, source: Source) -> str | None:
        try:
            return _claims(source)
        except (FormatError, OSError):
            return None

    def read(self, source: Source, options: Options) -> Content:
        state = _state_near(source)
        series = _series(source, state)
        if series:
            step = _choose(series, state, options.step, source.name)
            found = _by_prefix(step.name, source)
        else:
            step = None
            found = None if is_state(source) else _find(source)
        if found is None:
            raise DamagedFileError(
                f"the state file names {state.latest!r}, which is not next to it."
                if state is not None and is_state(source)
                else "no whole checkpoint lies here.",
                file=source.name,
                remedy="Its .index and .data files belong into the same folder.",
            )
        content = _read(found, options)
        _describe(content, found, source, state, series, step)
        return content

    def write_files(self, tree: Any, prefix: str) -> list[str]:
        """Write arrays by name as a checkpoint of ``tf.train.Saver`` (V2), in one shard.

        Raises:
            FormatError: TensorFlow has no such type.
        """
        from persist._wire.tensorflow.bundle_writer import write_bundle

        return write_bundle(tree, prefix)


def _claims(source: Source) -> str | None:
    if source.kind == "folder":
        names = source.children()
        if "saved_model.pb" in names or "saved_model.pbtxt" in names:
            return None
        count = len(bundles(names))
        if count:
            return f"a folder of {count} checkpoints with .index and .data"
        state = source.child(STATE) if STATE in names else None
        if state is not None and is_state(state):
            return "a folder with the state file 'checkpoint'"
        return None
    if source.kind == "prefix":
        found = _find(source)
        if found is not None:
            return f"{found.prefix!r} is the prefix of {len(found.files)} files of a checkpoint"
        return "checkpoints begin so" if _series(source, None) else None
    tail = source.tail(8)
    if tail == MAGIC and source.size >= FOOTER:
        return _claims_table(source)
    shard = split_shard(source.basename)
    if shard is not None and shard[1] == "data" and source.sibling(f"{shard[0]}.index"):
        return f"a shard of the checkpoint {shard[0]!r}, whose index is next to it"
    name = source.basename
    if name.endswith(".index") and name.removesuffix(".index") in bundles(source.children()):
        return "named as the index of the shards next to it"
    if is_state(source):
        return "text that begins as the state file of checkpoints"
    return None


def _claims_table(source: Source) -> str | None:
    """A table is a checkpoint if its first key is empty; a broken one may be."""
    from persist._wire.tensorflow.bundle import is_bundle_header

    try:
        first = Table(source, verify=False).first()
    except FormatError:
        return "ends with a table's magic number"
    if first is None or first[0]:
        return None
    kind = "V2 index" if is_bundle_header(first[1]) else "V1 table"
    return f"ends with a table's magic number, and begins as a {kind}"


# Which checkpoint is meant.


def _state_near(source: Source) -> State | None:
    """The state file: the source itself, or the one in the folder."""
    try:
        if is_state(source):
            return read_state(source)
        near = _near(source, STATE)
        return read_state(near) if near is not None and is_state(near) else None
    except FormatError:
        if source.kind == "file" and is_state(source):
            raise
        return None  # of another program, or broken: what was asked for is read without it


def _find(source: Source) -> _Found | None:
    """The one checkpoint that a file or a prefix belongs to."""
    from persist._wire.tensorflow.bundle import is_bundle_header

    if source.kind == "prefix":
        return _by_prefix(source.basename, source)
    if source.kind != "file":
        return None
    shard = split_shard(source.basename)
    if shard is not None and shard[1] == "data":
        return _by_prefix(shard[0], source)
    if source.tail(8) != MAGIC:
        # Cut short: reading it says where.
        return _Found(source.basename.removesuffix(".index"), "bundle", [source])
    first = Table(source, verify=False).first()
    if first is not None and is_bundle_header(first[1]):
        return _Found(source.basename.removesuffix(".index"), "bundle", [source])
    if shard is not None:
        return _by_prefix(shard[0], source) or _Found(source.basename, "table", [source])
    return _Found(source.basename, "table", [source])


def _near(source: Source, name: str) -> Source | None:
    """Return a file in the folder, or next to the file or prefix."""
    found = source.child(name) if source.kind == "folder" else source.sibling(name)
    return found if found is not None and found.kind == "file" else None


def _by_prefix(prefix: str, source: Source) -> _Found | None:
    """The checkpoint of a prefix, by the names of its files."""
    index = _near(source, f"{prefix}.index")
    if index is not None:
        return _Found(prefix, "bundle", [index])
    single = _near(source, prefix)
    if single is not None and single.tail(8) == MAGIC:
        return _Found(prefix, "table", [single])
    files = tables(source.children()).get(prefix, [])
    shard = split_shard(files[0]) if files else None
    if shard is None:
        return None
    # Each name contains the number of shards.
    wanted = [f"{prefix}-{number:05d}-of-{shard[2]:05d}" for number in range(shard[2])]
    present = set(files)
    found = [file for name in wanted if name in present and (file := _near(source, name))]
    if not found:
        return None
    return _Found(prefix, "table", found, [name for name in wanted if name not in present])


def _series(source: Source, state: State | None) -> list[Step]:
    """The checkpoints among which a folder, a state file or an unfinished prefix lets choose."""
    is_open = source.kind == "folder" or (source.kind == "file" and is_state(source))
    if not is_open and (source.kind != "prefix" or _is_whole(source)):
        return []
    names = source.children()
    prefixes = [*bundles(names), *tables(names)]
    if state is not None:
        prefixes += [
            name for name in {*state.all, state.latest} if name in names and name not in prefixes
        ]
    prefixes += [
        name.removesuffix(".meta")
        for name in names
        if name.endswith(".meta")
        and name.removesuffix(".meta") in names
        and name.removesuffix(".meta") not in prefixes
    ]
    if source.kind == "prefix":
        start = source.basename
        prefixes = [name for name in prefixes if name.startswith(start)]
    numbered = [step for steps in grouped(prefixes).values() for step in steps]
    known = {step.name for step in numbered}
    plain = [Step(-1, name) for name in sorted(prefixes) if name not in known]
    return plain + sorted(numbered, key=lambda step: (step.number, step.name))


def _is_whole(source: Source) -> bool:
    try:
        return _by_prefix(source.basename, source) is not None
    except FormatError:
        return True


def _choose(series: list[Step], state: State | None, wanted: int | None, file: str) -> Step:
    if wanted is None and state is not None:
        for step in series:
            if step.name == state.latest:
                return step
    if wanted is None:
        return series[-1]
    return chosen([step for step in series if step.number >= 0], wanted, file)


# What is in it.


def _read(found: _Found, options: Options) -> Content:
    from persist._wire.tensorflow.bundle import Bundle
    from persist._wire.tensorflow.v1_table import TensorTable

    verify = options.verify or "lazy"
    if found.kind == "bundle":
        bundle = Bundle(found.files[0], found.prefix, verify, options.salvage)
        return Content(
            dict(bundle.tensors),
            structure=lambda: _bundle_structure(bundle),
            damage=bundle.damage,
        )
    if found.missing and not options.salvage:
        raise DamagedFileError(
            f"{len(found.missing)} of its shards are not there: {', '.join(found.missing[:4])}.",
            file=found.files[0].name,
            remedy="Put them next to it, or read the tensors of the other shards with salvage=True.",
        )
    table = TensorTable(found.files, verify, options.salvage)
    table.damage[:0] = [f"shard {name} is not there" for name in found.missing]
    return Content(
        dict(table.tensors),
        structure=lambda: {"format": "V1", "tensors": table.described},
        damage=table.damage,
        format="tensorflow-checkpoint-v1",
    )


def _bundle_structure(bundle: Bundle) -> dict[str, object]:
    structure: dict[str, object] = {
        "format": "V2",
        "shards": bundle.shards,
        "tensors": bundle.described,
    }
    graph = bundle.object_graph()
    if graph is not None:
        structure["object_graph"] = graph
    return structure


def _describe(
    content: Content,
    found: _Found,
    source: Source,
    state: State | None,
    series: list[Step],
    step: Step | None,
) -> None:
    """Add information from the neighbouring files to the structure of the checkpoint."""
    inner = content.structure

    def structure() -> dict[str, Any]:
        structure: dict[str, object] = {"prefix": found.prefix}
        if state is not None:
            structure["checkpoint_state"] = state.described()
        names = source.children()
        structure["files"] = _files(names, found.prefix) or [file.basename for file in found.files]
        structure["checkpoints"] = sorted(
            {*bundles(names), *tables(names)} | {item.name for item in series}
        )
        if step is not None:
            structure["series"] = {
                "steps": [item.number for item in series if item.number >= 0],
                "names": [item.name for item in series],
                "step": step.number if step.number >= 0 else None,
                "name": step.name,
            }
        structure.update(inner() if callable(inner) else inner)
        return structure

    content.structure = structure


def _files(names: list[str], prefix: str) -> list[str]:
    """The files of one checkpoint, and the state file."""
    found = []
    for name in names:
        shard = split_shard(name)
        if name in (STATE, prefix, f"{prefix}.index", f"{prefix}.meta") or (
            shard is not None and shard[0] == prefix
        ):
            found.append(name)
    return found
