"""What a file is that no reader claims, in plain words, with the cure.

Evidence: the specifications of the formats named here, by their magic numbers;
the git-lfs pointer after ``docs/spec.md`` of git-lfs; models of XGBoost 3, LightGBM 2 and 4, CatBoost 0.24,
word vectors of gensim 3 and 4, as these wrote them; Riegeli after its ``records_file_format.md``.
"""

from __future__ import annotations

import re
import struct

from persist._api.foreign_forms import by_structure
from persist._wire.base.series_names import look
from persist._wire.base.source import Source

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
        "a MATLAB file of level 5 that is cut off, or whose header is damaged",
        "Copy it again from where it came from.",
    ),
    (0, b"CDF\x05", "a netCDF file in the format CDF-5", "Read it with the library netCDF4."),
    (0, b"SR\x00\x04", "an IDL save file", "Read it with scipy.io.readsav."),
    (
        0,
        b"FS21",
        "a FileStorage of ZODB",
        "Its records are pickles: open it with the library ZODB.",
    ),
    (
        0,
        b"FS30",
        "a FileStorage of ZODB",
        "Its records are pickles: open it with the library ZODB.",
    ),
    (
        0,
        b"#Parameter# ",
        "a DyNet model in text",
        "Read it with dynet, or as text: a line of shape, a line of numbers.",
    ),
    (
        0,
        b"#LookupParameter# ",
        "a DyNet model in text",
        "Read it with dynet, or as text: a line of shape, a line of numbers.",
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
        from persist._api.foreign_folders import foreign_folder

        return foreign_folder(source.path or "", source.children()) or _folder(source)
    if source.kind == "prefix":
        names = [name for name in source.children() if name.startswith(source.basename)]
        return (
            f"there is no such file, and no checkpoint of this prefix next to {', '.join(names[:4])}.",
            "Name a file or a checkpoint prefix.",
        )
    if source.path is not None:
        from persist._api.foreign_folders import part_of_folder

        part = part_of_folder(source.path)
        if part is not None:
            return part
    if not source.size:
        return "the file is empty (0 bytes).", "Copy it again from where it came from."
    head = source.head(1024)
    cut = _cut_database(head, source.size)
    if cut is not None:
        return cut
    for offset, magic, what, cure in _KINDS:
        if head[offset : offset + len(magic)] == magic:
            return f"this is {what}.", cure
    return (
        by_structure(head, source.size)
        or _by_form(head, source.size)
        or _text(source, head)
        or (
            f"no reader knows this file; it begins with {head[:16].hex(' ')} "
            f"({head[:16]!r}, {source.size:,} bytes).",
            "If it belongs to a system that should be read, see docs/formats.md.",
        )
    )


_LUSH = {0x1E3D4C51: "float32", 0x1E3D4C53: "float64", 0x1E3D4C54: "int32", 0x1E3D4C55: "uint8", 0x1E3D4C56: "int16"}  # fmt: skip
_DARKNET = ((0, 1), (0, 2))  # versions
_TFRECORD = re.compile(rb"brain\.Event:\d")
# The first opcode of a pickle: a module and a name, each in a line, then what hardly is a word.
_GLOBAL = re.compile(
    rb"\(?[ci]([A-Za-z_][\w.]*)\r?\n([A-Za-z_][\w.]*)\r?\n(?:[()}\]]|q.|p\d+\r?\n|r.{3}\0)",
    re.DOTALL,
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/\r\n]{24,}={0,2}\s*")


_SQLITE = b"SQLite format 3\x00"


def _cut_database(head: bytes, size: int) -> tuple[str, str] | None:
    """An SQLite database that ends within its first page."""
    if not head.startswith(_SQLITE):
        return None
    page = int.from_bytes(head[16:18], "big") if len(head) >= 18 else 512
    page = 65_536 if page == 1 else page
    if size >= page:
        return None
    return (
        f"this is an SQLite database that is cut off: it has {size:,} bytes, its first page alone "
        f"takes {page:,}.",
        "Copy it again from where it came from.",
    )


def _by_form(head: bytes, size: int) -> tuple[str, str] | None:
    """What has no magic number, but a beginning that hardly anything else has."""
    if _TFRECORD.search(head[:64]):
        return (
            "this is an event log of TensorBoard whose first record is damaged.",
            "Copy it again from where it came from.",
        )
    if len(head) >= 8 and int.from_bytes(head[:4], "little") in _LUSH:
        kind = _LUSH[int.from_bytes(head[:4], "little")]
        return (
            f"this is a matrix of Lush ({kind}), as the NORB data set has them.",
            "After the number of its axes and their lengths (int32, at least three) the data stand "
            "raw: numpy.fromfile reads them.",
        )
    if len(head) >= 20:
        version = struct.unpack_from("<3i", head)
        if version[:2] in _DARKNET and 0 <= version[2] < 100:
            seen = struct.unpack_from("<Q", head, 12)[0] if version[1] >= 2 else 0
            if (size - 20) % 4 == 0 and seen < 1 << 40:
                return (
                    f"these look like weights of Darknet (version {version[0]}.{version[1]}."
                    f"{version[2]}, {seen:,} images seen).",
                    "They are raw float32 in the order of the layers of the .cfg next to it: read "
                    "them with darknet, or opencv's cv2.dnn.readNetFromDarknet.",
                )
        lod, levels, again, length = struct.unpack_from("<IQIi", head)
        if (lod, again) == (0, 0) and levels < 8 and 2 <= length < 64 and head[20:21] == b"\x08":
            return (
                "these are tensors of PaddlePaddle (.pdiparams); their names are in the .pdmodel.",
                "Read them with paddle.static.load_inference_model.",
            )
    if head[:1] == b"\x08" and head[1:2] in tuple(bytes((n,)) for n in range(1, 14)):
        known = _of_message(head)
        if known is not None:
            return known
    known = _by_text(head, size)
    if known is not None:
        return known
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
                f"this looks like msgpack, a map with the key {key!r}, as Flax saves its states, but it "
                "is cut off or damaged.",
                "Copy it again from where it came from.",
            )
    return None


def _by_text(head: bytes, size: int) -> tuple[str, str] | None:
    """A pickle that was written as text, or that is broken."""
    found = _GLOBAL.match(head)
    if found:
        return (
            f"this begins as a pickle of protocol 0 or 1, with the name "
            f"{found[1].decode()}.{found[2].decode()}, but it cannot be read as one: it is damaged.",
            "Copy it again from where it came from, in binary mode.",
        )
    if _BASE64.fullmatch(head[:96] if size > 96 else head):
        inner = _decoded(head)
        if inner[:1] == b"\x80" and inner[1:2] <= b"\x05" and len(inner) > 2:
            return (
                f"this is a pickle in base64 (protocol {inner[1]}).",
                "Decode it first: persist.open(base64.b64decode(text)).",
            )
    if head[:3] == b"\xc2\x80\x02" or head[:3] in (b"\xc2\x80\x03", b"\xc2\x80\x04"):
        return (
            "this is a pickle that was written as text: each of its bytes was taken for a character "
            "of Latin-1 and encoded as UTF-8.",
            'Undo that: persist.open(data.decode("utf-8").encode("latin-1")).',
        )
    if head.startswith(b"\xef\xbb\xbf") and head[3:5] in (
        b"(d",
        b"(l",
        b"cc",
        b"cn",
        b"c_",
        b"\x80\x02",
    ):
        return (
            "this is a pickle behind a byte order mark, which an editor put there.",
            "Take the first three bytes away: persist.open(data[3:]).",
        )
    return None


def _of_message(head: bytes) -> tuple[str, str] | None:
    """ONNX (version, then the producer's name) and CNTK 2 (version, then a map of names)."""
    if head[2:3] == b"\x12" and head[3] < 64 and head[4 : 4 + head[3]].isascii():
        name = head[4 : 4 + head[3]].decode("ascii", "replace")
        if name.isprintable() and name:
            return (
                f"this is an ONNX model, written by {name}.",
                "Read it with the library onnx: onnx.load, then onnx.numpy_helper.to_array of each "
                "of model.graph.initializer.",
            )
    if b"\x0a\x07version\x12" in head[:64]:
        return "this is a model of CNTK 2.", "Read it with the library cntk: cntk.Function.load."
    return None


def _decoded(head: bytes) -> bytes:
    import base64
    import binascii

    text = b"".join(head.split()).rstrip(b"=")
    text = text[: len(text) // 4 * 4]
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""


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
