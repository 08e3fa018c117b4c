"""What a file is that no reader claims, in plain words, with the cure.

Evidence: the specifications of the formats named here, by their magic numbers;
the git-lfs pointer after ``docs/spec.md`` of git-lfs; models of XGBoost 3, LightGBM 2 and 4, CatBoost 0.24,
word vectors of gensim 3 and 4, as these wrote them; Riegeli after its ``records_file_format.md``.
"""

from __future__ import annotations

import re

from persist._wire.base.source import Source
from persist._wire.series_names import look

__all__ = ["diagnose"]

_MOST_NAMES = 100_000  # names in a folder that are looked at

# Magic bytes at an offset -> what it is, what to do.
_KINDS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89PNG\r\n", "a PNG picture", ""),
    (0, b"\xff\xd8\xff", "a JPEG picture", ""),
    (0, b"GIF8", "a GIF picture", ""),
    (0, b"%PDF", "a PDF document", ""),
    (0, b"\x7fELF", "a compiled program or library", ""),
    (0, b"MZ", "a Windows program", ""),
    (0, b"SQLite format 3\x00", "an SQLite database", "Open it with sqlite3."),
    (0, b"PAR1", "a Parquet table", "Read it with pyarrow or pandas."),
    (0, b"ARROW1", "an Arrow file", "Read it with pyarrow."),
    (0, b"ORC", "an ORC table", "Read it with pyarrow."),
    (0, b"Obj\x01", "an Avro file", "Read it with fastavro."),
    (0, b"RDX", "an R workspace", "Read it with R, or the library rdata."),
    (0, b"X\n\x00\x00\x00", "R serialized data", "Read it with R, or the library rdata."),
    (0, b"GGUF", "a GGUF model", "Read it with the library gguf."),
    (0, b"ggml", "a GGML model", "Read it with llama.cpp of its time."),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it first."),
    (0, b"Rar!", "a RAR archive", "Unpack it first."),
    (4, b"TFL3", "a TensorFlow Lite model", "Read it with the library tflite or ai-edge-litert."),
    (257, b"ustar", "a tar archive", "Unpack it, and open what is inside."),
    (
        0,
        b"MATLAB 5.0 MAT-file",
        "a MATLAB file of version 5",
        "Read it with scipy.io.loadmat, or save it in MATLAB with -v7.3, which is HDF5 and opens here.",
    ),
    (0, b"CDF\x01", "a netCDF 3 file", "Read it with scipy.io.netcdf_file."),
    (0, b"CDF\x02", "a netCDF 3 file", "Read it with scipy.io.netcdf_file."),
    (0, b"\x00asm", "a WebAssembly module", ""),
    (0, b"CBM1", "a CatBoost model", "Read it with catboost."),
    (0, b"binf", "an XGBoost model", "Read it with xgboost."),
    (0, b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner", "an XGBoost model", "Read it with xgboost."),
    (0, b"{L\x00\x00\x00\x00\x00\x00\x00\x06Config", "an XGBoost model", "Read it with xgboost."),
    (0, b'{"learner":', "an XGBoost model in JSON", "Read it with xgboost, or as JSON."),
    (0, b"tree\nversion=v", "a LightGBM model", "Read it with lightgbm."),
    (0, b"%%MatrixMarket", "a MatrixMarket matrix", "Read it with scipy.io.mmread."),
    (
        0,
        b"\x83\xaf\x70\xd1\x0d\x88\x4a\x3f",
        "a Riegeli file; TensorFlow's saved_model.cpb is one, a graph split into chunks",
        "Open the folder of the SavedModel, whose variables are read; the graph needs TensorFlow 2.15 or later.",
    ),
)

# The first line of word2vec's files, text and binary: how many words, how many numbers each.
_WORDS = re.compile(rb"\d{1,12} \d{1,6}\n[^\n ]{1,200} ")
# msgpack: a map of up to 15 whose first key is a short text, as flax.serialization writes it.
_MSGPACK = re.compile(rb"[\x81-\x8f](?:[\xa1-\xbf]|\xd9.)(?=([ -~]+))", re.DOTALL)


def _folder(source: Source) -> tuple[str, str]:
    """What is wrong with a folder that is not one thing, and the files to choose from."""
    names = source.children()
    if len(names) > _MOST_NAMES:
        return "no reader knows this folder.", "Name the file in it, or the checkpoint prefix."
    found = look(names)
    choices = found.left
    what = "no reader knows this folder as one thing."
    if found.doubts:
        what = f"this folder is no series of checkpoints: {'; '.join(found.doubts[:4])}."
    if not choices:
        return what, "Name the file in it, or the checkpoint prefix."
    more = f" and {len(choices) - 8:,} more" if len(choices) > 8 else ""
    return what, f"Name the one that is meant: {', '.join(choices[:8])}{more}."


def diagnose(source: Source) -> tuple[str, str]:
    """Return what is wrong with a file that no reader claims, and what to do."""
    if source.kind == "folder":
        return _folder(source)
    if source.kind == "prefix":
        names = [name for name in source.children() if name.startswith(source.basename)]
        return (
            f"there is no such file, and no checkpoint of this prefix beside {', '.join(names[:4])}.",
            "Name a file or a checkpoint prefix.",
        )
    if not source.size:
        return "the file is empty (0 bytes).", "Copy it again from where it came from."
    head = source.head(1024)
    for offset, magic, what, cure in _KINDS:
        if head[offset : offset + len(magic)] == magic:
            return f"this is {what}.", cure
    return (
        _by_form(head)
        or _text(source, head)
        or (
            f"no reader knows this file; it begins with {head[:16].hex(' ')} "
            f"({head[:16]!r}, {source.size:,} bytes).",
            "If it belongs to a system that should be read, see docs/formats.md.",
        )
    )


def _by_form(head: bytes) -> tuple[str, str] | None:
    """What has no magic number, but a beginning that hardly anything else has."""
    if _WORDS.match(head):
        return (
            "these are word vectors in the format of word2vec.",
            "Read them with gensim: KeyedVectors.load_word2vec_format.",
        )
    found = _MSGPACK.match(head)
    if found:
        length = head[2] if head[1] == 0xD9 else head[1] & 31
        if len(found[1]) >= length:
            key = found[1][:length].decode("ascii")
            return (
                f"this looks like msgpack, a map with the key {key!r}, as Flax saves its states.",
                "Read it with flax.serialization.msgpack_restore, or the library msgpack.",
            )
    return None


def _text(source: Source, head: bytes) -> tuple[str, str] | None:
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        size = next(
            (line[5:].decode() for line in head.split(b"\n") if line.startswith(b"size ")), "?"
        )
        return (
            f"this is a git-lfs pointer of {source.size} bytes; the file itself ({size} bytes) was never fetched.",
            "Run `git lfs pull` in the repository.",
        )
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return (
            "this is an HTML page, not the file: what was saved is an error or a download page.",
            "Download it again, by its direct address or with a login.",
        )
    if start.startswith((b"<?xml", b"<")):
        return "this is XML or HTML text.", "Download the file itself."
    if not head.strip(b"\0"):
        return (
            f"the file begins with {len(head):,} zero bytes: it was never written to the end.",
            "Copy it again from where it came from.",
        )
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if all(char.isprintable() or char in "\r\n\t" for char in text):
        return f"this is plain text; it begins {text[:60]!r}.", "Is it the file that you meant?"
    return None
