"""Upgrade files to the current versions of your classes, into new files.

For every file SRC in a known format, writes SRC.persist (or the same tree of folders under --to)
with the state in the current layout of your classes. The source is never changed. Each new file is
loaded back and compared before it gets its name. A second run repeats only what is stale, because
the source, your classes, your steps or the options have changed, and states the reason; files that
no upgrade wrote are overwritten with --force only.

Under --to, a file that persist wrote keeps its name: it is upgraded, or copied unchanged.

With --in-place a file that persist wrote is replaced by its upgraded version. The bytes of its
arrays are not written again where the file system can share them. `persist undo` restores the file
that --keep kept, `persist compact` removes unused bytes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from persist._api.file import File
    from persist.registry import Registry

__all__ = ["add", "run"]


class Job(NamedTuple):
    """One file to upgrade: where it is, where it goes, and whether the user named it."""

    source: Path
    target: Path
    is_named: bool


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _knowledge, _reading
    from persist._cli._formats import file_format_name

    parser.add_argument(
        "sources", metavar="SRC", nargs="+", help="a file, a folder, a checkpoint prefix"
    )
    parser.add_argument(
        "--to", metavar="DIR", help="write under this folder instead of next to the source"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="report what would be done without writing anything"
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite files that an earlier run wrote"
    )
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="replace files that persist wrote by their upgraded version",
    )
    parser.add_argument(
        "--keep", action="store_true", help="with --in-place: keep the old file for `persist undo`"
    )
    parser.add_argument(
        "--format",
        metavar="FORMAT",
        type=file_format_name,
        default="persist",
        help="any format that `save(format=...)` takes (default: persist); an unknown name lists them",
    )
    parser.add_argument(
        "--capsule",
        action="store_true",
        help="store the layouts of the classes, old and new, and the ready-made steps in each new file, "
        "for programs that know less of the classes",
    )
    parser.add_argument(
        "--unknown",
        choices=("warn", "drop", "keep", "error"),
        default="warn",
        help="treatment of undeclared fields (default: left out, with a warning)",
    )
    parser.add_argument(
        "--as",
        dest="cls",
        metavar="CLASS",
        help="treat a file without classes as a state of this schema or class",
    )
    parser.add_argument(
        "--at", metavar="PATH", default="", help="with --as: the path of that state in the file"
    )
    _reading.add(parser, loads=True)
    _knowledge.add(parser)


def run(args: argparse.Namespace) -> int:
    """Upgrade every file; 1 if any failed, or is out of date and was not written by an upgrade."""
    from persist._cli import _knowledge
    from persist._cli._each import error_line, warnings_reported
    from persist._cli._formats import ending
    from persist._cli._out import progress, show
    from persist.errors import PersistError

    fault = _misfit(args)
    if fault:
        print(f"persist upgrade: {fault}", file=sys.stderr)
        return 2
    try:
        registry = _knowledge.registry_of(args)
    except PersistError as error:
        print(f"persist: {error}", file=sys.stderr)
        return 2
    counts: dict[str, int] = {}
    failures: list[str] = []
    jobs = list(_jobs(args, ending(args.format)))
    opaque: Counter[str] = Counter()
    with warnings_reported():
        for job in progress(jobs, len(jobs), "upgrading"):
            try:
                done, note = _one(job, args, registry, opaque)
            except Exception as error:
                done, note = "failed", error_line(error, str(job.source))
                failures.append(note)
            counts[done] = counts.get(done, 0) + 1
            if done in ("upgraded", "would be upgraded", "copied", "would be copied"):
                show(
                    f"{job.source} -> {job.target}{note}"
                    if not args.in_place
                    else f"{job.source}{note}"
                )
            elif done == "of an older version":
                show(f"{job.source} is of an older version; --in-place upgrades it{note}")
            elif done == "out of date" or (done == "there already" and job.is_named):
                show(f"{job.target} exists already{note}")
    for text in failures:
        print(f"failed: {text}", file=sys.stderr)
    _sum_up(counts, opaque, show)
    return 1 if failures or counts.get("out of date") else 0


def _misfit(args: argparse.Namespace) -> str:
    """Return which arguments exclude each other, or ""."""
    if args.keep and not args.in_place:
        return "--keep needs --in-place; without it the source is not changed anyway."
    if args.in_place and (args.to or args.format != "persist"):
        return "--in-place replaces the file in its own format: leave out --to and --format."
    if args.capsule and (args.in_place or args.format != "persist"):
        return "--capsule is for new containers: leave out --in-place and --format."
    if args.in_place and (args.salvage or args.py2_str):
        return "--salvage and --py2-str apply to files that persist did not write: leave out --in-place."
    for name in (*args.sources, *([args.to] if args.to else ())):
        if "://" in name and not name.startswith("file://"):
            return f"{name} is a URL, but only local files can be upgraded: download it first."
    if args.at and not args.cls:
        return "--at needs --as: it is the path of the state of that class."
    if args.in_place and args.cls:
        return "--as excludes --in-place: the result is a different file."
    return ""


def _sum_up(counts: dict[str, int], opaque: Counter[str], show: Callable[[str], None]) -> None:
    from persist._trees.show import printable

    order = (
        *("upgraded", "would be upgraded", "copied", "would be copied", "there already"),
        *("up to date", "of an older version", "out of date", "not an experiment file", "failed"),
    )
    parts = [f"{counts[name]:,} {name}" for name in order if counts.get(name)]
    show(", ".join(parts) or "nothing to do")
    if opaque:
        names = ", ".join(
            f"{printable(name)}{f' (in {count:,} files)' if count > 1 else ''}"
            for name, count in sorted(opaque.items())[:8]
        )
        more = f", and {len(opaque) - 8:,} more" if len(opaque) > 8 else ""
        show(
            f"kept unchanged as records, since their classes are not declared: {names}{more}\n"
            "  (use --import with the module that declares them to upgrade them too)"
        )


# Which files to upgrade.


def _jobs(args: argparse.Namespace, ending: str) -> Iterator[Job]:
    """Yield the files to upgrade, each once, in order."""
    from persist._cli._folders import files_in, local

    out = None if args.to is None else Path(local(args.to))
    seen: set[Path] = set()
    for name in args.sources:
        source = Path(local(name))
        for path, inside in files_in(source, () if out is None else (out,)):
            real = Path(os.path.realpath(path))
            if real in seen:
                continue
            seen.add(real)
            target = path if out is None else out / inside
            if out is None or not _keeps_its_name(path, ending):
                target = target.with_name(target.name + ending)
            yield Job(path, target, path == source)


def _keeps_its_name(path: Path, ending: str) -> bool:
    """Whether a file under --to keeps its name: it has the suffix, and no other source maps to the name."""
    return path.name.endswith(ending) and not path.with_name(path.name[: -len(ending)]).exists()


# Upgrading one file.


def _one(
    job: Job, args: argparse.Namespace, registry: Registry, opaque: Counter[str]
) -> tuple[str, str]:
    """Upgrade one file; return what was done and a note."""
    import persist
    from persist._cli import _reading
    from persist._cli._staleness import look
    from persist.errors import UnknownFormatError

    if args.in_place:
        return _in_place(job, args, registry, opaque)
    again = ""
    if job.target.exists() and not args.force:
        stale, is_ours = look(job.source, job.target, registry, _reading.loading(args))
        if not stale:
            return "there already", ""
        if not is_ours:
            return "out of date", f", but {stale} (--force)"
        again = f"  (again: {stale})"
    try:
        file = persist.open(job.source, registry=registry, **_reading.opening(args))
    except UnknownFormatError:
        if job.is_named:
            raise
        return "not an experiment file", ""
    with file:
        return _upgraded(file, job, args, registry, opaque, again)


def _upgraded(
    file: File,
    job: Job,
    args: argparse.Namespace,
    registry: Registry,
    opaque: Counter[str],
    again: str,
) -> tuple[str, str]:
    """Upgrade the tree of an open file, and write or copy it; return what was done and a note."""
    from persist._api.file import has_steps, settle_text_of, written_layouts
    from persist._cli import _reading
    from persist._cli._formats import writer
    from persist._cli._written import upgraded_from
    from persist._objects.inert import Inert
    from persist._upgrade import records
    from persist._upgrade.step_digests import steps_of

    tree = file.tree if not args.cls else _as_class(file, args.cls, args.at)
    is_pickle = writer(args.format).is_pickle
    tree, plan = records.upgrade(
        tree,
        file.knowledge,
        file=file.name,
        unknown=args.unknown,
        strict=args.strict,
        live=Inert(file.knowledge, is_pickle=is_pickle),
        names="class" if is_pickle else "schema",
        read=has_steps(file),
        written=written_layouts(file),
    )
    settle_text_of(file, tree)
    strangers = _strangers(plan, file.knowledge, args)
    _refuse_strangers(strangers, args, file.name)
    opaque.update(strangers)
    note = _note(plan, file.damage) + again
    is_older = any(entry.steps or entry.aliases for entry in plan)
    is_ours = file.format == "persist" and not job.is_named and not args.cls
    if is_ours and args.to is None:
        return ("of an older version", note) if is_older else ("there already", "")
    is_copy = file.format == args.format == "persist" and not is_older and not file.damage
    is_copy = is_copy and job.target.name == job.source.name and not args.cls
    if args.dry_run:
        if not is_copy:
            _try(tree, file, args.format)
        return "would be copied" if is_copy else "would be upgraded", note
    job.target.parent.mkdir(parents=True, exist_ok=True)
    if is_copy:
        _copy(job.source, job.target)
        return "copied", note
    origin = upgraded_from(
        file, job.source, steps_of(plan, file.knowledge), strangers, _reading.loading(args), plan
    )
    _write(tree, file, job.target, args.format, registry, origin, args.capsule)
    return "upgraded", note


def _strangers(plan: Any, knowledge: Registry, args: argparse.Namespace) -> list[str]:
    """Return the undeclared classes that no ``--trust`` names."""
    from persist._cli import _reading

    unknown = [name for name in plan.opaque if knowledge.plain_for(name) is None]
    return _reading.untrusted(unknown, args)


def _refuse_strangers(strangers: list[str], args: argparse.Namespace, file: str) -> None:
    from persist.errors import SchemaError

    if strangers and args.strict:
        raise SchemaError(
            f"not declared: {', '.join(strangers)}.",
            file=file,
            remedy="Declare them in a module that --import names, or pass --trust NAME.",
        )


def _copy(source: Path, target: Path) -> None:
    """Copy a file atomically."""
    import shutil

    from persist._container.writing.atomic import replacing

    with source.open("rb") as old, replacing(target, durable=True) as new:
        shutil.copyfileobj(old, new, 1 << 20)


def _as_class(file: File, name: str, at: str) -> object:
    """Return the tree of a file in which the value at a path is the state of a class."""
    from persist._api.unversioned import placed
    from persist.errors import UnknownSchemaError

    cls = file.knowledge.class_for(name)
    schema = file.knowledge.schema_for(name)
    cls = cls if cls is not None or schema is None else file.knowledge.class_for(schema.qualname)
    if cls is None:
        raise UnknownSchemaError(
            f"--as names {name!r}, which is not a declared class or schema.",
            remedy="Name the module that declares it with --import.",
            names=[name],
        )
    return placed(file.tree, file.looker, at, cls, file.knowledge, file.name)


def _in_place(
    job: Job, args: argparse.Namespace, registry: Registry, opaque: Counter[str]
) -> tuple[str, str]:
    """Upgrade one container in place."""
    import persist
    from persist._api.file import written_layouts
    from persist._api.load import check_tree
    from persist._api.renew import renew
    from persist._objects.inert import Inert
    from persist._trees.compare import difference
    from persist._upgrade import records
    from persist.errors import DamagedFileError, UnknownFormatError

    try:
        with persist.open(job.source, registry=registry) as file:
            format, knowledge = file.format, file.knowledge
            written = written_layouts(file)
            plan = records.plan(file.tree, knowledge, file=file.name, written=written)
    except UnknownFormatError:
        if job.is_named:
            raise
        return "not an experiment file", ""
    if format != "persist" and not job.is_named:
        return "not an experiment file", ""
    strangers = _strangers(plan, knowledge, args)
    _refuse_strangers(strangers, args, str(job.source))
    opaque.update(strangers)
    if args.dry_run:
        is_older = any(entry.steps or entry.aliases for entry in plan)
        if is_older:
            with persist.open(job.source, registry=registry) as file:
                made, _ = records.upgrade(
                    file.tree, knowledge, file=file.name, live=Inert(knowledge), names="schema"
                )
                _try(made, file, "persist")
        return ("would be upgraded", _note(plan, [])) if is_older else ("up to date", "")

    def check(tree: object, again: object) -> None:
        fault = difference(tree, again, arrays=False)
        if fault:
            raise DamagedFileError(
                f"the new file does not load back as it was written: {fault}.",
                file=str(job.source),
                remedy="The old file is unchanged. Please report this together with it.",
            )
        check_tree(again, knowledge, str(job.source))

    plan, done = renew(
        job.source, keep=args.keep, check=check, registry=registry,
        unknown=args.unknown, strict=args.strict,
    )  # fmt: skip
    if done is None:
        return "up to date", ""
    how = {
        "reflink": "shared with the old file",
        "copy_file_range": "copied by the system",
        "copy": "copied: this file system can neither share nor copy them itself",
    }
    return "upgraded", f"{_note(plan, [])}  [{done.kept:,} bytes of arrays {how[done.how]}]"


def _note(plan: Any, damage: list[str]) -> str:
    moved: dict[str, int] = {}
    for entry in plan.entries:
        for path in entry.version_paths:
            if path.steps:
                key = f"{path.schema} {path.found} to {path.to}"
                moved[key] = moved.get(key, 0) + 1
    parts = [f"{key}{f', {count:,} times' if count > 1 else ''}" for key, count in moved.items()]
    parts += [f"damage: {text}" for text in damage]
    return f"  ({'; '.join(parts)})" if parts else ""


def _try(tree: Any, file: Any, format: str) -> None:
    """Write and load in memory, to find out whether it fails; the tree cannot be used afterwards.

    Raises:
        PersistError: what `_write` would raise.
    """
    import io

    import persist
    from persist._api.file import names_declared
    from persist._api.load import check_tree
    from persist._cli._formats import writer
    from persist._container.writing.graph import encode

    if format == "persist":
        encode(tree, file.name)
    else:
        persist.save(tree, io.BytesIO(), format=format)
    if not writer(format).is_flat and names_declared(file):
        check_tree(tree, file.knowledge, file.name)


def _write(
    tree: Any,
    file: Any,
    target: Path,
    format: str,
    registry: Registry,
    origin: dict[str, Any],
    capsule: bool,
) -> None:
    """Write the tree to a temporary file, load it back, compare, and only then rename it to the target."""
    import persist
    from persist._api.load import check_loads
    from persist._cli import _written
    from persist._cli._formats import ending, writer
    from persist._trees.compare import difference
    from persist._upgrade import records
    from persist.errors import DamagedFileError, PersistError

    temporary = _written.temporary(target, ending(format))
    with _written.removing(temporary, target):
        _written.save(
            tree,
            temporary,
            file,
            format=format,
            registry=registry,
            upgraded=origin,
            capsule=capsule,
        )
        if not writer(format).is_flat:
            with persist.open(temporary, registry=registry, verify="always") as written:
                again = written.tree
                if writer(format).is_pickle:  # its versions are in envelopes, inside the states
                    again, _ = records.upgrade(again, file.knowledge, names="class")
                fault = difference(tree, again)
            if fault:
                raise DamagedFileError(
                    f"the new file does not load back as it was written: {fault}.",
                    file=str(target),
                    remedy="It was removed. Please report this together with the source.",
                )
            try:
                check_loads(temporary, registry=registry)
            except PersistError as error:
                error.file = str(target)  # users know the target, not the temporary file
                raise
        os.replace(temporary, target)
