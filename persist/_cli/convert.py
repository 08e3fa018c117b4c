"""Write a file in another format without upgrading it or building objects.

json, asdf (of the extra asdf) and parquet (one table, of the extra parquet) are written for other programs
and cannot be read back; npz and safetensors hold arrays only; other values are left out, and their number is reported.
A network of any release of Keras becomes the archive of Keras 3 with --to keras, for which Keras
must be installed; --weights names the file of its weights, if the first one has the architecture alone.
With --to-version or --as-of, what the file holds is loaded, upgraded, and written as an older version of its schemas
had it, for the code of that time: as a pickle under the class path of that time, which the aliases
know, and with --as-of in the protocol of that time. What cannot be held is listed, and refused without --lossy.
A folder of files is walked through, and its tree of folders is kept under --out; files that have
the format already are skipped.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._api.file import File
    from persist.registry import Registry
    from persist.schema import Schema

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _knowledge

    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, folder, prefix or URL")
    parser.add_argument(
        "--to",
        metavar="FORMAT",
        required=True,
        type=_format,
        help="the format to write: persist, npz, torch or any other that `save(format=...)` takes, or "
        "json, asdf, parquet; an unknown name lists them all",
    )
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="the file to write, or for a folder of files the folder to write to (default: next to "
        "the source, with the suffix of the format)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite a file that exists")
    parser.add_argument(
        "--weights", metavar="FILE", help="the weights of a network whose architecture is converted"
    )
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="write what can be made of a network, and its weights next to it as npz",
    )
    parser.add_argument(
        "--protocol",
        type=int,
        choices=range(6),
        help="the pickle protocol, of formats that are pickles (default 4)",
    )
    _add_past(parser)
    _knowledge.add(parser)


def _add_past(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments for older versions."""
    parser.add_argument(
        "--to-version",
        metavar="SCHEMA=N",
        action="append",
        default=[],
        type=_schema_version,
        help="write the records of a schema as its version N had them; may be repeated",
    )
    parser.add_argument(
        "--as-of",
        metavar="DATE",
        help="write all records as their schemas were at a date (2012, 2012-03-31), a release or a "
        "tag of git; schemas.lock or the declarations say which versions those were",
    )
    parser.add_argument(
        "--class-path",
        metavar="SCHEMA=NAME",
        action="append",
        default=[],
        type=_class_path,
        help="the dotted name of the class in the code of that time, if the aliases do not say it",
    )
    parser.add_argument(
        "--lossy",
        action="store_true",
        help="write an older version also if it cannot hold everything",
    )


def _format(text: str) -> str:
    """Return the full name of a format that a reader writes, or of an export."""
    from persist._cli._exports import EXPORTS
    from persist._cli._formats import format_name

    if text in EXPORTS:
        return text
    try:
        return format_name(text)
    except argparse.ArgumentTypeError as error:
        exports = f" to write, nor an export ({', '.join(EXPORTS)})."
        raise argparse.ArgumentTypeError(str(error).replace(" to write.", exports, 1)) from None


def _schema_version(text: str) -> tuple[str, int]:
    """Parse ``SCHEMA=N``."""
    name, _, number = text.rpartition("=")
    if not name or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not SCHEMA=N, as in lab.Layer=1")
    return name, int(number)


def _class_path(text: str) -> tuple[str, str]:
    """Parse ``SCHEMA=NAME``."""
    schema, _, name = text.partition("=")
    if not schema or "." not in name:
        raise argparse.ArgumentTypeError(f"{text!r} is not SCHEMA=NAME, as in lab.Layer=old.Layer")
    return schema, name


def run(args: argparse.Namespace) -> int:
    """Convert every file; 1 if any failed."""
    import sys

    import persist
    from persist._api.provenance import origin
    from persist._cli import _knowledge, _written
    from persist._cli._each import each
    from persist._cli._exports import EXPORTS, export
    from persist._cli._out import show
    from persist.errors import PersistError

    if args.out and len(args.files) > 1:
        print("persist: --out names one file, but several files are given", file=sys.stderr)
        return 2
    suffix = _suffix(args.to)
    try:
        registry = _knowledge.registry_of(args)
    except PersistError as error:
        print(f"persist: {error}", file=sys.stderr)
        return 2

    def one(name: str, inside: Path | None = None) -> None:
        target = _target(args.out, name, inside, suffix)
        if _exists(target) and not args.force:
            raise PersistError(f"{target} exists.", file=name, remedy="Overwrite it with --force.")
        with persist.open(name) as file:
            if inside is not None and file.format == args.to:
                return
            if inside is not None and isinstance(target, Path):
                target.parent.mkdir(parents=True, exist_ok=True)
            if args.to in EXPORTS:
                if not isinstance(target, Path):
                    raise PersistError(
                        f"--to {args.to} writes local files, and {target} is a URL.",
                        file=name,
                        remedy="Give a local path as --out, and copy the file.",
                    )
                show(f"{name} -> {target}{_listed(export(file, args.to, target))}")
                return
            options = {} if args.protocol is None else {"protocol": args.protocol}
            if args.to_version or args.as_of:
                lost = _write_older(name, file, target, args, registry, options)
                show(f"{name} -> {target}{_listed(lost)}")
                return
            value, lost = _value(file, args, target)
            converted = origin(file, _local(name)) if args.to == "persist" else None
            if _written.save(value, target, file, format=args.to, converted=converted, **options):
                lost.append("its metadata is left out")
        show(f"{name} -> {target}{_listed(lost)}")

    places: dict[str, Path] = {}
    every = list(_expanded(args, places))
    return each(every, lambda name: one(name, places.get(name)), known_only=places.keys())


def _target(out: str | None, name: str, inside: Path | None, suffix: str) -> Path | str:
    """Return the path or the URL to write to."""
    from persist._cli._folders import local
    from persist._wire.base import urls

    target = local(out or name.rstrip("/") + suffix)
    if out and inside is not None:
        below = inside.with_name(inside.name + suffix)
        return (
            f"{target.rstrip('/')}/{below.as_posix()}"
            if urls.is_url(target)
            else Path(target, below)
        )
    return target if urls.is_url(target) else Path(target)


def _exists(target: Path | str) -> bool:
    from persist._wire.base import urls

    if isinstance(target, Path):
        return target.exists() or Path(f"{target}.index").exists()
    return urls.exists(target) or urls.exists(f"{target}.index")


def _expanded(args: argparse.Namespace, places: dict[str, Path]) -> Iterator[str]:
    """Yield each file, and for a folder those in it, whose relative paths are put into ``places``."""
    from persist._cli._folders import files_in

    for name in args.files:
        if not os.path.isdir(name):
            yield name
            continue
        out = () if args.out is None else (Path(args.out),)
        for path, inside in files_in(Path(name), out):
            if path != Path(name):
                places[str(path)] = inside
            yield str(path)


def _suffix(form: str) -> str:
    from persist._cli._exports import EXPORTS
    from persist._cli._formats import ending

    return f".{form}" if form in EXPORTS else ending(form)


def _local(name: str) -> str | None:
    """The path of a local file; None for what comes from elsewhere."""
    from persist._cli._folders import local

    path = local(name)
    return None if "://" in path else path


def _listed(lost: list[str]) -> str:
    return f"  ({'; '.join(lost)})" if lost else ""


def _write_older(
    name: str,
    file: File,
    target: Path | str,
    args: argparse.Namespace,
    registry: Registry,
    options: dict[str, Any],
) -> list[str]:
    """Load a file and write it as older versions had it; return what is lost, in words.

    Raises:
        IrreversibleError: an older version cannot hold everything, and ``--lossy`` is not given; or a
            step has no way back.
    """
    import persist
    from persist._api.file import registry_or_default
    from persist._api.provenance import appending, origin
    from persist._api.save import Older, older_tree, save_tree, tree_of
    from persist._cli import _written
    from persist.errors import IrreversibleError

    known = registry_or_default(registry)
    versions, paths, protocol = _past(file, args, known)
    value = persist.load(name, registry=registry)
    metadata = _written.metadata_of(file)
    lost: list[str] = []

    def write(lossy: bool) -> None:
        if args.to == "persist":
            tree = older_tree(tree_of(value, known), Older(versions, lossy), known)
            history = appending("converted", origin(file, _local(name)), file.history)
            save_tree(tree, target, registry=known, metadata=metadata, history=history)
            return
        more = {"protocol": protocol, **options} if protocol is not None else options
        persist.save(
            value, target, registry=registry, format=args.to, versions=versions, lossy=lossy,
            class_paths=paths, **more,
        )  # fmt: skip

    try:
        write(False)
    except IrreversibleError as error:
        losses: Any = error.facts.get("losses")
        if not losses:
            raise
        if not args.lossy:
            error.remedy = (
                "Write it without these: --lossy; or give the steps a way back that keeps them "
                "(@step.downgrade)."
            )
            raise
        lost += [f"lost: {loss}" for loss in losses]
        write(True)
    if metadata is not None and args.to != "persist":
        lost.append("its metadata is left out")
    return lost


def _past(
    file: File, args: argparse.Namespace, registry: Registry
) -> tuple[dict[str, int], dict[str, str], int | None]:
    """Return the versions, class paths and pickle protocol that are asked for."""
    from persist._cli._formats import writer
    from persist._upgrade import past
    from persist.history.tags import date_of_tag

    versions = dict(args.to_version)
    if not args.as_of:
        return versions, dict(args.class_path), None
    schemas = {one.name: one for one in _schemas_in(file, registry)}
    moment = past.moment_of(args.as_of, schemas.values(), registry, date_of_tag)
    asked = [one for name, one in schemas.items() if name not in versions]
    versions = {**past.versions_at(asked, moment, registry), **versions}
    is_pickle = writer(args.to).is_pickle
    paths = past.class_paths(versions, registry, moment, dict(args.class_path)) if is_pickle else {}
    return versions, paths, past.protocol_of(moment) if is_pickle else None


def _schemas_in(file: File, registry: Registry) -> Iterator[Schema]:
    """Yield the schemas of the classes that a file names, and of their declared bases."""
    for name in sorted(file._content.globals):
        schema = registry.schema_for(file.knowledge.resolve(name))
        if schema is None:
            continue
        yield schema
        if schema.cls is not None:
            yield from (part.schema for part in registry.layout(schema.cls).parts)


def _value(file: File, args: argparse.Namespace, target: Path | str) -> tuple[Any, list[str]]:
    """Return the tree, the arrays or the model to write, and what is left out, in words."""
    from persist._cli._formats import writer

    to = writer(args.to)
    if to.is_model:
        return _model(file, args, target)
    if not to.is_flat:
        return file.tree, []
    arrays, left_out = _arrays(file, args.to)
    return arrays, [f"{left_out:,} values that are not arrays are left out"] if left_out else []


def _model(file: File, args: argparse.Namespace, target: Path | str) -> tuple[Any, list[str]]:
    """Return the living model of a network, and what is left out of it."""
    import contextlib

    import persist
    from persist._api import networks

    with contextlib.ExitStack() as stack:
        weights = None if args.weights is None else stack.enter_context(persist.open(args.weights))
        model, lost = networks.converted(file, weights, args.allow_partial)
        if args.allow_partial and lost:
            separate = f"{os.path.splitext(target)[0]}.npz"
            arrays, _ = _arrays(file if weights is None else weights, "npz")
            persist.save(arrays, separate, format="npz")
            lost.append(f"all weights are in {separate}")
        return model, lost


def _arrays(file: File, format: str) -> tuple[dict[str, Any], int]:
    """Return the arrays of a file by path, and the number of values that are none."""
    import numpy as np

    from persist._wire.torch.quantized import expanded
    from persist.tree import LazyArray

    arrays: dict[str, Any] = dict(file._arrays_at_every_path)
    arrays = expanded(arrays)
    # safetensors has element types that NumPy lacks; its writer copies their bytes unconverted.
    arrays = {
        path: array
        if format == "safetensors" and isinstance(array, LazyArray)
        else np.asarray(array)
        for path, array in arrays.items()
    }
    arrays = {path: array for path, array in arrays.items() if not array.dtype.hasobject}
    return arrays, sum(path not in arrays for path in file.scalars)
