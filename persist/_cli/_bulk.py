"""What the verbs over many files share: options for workers, ledger, filters; progress; warnings summed up."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from persist.errors import MissingExtraError, PersistError

if TYPE_CHECKING:
    from persist.bulk import Event, Plan

__all__ = ["Foreign", "add", "follow", "planned"]

_LINES = 10.0  # seconds between lines of progress where there is no terminal


def add(parser: argparse.ArgumentParser, *, has_format: bool = False) -> None:
    """Declare the options that are the same for all verbs over many files.

    Args:
        parser: of the verb.
        has_format: whether ``--format`` is the format that is written.
    """
    work = parser.add_argument_group("many files")
    work.add_argument(
        "--jobs", metavar="N", type=_count, default=1, help="processes on this machine (default: 1)"
    )
    work.add_argument("--dask", metavar="ADDRESS", help="work on a Dask cluster: tcp://HOST:PORT")
    work.add_argument(
        "--executor",
        metavar="MODULE:NAME",
        help="work on any executor of concurrent.futures, such as loky:get_reusable_executor",
    )
    work.add_argument(
        "--ledger",
        metavar="FILE",
        help="record what becomes of each file: an interrupted run goes on, a later one does what has "
        "changed, `persist report` and `persist undo --run` read it",
    )
    work.add_argument(
        "--quick",
        action="store_true",
        help="with --ledger: files of the same size and time count as unchanged",
    )
    work.add_argument(
        "--inventory",
        metavar="FILE",
        action="append",
        default=[],
        help="a file that lists sources: lines, CSV, Parquet, an S3 inventory; may be repeated",
    )
    work.add_argument(
        "--column", metavar="NAME", default="", help="the inventory's column of paths"
    )
    work.add_argument(
        "--events", action="store_true", help="JSON Lines instead of text: one object a file"
    )
    _add_filters(parser, has_format)


def _add_filters(parser: argparse.ArgumentParser, has_format: bool) -> None:
    wanted = parser.add_argument_group("which files")
    for name, metavar, text in (
        ("include", "PATTERN", "only files whose name, or path in its folder, matches"),
        ("exclude", "PATTERN", "not files whose name, or path in its folder, matches"),
        ("class", "PATTERN", "only files that name such a class"),
        ("version", "[SCHEMA=]N", "only files with a record in that version"),
        ("from-format", "FORMAT", "only files in such a format"),
    ):
        flags = [f"--{name}"]
        if name == "from-format" and not has_format:
            flags.append("--format")
        wanted.add_argument(
            *flags, dest=f"only_{name.replace('-', '_')}", metavar=metavar, action="append",
            default=[], help=f"{text}; may be repeated",
        )  # fmt: skip
    wanted.add_argument(
        "--newer",
        metavar="DATE",
        default="",
        help="only files modified after a date, or after a file",
    )
    wanted.add_argument(
        "--max-size",
        metavar="SIZE",
        default="",
        help="only files of at most this size, such as 64MB",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes")
    return int(text)


def planned(args: argparse.Namespace, sources: list[str], job: str, **options: Any) -> Plan:
    """Return the plan of a verb.

    Raises:
        PersistError: an option cannot be understood, or two files would get one name.
    """
    from persist import bulk

    every: list[Any] = list(sources)
    every += [bulk.Inventory(path, args.column) for path in args.inventory]
    return bulk.plan(
        every,
        job,
        ledger=args.ledger,
        imports=getattr(args, "imports", ()),
        migrations=getattr(args, "migrations", ()),
        quick=args.quick,
        include=args.only_include,
        exclude=args.only_exclude,
        newer=args.newer,
        max_size=args.max_size,
        classes=args.only_class,
        versions=args.only_version,
        formats=args.only_from_format,
        **options,
    )


@contextlib.contextmanager
def _executor(args: argparse.Namespace) -> Iterator[Any]:
    """The executor that the command line asks for."""
    if args.dask:
        import importlib

        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError as error:
            raise MissingExtraError(
                "--dask needs distributed.", remedy="Install it: pip install persist-state[dask]."
            ) from error
        with distributed.Client(args.dask, set_as_default=False) as client:
            yield client.get_executor(pure=False)
    elif args.executor:
        from persist.bulk._engine import executor_of

        yield executor_of(args.executor)
    else:
        yield None if args.jobs == 1 else args.jobs


def follow(plan: Plan, args: argparse.Namespace, what: str, each: Callable[[Event], None]) -> bool:
    """Run a plan: call ``each`` with every event, show progress, print warnings at the end, once a kind.

    Args:
        plan: the plan; it stays open.
        args: of the command line.
        what: what is being done, for the bar.
        each: prints an event; not called with ``--events``, which prints JSON.

    Returns:
        Whether the run came to its end.
    """
    from persist import bulk
    from persist._cli._out import plain
    from persist.bulk._words import WarningCounter

    warned = WarningCounter()
    try:
        with _executor(args) as executor, _progress(plan, what) as note:
            for event in bulk.run(plan, executor):
                warned.extend(event.warnings)
                note(event)
                if args.events:
                    import json

                    print(json.dumps(event.as_json(), default=str), flush=True)
                else:
                    each(event)
    except PersistError as error:
        print(f"persist: {error}", file=sys.stderr)
        return False
    finally:
        for _, text in warned.summed():
            print(f"warning: {plain(text)}", file=sys.stderr)
    if args.ledger:
        print(f"persist: run {plan.run_id} in {args.ledger}", file=sys.stderr)
    return True


@contextlib.contextmanager
def _progress(plan: Plan, what: str) -> Iterator[Callable[[Event], None]]:
    """A bar on a terminal that rich knows; else a line now and then of a run that takes long."""
    from persist._cli._out import _console

    console = _console(sys.stderr)
    if console is None or plan.pending < 2:
        yield _Lines(plan, what)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TextColumn("[red]{task.fields[failed]}"),
        TimeRemainingColumn(), console=console, transient=True,
    )  # fmt: skip
    began, failed = time.monotonic(), 0
    with bar:
        task = bar.add_task(
            what, total=plan.files, completed=plan.files - plan.pending, rate="", failed=""
        )
        start = plan.files - plan.pending

        def note(event: Event) -> None:
            nonlocal failed
            failed += event.verdict in ("failed", "damaged")
            rate = (event.done - start) / max(time.monotonic() - began, 0.001)
            bar.update(
                task, completed=event.done, rate=f"{rate:,.0f}/s",
                failed=f"{failed:,} failed" if failed else "",
            )  # fmt: skip

        yield note


class _Lines:
    """Prints a line of progress every ten seconds."""

    def __init__(self, plan: Plan, what: str) -> None:
        self._what = what
        self._start = plan.files - plan.pending
        self._began = self._last = time.monotonic()
        self._failed = 0

    def __call__(self, event: Event) -> None:
        self._failed += event.verdict in ("failed", "damaged")
        now = time.monotonic()
        if now - self._last < _LINES:
            return
        self._last = now
        rate = (event.done - self._start) / (now - self._began)
        left = (event.total - event.done) / rate if rate else 0
        print(
            f"persist: {self._what}: {event.done:,} of {event.total:,}, {rate:,.0f}/s, "
            f"{self._failed:,} failed, {_duration(left)} left",
            file=sys.stderr,
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


class Foreign:
    """Counts files in folders that are no experiment files, and prints their number."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._count = 0

    def add(self, name: str) -> None:
        """Count a file."""
        self._count += 1
        if len(self._names) < 4:
            self._names.append(name)

    def show(self) -> None:
        """Print how many there were, and some of them."""
        from persist._cli._out import plain

        if not self._count:
            return
        count = self._count
        what = "is not an experiment file" if count == 1 else "are not experiment files"
        more = f" and {count - 4:,} more" if count > 4 else ""
        text = f"persist: {count:,} {what}: {', '.join(self._names)}{more}"
        print(plain(text), file=sys.stderr)
