"""Bring files up to date and write them anew, beside or under another folder.

For every file SRC that a reader knows, writes SRC.persist (or the same tree of
folders under --to) with the state as your classes have it today. The source is
never touched, and what exists is never overwritten without --force. Each file is
loaded back and compared before it counts. A second run does nothing.

With --in-place a file that persist wrote is brought up to date where it is: a new file takes
its place, and the bytes of its arrays are not written again where the file system can
share them. `persist undo` brings back what --keep kept, `persist compact` tidies up.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from persist.registry import Registry

__all__ = ["add", "run"]

_ENDINGS = {"persist": ".persist", "pickle": ".pkl", "npz": ".npz"}


class Job(NamedTuple):
    """One file to upgrade: where it is, where it goes, and whether the user named it."""

    source: Path
    target: Path
    is_named: bool


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _knowledge

    parser.add_argument(
        "sources", metavar="SRC", nargs="+", help="a file, a folder, a checkpoint prefix"
    )
    parser.add_argument("--to", metavar="DIR", help="write under this folder instead of beside")
    parser.add_argument(
        "--dry-run", action="store_true", help="tell what would be done, and do nothing"
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite files that an earlier run wrote"
    )
    parser.add_argument(
        "--in-place", action="store_true", help="of files that persist wrote: where they are"
    )
    parser.add_argument(
        "--keep", action="store_true", help="with --in-place: keep what was there, for undo"
    )
    parser.add_argument(
        "--format", choices=sorted(_ENDINGS), default="persist", help="default: persist"
    )
    _knowledge.add(parser)


def run(args: argparse.Namespace) -> int:
    """Upgrade every file; 1 if any failed."""
    from persist._cli import _knowledge
    from persist._cli._each import told, warnings_told
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
    jobs = list(_jobs(args.sources, args.to, _ENDINGS[args.format]))
    opaque: set[str] = set()
    with warnings_told():
        for job in progress(jobs, len(jobs), "upgrading"):
            try:
                done, note = _one(job, args, registry, opaque)
            except Exception as error:
                done, note = "failed", told(error, str(job.source))
                failures.append(note)
            counts[done] = counts.get(done, 0) + 1
            if done in ("upgraded", "would be upgraded"):
                show(
                    f"{job.source} -> {job.target}{note}"
                    if not args.in_place
                    else f"{job.source}{note}"
                )
            elif done == "of an older version":
                show(f"{job.source} is of an older version: --in-place brings it up to date{note}")
            elif done == "there already" and job.is_named:
                show(f"{job.target} is there already{note}")
    for text in failures:
        print(f"failed: {text}", file=sys.stderr)
    _sum_up(counts, opaque, show)
    return 1 if failures else 0


def _misfit(args: argparse.Namespace) -> str:
    """What of the arguments does not go together."""
    if args.keep and not args.in_place:
        return "--keep goes with --in-place; elsewhere the source stays as it is."
    if args.in_place and (args.to or args.format != "persist"):
        return "--in-place writes where the file is, as what it is: without --to and --format."
    return ""


def _sum_up(counts: dict[str, int], opaque: set[str], show: Callable[[str], None]) -> None:
    from persist._trees.show import printable

    order = (
        *("upgraded", "would be upgraded", "there already", "of today", "of an older version"),
        *("no experiment file", "failed"),
    )
    parts = [f"{counts[name]:,} {name}" for name in order if counts.get(name)]
    show(", ".join(parts) or "nothing to do")
    if opaque:
        names = ", ".join(printable(name) for name in sorted(opaque)[:8])
        more = f", and {len(opaque) - 8:,} more" if len(opaque) > 8 else ""
        show(
            f"kept whole as records, since nothing is known of their classes: {names}{more}\n"
            "  (--import the module that declares them, and they are upgraded too)"
        )


# What is to be done.


def _jobs(sources: list[str], to: str | None, ending: str) -> Iterator[Job]:
    """Yield what there is to upgrade, each file once, in order."""
    from persist._cli._folders import found

    seen: set[Path] = set()
    for name in sources:
        source = Path(name)
        for path, inside in found(source):
            real = Path(os.path.realpath(path))
            if real in seen:
                continue
            seen.add(real)
            target = path if to is None else Path(to) / inside
            yield Job(path, target.with_name(target.name + ending), path == source)


# Doing it.


def _one(
    job: Job, args: argparse.Namespace, registry: Registry, opaque: set[str]
) -> tuple[str, str]:
    """Upgrade one file; return what was done and a note."""
    import persist
    from persist._api import files
    from persist._upgrade import records
    from persist.errors import UnknownFormatError

    if args.in_place:
        return _in_place(job, args, registry, opaque)
    if job.target.exists() and not args.force:
        is_older = _time(job.target) < _time(job.source)
        return "there already", ", but older than its source (--force)" if is_older else ""
    try:
        file = persist.open(job.source, registry=registry)
    except UnknownFormatError:
        if job.is_named:
            raise
        return "no experiment file", ""
    with file:
        is_ours = file.format == "persist" and not job.is_named
        if is_ours and records.is_today(file.tree, file.knowledge):
            return "there already", ""
        written = files.written_layouts(file)
        tree, plan = records.upgrade(file.tree, file.knowledge, file=file.name, written=written)
        opaque |= {name for name in plan.opaque if file.knowledge.plain_for(name) is None}
        note = _note(plan, file.damage)
        if is_ours:
            is_older = any(entry.steps or entry.aliases for entry in plan)
            return ("of an older version", note) if is_older else ("there already", "")
        if args.dry_run:
            return "would be upgraded", note
        job.target.parent.mkdir(parents=True, exist_ok=True)
        _write(tree, file, job.target, args.format, registry)
        return "upgraded", note


def _in_place(
    job: Job, args: argparse.Namespace, registry: Registry, opaque: set[str]
) -> tuple[str, str]:
    """Bring one container up to date where it is."""
    import persist
    from persist._api import files
    from persist._trees.compare import difference
    from persist._upgrade import records
    from persist.errors import DamagedFileError, UnknownFormatError

    try:
        with persist.open(job.source, registry=registry) as file:
            format, knowledge = file.format, file.knowledge
            written = files.written_layouts(file)
            plan = records.plan(file.tree, knowledge, file=file.name, written=written)
    except UnknownFormatError:
        if job.is_named:
            raise
        return "no experiment file", ""
    if format != "persist" and not job.is_named:
        return "no experiment file", ""
    opaque |= {name for name in plan.opaque if knowledge.plain_for(name) is None}
    if args.dry_run:
        is_older = any(entry.steps or entry.aliases for entry in plan)
        return ("would be upgraded", _note(plan, [])) if is_older else ("of today", "")

    def check(tree: object, again: object) -> None:
        fault = difference(tree, again, arrays=False)
        if fault:
            raise DamagedFileError(
                f"what was written does not load back as it was: {fault}.",
                file=str(job.source),
                remedy="The file is as it was before. Please report this with it.",
            )

    plan, done = files.renew(job.source, keep=args.keep, check=check, registry=registry)
    if done is None:
        return "of today", ""
    how = {
        "reflink": "shared with the old file",
        "copy_file_range": "copied by the system",
        "copy": "copied: this file system can neither share nor copy them by itself",
    }
    return "upgraded", f"{_note(plan, [])}  [{done.kept:,} bytes of arrays {how[done.how]}]"


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # a checkpoint prefix is no file
        return 0


def _note(plan: Any, damage: list[str]) -> str:
    moved: dict[str, int] = {}
    for entry in plan.entries:
        for course in entry.courses:
            if course.steps:
                key = f"{course.schema} {course.found} to {course.to}"
                moved[key] = moved.get(key, 0) + 1
    parts = [f"{key}{f', {count:,} times' if count > 1 else ''}" for key, count in moved.items()]
    parts += [f"damage: {text}" for text in damage]
    return f"  ({'; '.join(parts)})" if parts else ""


def _write(tree: Any, file: Any, target: Path, format: str, registry: Registry) -> None:
    """Write the tree beside its target, load it back, compare, and only then give it its name."""
    import persist
    from persist._trees.compare import difference
    from persist._upgrade import records
    from persist.errors import DamagedFileError

    beside = target.with_name(f".{target.name}.{os.getpid()}.part{_ENDINGS[format]}")
    try:
        metadata = {"upgraded_from": {"format": file.format, "writer": file.writer}}
        kept = metadata if format == "persist" else None
        persist.save(tree, beside, format=format, metadata=kept, registry=registry)
        if format != "npz":
            with persist.open(beside, registry=registry, verify="always") as written:
                again = written.tree
                if format == "pickle":  # it tells versions in envelopes, not beside the state
                    again, _ = records.upgrade(again, file.knowledge)
                fault = difference(tree, again)
            if fault:
                raise DamagedFileError(
                    f"what was written does not load back as it was: {fault}.",
                    file=str(target),
                    remedy="Nothing was kept of it. Please report this with the file.",
                )
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
