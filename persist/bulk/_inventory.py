"""Files that list files: lines, Parquet, CSV, and the inventories of S3.

Source: Amazon S3 user guide, "Amazon S3 Inventory": a ``manifest.json`` with ``sourceBucket``,
``fileFormat``, ``fileSchema`` (the names of the columns, comma separated) and ``files`` (``key``); the
data are CSV without a header, compressed with gzip, in which the key is encoded as in a URL, or Parquet.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import os
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple
from urllib.parse import unquote_plus

import attrs

from persist._wire.base.urls import filesystem, is_url
from persist.errors import FormatError, MissingExtraError

__all__ = ["Inventory", "Listed", "listed"]

_NAMES = ("path", "url", "uri", "file", "filename", "name", "key")
_S3 = (
    *("bucket", "key", "versionid", "islatest", "isdeletemarker"),
    *("size", "lastmodifieddate", "etag"),
)
_ROWS = 10_000  # of Parquet that are read at once


@attrs.frozen
class Inventory:
    """A file that lists the sources of a run, so that nothing has to be walked or listed.

    Its content decides how it is read: Parquet (with pyarrow), the ``manifest.json`` or the CSV of an
    S3 inventory, CSV with a header, or one path or URL a line (empty lines, and lines that begin with
    ``#``, are skipped). Any of them but Parquet may be compressed with gzip.

    Attributes:
        path: the path or URL of the file.
        column: the column of the path, where the file has columns; "" finds it by its name.
    """

    path: str = attrs.field(converter=os.fspath)
    column: str = ""


class Listed(NamedTuple):
    """One line of an inventory.

    Attributes:
        name: the path or URL.
        size: in bytes; -1 if it is not stated.
        mtime: nanoseconds since 1970; -1 if it is not stated.
    """

    name: str
    size: int = -1
    mtime: int = -1


def listed(inventory: Inventory) -> Iterator[Listed]:
    """Yield the files that an inventory lists.

    Raises:
        FormatError: it has no column of paths, or a row is malformed.
        MissingExtraError: it is Parquet, and pyarrow is not installed.
        OSError: it cannot be read.
    """
    with _opened(inventory.path) as file:
        head = file.read(4)
        file.seek(0)
        if head == b"PAR1":
            yield from _of_parquet(file, inventory)
            return
        with _text(file, head) as lines:
            yield from _of_text(lines, inventory)


def _opened(path: str) -> IO[bytes]:
    if is_url(path):
        files, inside = filesystem(path)
        opened: IO[bytes] = files.open(inside, "rb")
        return opened
    return open(path, "rb")


def _text(file: IO[bytes], head: bytes) -> IO[str]:
    raw: Any = gzip.GzipFile(fileobj=file) if head.startswith(b"\x1f\x8b") else file
    return io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")


def _of_text(lines: IO[str], inventory: Inventory) -> Iterator[Listed]:
    first = lines.readline()
    if first.lstrip().startswith("{"):
        said = json.loads(first + lines.read())
        if not isinstance(said, dict) or "files" not in said:
            raise FormatError(
                "it is JSON, but not the manifest of an S3 inventory.",
                file=inventory.path,
                remedy="Give a file with one path a line, CSV, Parquet, or a manifest.json of S3.",
            )
        yield from _of_manifest(said, inventory)
        return
    row = next(csv.reader([first]), [])
    header = [cell.strip().lower() for cell in row]
    wanted = inventory.column.lower()
    if (
        wanted
        or (len(header) > 1 and any(name in header for name in _NAMES))
        or (len(row) == 1 and header[0] in _NAMES and not os.path.exists(row[0]))
    ):
        yield from _of_rows(csv.reader(lines), header, inventory)
    elif first.startswith('"') and len(row) > 1:
        yield from _of_rows(_chained(row, csv.reader(lines)), list(_S3[: len(row)]), inventory)
    else:
        for line in _chained(first, lines):
            text = line.rstrip("\r\n")
            if text.strip() and not text.startswith("#"):
                yield Listed(text)


def _chained(first: object, rest: Iterable[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _of_rows(
    rows: Iterable[list[str]], header: list[str], inventory: Inventory
) -> Iterator[Listed]:
    """Yield the files of rows of text; for a bucket and a key, the key is decoded, and becomes a URL."""
    names = [name.replace("_", "").replace(" ", "").replace("-", "") for name in header]
    at = _column(header, inventory)
    bucket = names.index("bucket") if "bucket" in names and names[at] == "key" else None
    sizes = names.index("size") if "size" in names else None
    dates = next(
        (names.index(n) for n in ("lastmodifieddate", "lastmodified", "mtime") if n in names), None
    )
    marks = names.index("isdeletemarker") if "isdeletemarker" in names else None
    latest = names.index("islatest") if "islatest" in names else None
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) <= at:
            raise FormatError(
                f"row {number:,} has {len(row)} columns, and the path is in column {at + 1}.",
                file=inventory.path,
            )
        if marks is not None and row[marks].lower() == "true":
            continue
        if latest is not None and row[latest].lower() == "false":
            continue
        name = row[at]
        if bucket is not None:
            name = f"s3://{row[bucket]}/{unquote_plus(name)}"
        size = row[sizes] if sizes is not None and len(row) > sizes else ""
        date = row[dates] if dates is not None and len(row) > dates else ""
        yield Listed(name, int(size) if size.isdecimal() else -1, _time(date))


def _column(header: list[str], inventory: Inventory) -> int:
    wanted = [inventory.column.lower()] if inventory.column else _NAMES
    for name in wanted:
        if name in header:
            return header.index(name)
    raise FormatError(
        f"no column of it is named {' or '.join(wanted)}: there are {', '.join(header) or 'none'}.",
        file=inventory.path,
        remedy="Name the column of the paths: column=, or --column of the command.",
    )


def _time(text: str) -> int:
    """Nanoseconds since 1970 of a date in ISO 8601, or of a number of seconds; -1 of anything else."""
    if not text:
        return -1
    if text.isdecimal():
        return int(text) * 1_000_000_000
    try:
        return int(float(text) * 1e9)
    except ValueError:
        pass
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return -1
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return round(moment.timestamp() * 1_000_000) * 1_000


def _of_manifest(said: dict[str, Any], inventory: Inventory) -> Iterator[Listed]:
    """The data files of a manifest: next to it, or at their keys in the bucket of the inventory."""
    schema = [name.strip().lower() for name in str(said.get("fileSchema", "")).split(",")]
    folder, _, _ = inventory.path.replace(os.sep, "/").rpartition("/")
    for one in said["files"]:
        path = _data_file(folder, str(one["key"]), said)
        if str(said.get("fileFormat", "CSV")).upper() == "PARQUET":
            yield from listed(Inventory(path, inventory.column))
            continue
        with _opened(path) as file:
            head = file.read(4)
            file.seek(0)
            with _text(file, head) as lines:
                yield from _of_rows(csv.reader(lines), schema, Inventory(path, inventory.column))


def _data_file(folder: str, key: str, said: dict[str, object]) -> str:
    base = key.rpartition("/")[2]
    for candidate in (f"{folder}/{base}", f"{folder}/data/{base}", f"{folder}/../data/{base}"):
        if folder and not is_url(folder) and os.path.exists(candidate):
            return candidate
    if is_url(folder):
        bucket = str(said.get("destinationBucket", "")).rpartition(":")[2]
        return f"s3://{bucket}/{key}" if bucket else f"{folder}/{base}"
    return f"{folder}/{base}" if folder else base


def _of_parquet(file: IO[bytes], inventory: Inventory) -> Iterator[Listed]:
    import importlib

    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError(
            "reading Parquet needs pyarrow.",
            file=inventory.path,
            remedy="Install it (pip install pyarrow), or write the paths into a file, one a line.",
        ) from error
    table = parquet.ParquetFile(file)
    header = [str(name).lower() for name in table.schema_arrow.names]
    names = list(table.schema_arrow.names)
    at = _column(header, inventory)
    wanted = [names[at]]
    extras = [
        names[header.index(n)]
        for n in ("bucket", "size", "last_modified_date", "mtime", "is_delete_marker", "is_latest")
        if n in header
    ]
    for batch in table.iter_batches(_ROWS, columns=[*wanted, *extras]):
        columns = {name.lower(): batch.column(name).to_pylist() for name in [*wanted, *extras]}
        rows = zip(*columns.values(), strict=True)
        texts = (["" if cell is None else str(cell) for cell in row] for row in rows)
        yield from _of_rows(texts, list(columns), Inventory(inventory.path, header[at]))
