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
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persist.bulk import Event

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _bulk, _knowledge

    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="a file, pattern, folder, prefix or URL"
    )
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
    parser.add_argument(
        "--names",
        metavar="TEMPLATE",
        default="",
        help="names of new files, of {folder}, {name}, {stem}, {suffix} and {ending}; --out is a folder",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="open each file, and report what would be written"
    )
    _add_past(parser)
    _knowledge.add(parser)
    _bulk.add(parser)


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
    from persist._cli import _bulk
    from persist._cli._exports import EXPORTS
    from persist._cli._out import show
    from persist.errors import PersistError

    if args.out and len(args.files) > 1:
        print("persist: --out names one file, but several files are given", file=sys.stderr)
        return 2
    if not args.files and not args.inventory:
        print("persist convert: name files, folders, or an inventory", file=sys.stderr)
        return 2
    try:
        plan = _bulk.planned(
            args, args.files, "convert", to=args.out, names=args.names, format=args.to,
            force=args.force, dry_run=args.dry_run, weights=args.weights,
            allow_partial=args.allow_partial, protocol=args.protocol, to_version=args.to_version,
            lossy=args.lossy, as_of=args.as_of, class_path=args.class_path,
            exporter="persist._cli._exports:export" if args.to in EXPORTS else None,
        )  # fmt: skip
    except PersistError as error:
        print(f"persist: {error}", file=sys.stderr)
        return 2
    foreign = _bulk.Foreign()

    def each(event: Event) -> None:
        if event.status == "not an experiment file":
            foreign.add(event.file)
        elif event.error:
            print(f"persist: {event.error}", file=sys.stderr)
        elif event.status in ("converted", "would be converted"):
            show(f"{event.file} -> {event.target}{event.note}")

    with plan:
        is_done = _bulk.follow(plan, args, "converting", each)
        failed = plan.count("damaged") or plan.count("failed")
    foreign.show()
    return 2 if not is_done else int(bool(failed))
