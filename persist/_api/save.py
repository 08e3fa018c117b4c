"""`save`: flatten objects to a tree, and write it as a container or in another format."""

from __future__ import annotations

import contextlib
import datetime
import functools
import io
import os
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from persist._api.detect import readers
from persist._api.file import registry_or_default
from persist._api.provenance import appending
from persist._runtime.gc_pause import collector_paused
from persist._runtime.progress import current, reporting
from persist._trees.pack_view import PackView, is_array, is_series
from persist._trees.paths import PathMapping
from persist._wire.base import urls
from persist._wire.base.source import Limits
from persist.errors import (
    FormatError,
    IrreversibleError,
    PersistError,
    UnknownSchemaError,
)
from persist.readers.base import Reader
from persist.typing import Array

if TYPE_CHECKING:
    from persist._objects.libraries import Packs
    from persist._objects.snapshot import Memory
    from persist.registry import Registry
    from persist.typing import Compression, DigestName, Format, Progress, Writable

__all__ = [
    "Older",
    "local_target",
    "older_tree",
    "refuse_suffix",
    "save",
    "save_tree",
    "tree_of",
    "writer_of",
]


_MOST_LOSSES = 20  # that a message lists
# In use by many programs: a file of that name is surely of no one format.
_GENERIC_SUFFIXES = frozenset((".bin", ".ckpt", ".dat", ".data", ".db", ".model", ".params"))


def save(
    obj: object,
    target: str | os.PathLike[str] | Writable,
    *,
    format: Format | str = "persist",
    durable: bool = True,
    metadata: Mapping[str, object] | None = None,
    compress: Compression | None = None,
    digest: DigestName | Literal[False] | None = None,
    columns: bool = True,
    pack: bool = True,
    versions: Mapping[str, int] | None = None,
    lossy: bool = False,
    class_paths: Mapping[str, str] | None = None,
    capsule: bool = False,
    protocol: int | None = None,
    storage_options: Mapping[str, object] | None = None,
    date: datetime.datetime | Literal[False] | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> None:
    """Save an object so that it stays loadable.

    The file appears when it is complete: it is written next to its target and renamed, or uploaded to where a
    URL points. Until then, and if it fails, what was there before stays.

    Args:
        obj: plain values, arrays, records, instances of declared classes, in any structure.
        target: a path, an fsspec URL (``s3://bucket/file``), or an open binary file.
        format: "persist", the container that NumPy alone can open (`docs/container.md`);
            "pickle", "npy", "npz", "safetensors", "torch", "theano-zip", "mxnet", "hdf5", "keras-h5"
            (weights as Keras 1 and 2 save them), "tensorflow" (a prefix of two files); "keras" for
            a model of Keras 3.
        durable: wait until the disk has it (fsync of file and folder).
        metadata: JSON-able, stored with the object.
        compress: "zstd" or "deflate", or a pair of it and a level (``("zstd", 19)``), for each array;
            or a mapping from natural paths and patterns of them to these or None: the path itself
            counts, else the first pattern that matches (``{"model/*": ("deflate", 9)}``). None by
            default.
        digest: "xxh3-128", "sha256", "blake3": a digest of each array in addition to its CRC-32;
            None is "xxh3-128" where the extra ``fast`` is installed, False is none.
        columns: store 1,000 or more records of one class and version as columns.
        pack: store 1,000 or more small arrays of one dtype and shape as a block.
        versions: schema name -> version: write those records as that older version had them, in
            their state without an envelope, for the code of that version.
        lossy: with ``versions``, write them also if an older version cannot hold everything.
        class_paths: with ``versions`` and a format of pickles, schema name -> dotted name of the class in
            that code; by default the name that it had at that version, as far as aliases say.
        capsule: store in a container also the layouts that its classes had and have, and their
            ready-made steps as data, so that a program that knows less of the classes can load it.
        protocol: of ``format="pickle"``; 4 by default, 2 for Python 2.
        storage_options: for fsspec, if the target is a URL.
        date: of the entry in the history of a container: None is now, or what the environment variable
            ``SOURCE_DATE_EPOCH`` states; False states none, so that equal objects give equal bytes.
        registry: schemas; None is the default one.
        progress: as for `open`. A function that raises leaves what was there before.

    Raises:
        SchemaError: something in it cannot be saved, with its path and the way out.
        FormatError: the format cannot hold it, or the suffix belongs to another format.
        IrreversibleError: a step to an older version has no inverse; or values would be lost, which
            the message lists, and ``lossy`` is False.
        StorageError: the storage behind a URL refused or failed.
    """
    target = local_target(target)
    refuse_suffix(target, format)
    registry = registry_or_default(registry)
    name = None
    if isinstance(target, str | os.PathLike):
        name = urls.shown(os.fsdecode(os.fspath(target)))
    older = Older(versions, lossy, class_paths)
    try:
        with reporting(progress), collector_paused():  # until what was made on the way is gone
            if format == "persist":
                tree = tree_of(obj, registry, columns=columns and not versions)
                save_tree(
                    older_tree(tree, older, registry),
                    target,
                    metadata=metadata,
                    compress=compress,
                    digest=digest,
                    durable=durable,
                    columns=columns,
                    pack=pack,
                    storage_options=storage_options,
                    registry=registry,
                    history=appending(date=date),
                    capsule=capsule,
                    versions=versions,
                )
            else:
                wanted = {"metadata": metadata, "compress": compress, "protocol": protocol}
                options = {name: value for name, value in wanted.items() if value is not None}
                _save_other(obj, target, format, durable, options, older, storage_options, registry)
    except PersistError as error:
        raise error.at(file=name) from error.__cause__


class Older(NamedTuple):
    """What older versions are asked for: the keywords of `save`."""

    versions: Mapping[str, int] | None = None
    lossy: bool = False
    class_paths: Mapping[str, str] | None = None


def _save_other(
    obj: object,
    target: object,
    format: str,
    durable: bool,
    options: dict[str, Any],
    older: Older,
    storage_options: Mapping[str, object] | None,
    registry: Registry,
) -> None:
    """Write what is no container; the options are those of the writer."""
    writer = writer_of(format)
    if writer.is_model:
        with _writing(target, durable, storage_options) as file:
            writer.write(obj, file, **options)
        return
    if writer.is_pickle and not older.versions:
        from persist._objects.flatten import flatten, reduced

        flatten(
            obj, registry, packs=packs_of(registry)
        )  # what could not be found again is refused here as in a container
        tree = obj  # objects pickle themselves, their envelopes with them
        options["reducer"] = functools.partial(reduced, registry)
    else:
        tree = older_tree(tree_of(obj, registry), older, registry, writer.is_pickle)
    if writer.is_flat:
        tree = _flat(tree, format)
    if writer.is_prefix:
        if not isinstance(target, str | os.PathLike) or options:
            raise FormatError(
                f"{format} is several files, whose names begin with a path, and takes no options.",
                remedy="Give the path of a folder, or a URL, and a name in it.",
            )
        prefix = os.fsdecode(os.fspath(target)).removesuffix(".index")
        if _is_url(target):
            _upload_files(writer, tree, prefix, storage_options)
        else:
            writer.write_files(tree, prefix)
        return
    with _writing(target, durable, storage_options) as file:
        meter = current()
        if meter is None:
            writer.write(tree, file, **options)
            return
        name = target if isinstance(target, str | os.PathLike) else None
        shown = None if name is None else urls.shown(os.fsdecode(os.fspath(name)))
        count = meter.count("write", "bytes", file=shown)
        writer.write(tree, count.file(file), **options)
        count.end()


def tree_of(
    obj: object,
    registry: Registry | None = None,
    *,
    snapshot: bool | Memory = False,
    columns: bool = False,
) -> object:
    """Return the tree of an object, as `save` writes it; with columns, only a container can hold it."""
    from persist._objects.flatten import flatten

    registry = registry_or_default(registry)
    with collector_paused():
        return flatten(obj, registry, snapshot=snapshot, columns=columns, packs=packs_of(registry))


def packs_of(registry: Registry) -> Packs:
    """Return what finds the pack of a library, once for each."""
    found: dict[str, Registry] = {}
    names: list[str] = []

    def packs(name: str) -> Registry:
        from persist.packs._gather import gather

        library = name.partition(".")[0]
        if library not in found:
            # A part of an object may be of a module outside of its library (``_loss`` of scikit-learn,
            # a time zone in a frame), and the pack of the whole knows it.
            names.append(name)
            found[library] = gather(names, registry)
        return found[library]

    return packs


def save_tree(
    tree: Any,
    target: object,
    *,
    storage_options: Mapping[str, object] | None = None,
    registry: Registry | None = None,
    capsule: bool = False,
    older_capsule: object = None,
    versions: Mapping[str, int] | None = None,
    **options: Any,
) -> None:
    """Write a tree into a container; with a capsule if asked for, or if the tree is from a file that has one.

    Args:
        versions: of the schemas whose records in the tree are of an older version.
    """
    from persist import _container
    from persist._api.manifest_schemas import schemas_in_file

    target = local_target(target)
    options["schemas"] = schemas_in_file(registry_or_default(registry), versions)
    options.setdefault("history", appending())
    if capsule or older_capsule is not None:
        from persist._layouts.capsule import capsule_of

        options["capsule"] = capsule_of(registry_or_default(registry), older_capsule)
    with collector_paused():
        if _is_url(target):
            with _writing(target, False, storage_options) as file:
                _container.write(tree, file, **options)
        else:
            _container.write(tree, target, **options)


_Target = TypeVar("_Target")


def local_target(target: _Target) -> _Target | str:
    """Return a target as it is, and the path in place of a ``file://`` URL.

    Raises:
        PersistError: a `pathlib.Path` of a URL, which cannot hold one.
    """
    if isinstance(target, str):
        return urls.plain_path(target)
    if isinstance(target, os.PathLike):
        urls.refuse_collapsed(target)
    return target


def _is_url(target: object) -> bool:
    return isinstance(target, str) and urls.is_url(target)


@contextlib.contextmanager
def _writing(
    target: Any, durable: bool, storage_options: Mapping[str, object] | None
) -> Iterator[IO[bytes]]:
    """Open what is to be written: it is replaced when all is written, by a renamed file or an upload."""
    if _is_url(target):
        from persist._wire.base.uploads import uploading

        with uploading(target, storage_options) as file:
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


def _upload_files(
    writer: Reader, tree: object, prefix: str, storage_options: Mapping[str, object] | None
) -> None:
    """Upload a format of several files; the index last, without which the others are not found."""
    import shutil
    import tempfile
    from pathlib import Path

    folder, _, name = prefix.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="persist-") as made:
        writer.write_files(tree, os.path.join(made, name))
        for path in sorted(Path(made).iterdir(), key=lambda path: path.suffix == ".index"):
            with (
                _writing(urls.joined(folder, path.name), False, storage_options) as file,
                path.open("rb") as written,
            ):
                shutil.copyfileobj(written, file, 1 << 20)


def _flat(tree: object, format: str) -> dict[str, object]:
    """A tree as names and arrays, for formats that hold nothing else; numbers and text as 0-d arrays.

    Raises:
        FormatError: there is something that is no array, with its path.
    """
    from persist._wire.torch.quantized import expanded

    most = Limits().paths
    names = expanded(PathMapping(lambda: tree, PackView(), is_array, most, format, each_once=False))
    others = PathMapping(
        lambda: tree, PackView(), lambda leaf: not is_array(leaf), most, format, each_once=False
    )
    for path, value in others.items():
        if format == "npz" and is_series(value) and (array := _as_array(value)) is not None:
            names[path] = array
            continue
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


def _as_array(series: Any) -> Array | None:
    """A sequence of plain values of one type as an array; None if an array would change them."""
    if isinstance(series[0], bytes | type(None)):
        return None
    if isinstance(series[0], str) and any(text.endswith("\0") for text in series):
        return None  # NumPy drops zeros at the end of text, as it does of bytes
    array = np.asarray(series)
    return None if array.dtype.hasobject or array.ndim != 1 else array


def older_tree(tree: object, older: Older, registry: Registry, is_unversioned: bool = False) -> Any:
    """Return a tree with the records of these schemas as an older version had them.

    Args:
        tree: in the current layout.
        older: which versions.
        registry: the registry to use.
        is_unversioned: leave out the version, and write the class paths of that version.
    """
    versions, lossy, class_paths = older
    if not versions:
        return tree
    from persist._objects.inert import Inert
    from persist._upgrade.downgrade import downgrade_tree
    from persist._upgrade.past import class_paths as past_paths

    for name in versions:
        if registry.schema_for(name) is None:
            raise UnknownSchemaError(
                f"versions= names {name!r}, which is no schema here.",
                remedy="Schemas go by the name that schema= gave them, else by their dotted path.",
                schema=name,
            )
    live = Inert(registry, is_pickle=is_unversioned)
    losses: list[str] | None = None if lossy else []
    paths = past_paths(versions, registry, chosen=class_paths) if is_unversioned else None
    made = downgrade_tree(
        tree,
        versions,
        registry,
        is_unversioned=is_unversioned,
        live=live,
        losses=losses,
        class_paths=paths,
    )
    if losses:
        listed = "; ".join(losses[:_MOST_LOSSES])
        more = f"; and {len(losses) - _MOST_LOSSES:,} more" if len(losses) > _MOST_LOSSES else ""
        raise IrreversibleError(
            f"what versions= asks for cannot hold everything; this would be lost: {listed}{more}.",
            remedy="Write it without these: lossy=True; or give the steps a way back that keeps them "
            "(@step.downgrade).",
            losses=losses,
        )
    return made


def writer_of(format: str) -> Reader:
    """The reader that writes a format: of that name, or the one whose name begins so."""
    able = {reader.name: reader for reader in readers() if reader.writes}
    if format in able:
        return able[format]
    near = [reader for name, reader in able.items() if name.startswith(f"{format}-")]
    # Of several, the archive: "torch" and "keras" mean what these write today.
    archives = [reader for reader in near if reader.name == f"{format}-zip"]
    if len(near) == 1 or archives:
        return (archives or near)[0]
    raise FormatError(
        f"there is no format {format!r} to write.",
        remedy=f"One of these: {', '.join(sorted(able))}.",
        formats=sorted(able),
    )


def refuse_suffix(target: object, format: str) -> None:
    """A file whose suffix promises another format misleads everybody who opens it later."""
    if not isinstance(target, str | os.PathLike):
        return
    name = urls.shown(os.fsdecode(os.fspath(target)))
    suffix = os.path.splitext(name)[1].lower()
    owners = [reader.name for reader in readers() if suffix in reader.suffixes]
    if not suffix or not owners or suffix in _GENERIC_SUFFIXES:
        return
    if any(name == format or name.startswith(f"{format}-") for name in owners):
        return
    able = [name for name in owners if any(r.name == name and r.writes for r in readers())]
    cure = f'Write format="{able[0]}"' if able else "That format is read here, not written"
    raise FormatError(
        f"the suffix {suffix!r} belongs to {' and '.join(owners)}, not to {format!r}.",
        file=name,
        remedy=f"{cure}; or choose another suffix.",
        formats=owners,
    )
