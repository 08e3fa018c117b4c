"""Structure-aware mutation of files: lengths, offsets, opcodes, members, behind right checksums.

Archives, compressed layers and our own container are opened, a member is changed, and all is packed again with
right checksums, so that a change reaches the grammar behind it. Used by the laws of this folder and by ``fuzz/``.
"""

from __future__ import annotations

import gzip
import io
import pickletools
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

INTERESTING = (0, 1, 2, 3, 7, 8, 9, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 1000, 4095, 4096, 32767, 32768, 65535, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip
WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MOST = 1 << 20  # bytes that are unpacked or looked at
_DEPTH = 3  # layers that are entered


def mutated(data: bytes, chance: random.Random, most: int = _MOST, depth: int = _DEPTH) -> bytes:
    """Return bytes that are like others; at most ``most`` of them."""
    made = data
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        made = _once(made, chance, depth)
    return made[:most]


def _once(data: bytes, chance: random.Random, depth: int) -> bytes:
    if depth and chance.random() < 0.85:
        for is_kind, change in LAYERS:
            if is_kind(data):
                try:
                    return change(data, chance, depth - 1)
                except (
                    Exception
                ):  # it is no archive any more, since something else changed it before
                    break
    if data[:1] == b"\x80" and chance.random() < 0.8:
        return _pickle(data, chance)
    return chance.choice(PLAIN)(data, chance)


# Any bytes.


def _number(data: bytes, chance: random.Random) -> bytes:
    """Another number at some place: an interesting one, or the one that is there, a little changed."""
    width = chance.choice((1, 2, 4, 8))
    if len(data) < width:
        return data + bytes(width)
    at = chance.randrange(len(data) - width + 1)
    order = chance.choice("<<<>")
    code = order + WIDTHS[width]
    (known,) = struct.unpack_from(code, data, at)
    value = (
        chance.choice(INTERESTING)
        if chance.random() < 0.5
        else known + chance.choice((-8, -1, 1, 8, known, -known // 2, 1 << (8 * width - 1)))
    )
    return data[:at] + struct.pack(code, value & ((1 << 8 * width) - 1)) + data[at + width :]


def _length(data: bytes, chance: random.Random) -> bytes:
    """Change a number that may be a length or an offset: one that fits into the bytes that are there."""
    window = data[: 1 << 16]
    for _ in range(64):
        width = chance.choice((2, 4, 4, 8))
        if len(window) < width:
            break
        at = chance.randrange(len(window) - width + 1)
        order = chance.choice(("little", "little", "big"))
        value = int.from_bytes(window[at : at + width], order)  # type: ignore[arg-type]
        if 1 < value <= len(data):
            value = chance.choice(
                (0, value - 1, value + 1, 2 * value, len(data), len(data) - at, at, at - value, chance.choice(INTERESTING))
            )  # fmt: skip
            value &= (1 << 8 * width) - 1
            return data[:at] + value.to_bytes(width, order) + data[at + width :]  # type: ignore[arg-type]
    return _number(data, chance)


def _digits(data: bytes, chance: random.Random) -> bytes:
    """Another number in text: a shape, a count, a version."""
    places = [at for at in range(min(len(data), 1 << 14)) if 48 <= data[at] < 58]
    if not places:
        return _number(data, chance)
    at = chance.choice(places)
    text = chance.choice((b"0", b"-1", b"9", b"1e9", b"99999999999999999999", str(chance.choice(INTERESTING)).encode()))  # fmt: skip
    return data[:at] + text + data[at + 1 :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _moved(data: bytes, chance: random.Random) -> bytes:
    """A part of it is left out, comes twice, or stands elsewhere."""
    if not data:
        return b"\0"
    at = chance.randrange(len(data))
    part = data[at : at + chance.choice((1, 2, 4, 8, 16, 64, 512))]
    rest = data[:at] + data[at + len(part) :]
    to = chance.randrange(len(rest) + 1)
    way = chance.random()
    if way < 0.3:
        return rest
    if way < 0.6:
        return data[:at] + part + data[at:]
    return rest[:to] + part + rest[to:]


def _bit(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return b"\0"
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


PLAIN: list[Callable[[bytes, random.Random], bytes]] = [_number, _length, _length, _digits, _cut, _moved, _moved, _bit]  # fmt: skip


# Pickles, by opcodes.

CODES = [op.code.encode("latin-1") for op in pickletools.opcodes if op.arg is None]
SNIPPETS = [
    b")R", b"}b", b"0", b"2", b"]", b")", b"}", b"N", b"\x85", b"\x86", b"(", b"t", b"l", b"d", b"e", b"u", b"\x94",
    b"h\x00", b"q\x00", b"j\xff\xff\xff\x7f", b"K\x01", b"J\xff\xff\xff\xff", b"\x8a\x08" + b"\xff" * 8, b"cos\nsystem\n",
    b"ccollections\nOrderedDict\n", b"cnumpy\ndtype\n", b"\x82\x01", b"\x81", b"\x92", b"Q", b"Pid\n", b"I1\n", b"L1L\n",
    b"U\x01a", b"X\x01\x00\x00\x00a", b"C\x01a", b"\x95" + bytes(8), b"G\x7f\xf8" + bytes(6), b"\x8f", b"\x90", b"\x91", b"\x93",
]  # fmt: skip


def _pickle(data: bytes, chance: random.Random) -> bytes:
    """Leave an opcode out, repeat it, move it, exchange it or its argument, insert another."""
    starts: list[int] = []
    try:
        for _, _, at in pickletools.genops(data[: 1 << 16]):
            starts.append(at or 0)
    except Exception:  # what comes before the fault is enough
        pass
    if len(starts) < 2:
        return _moved(data, chance)
    ends = [*starts[1:], len(data)]
    index = chance.randrange(len(starts))
    begin, end = starts[index], ends[index]
    part, way = data[begin:end], chance.randrange(6)
    if way == 0:
        return data[:begin] + data[end:]
    if way == 1:
        return data[:end] + part * chance.choice((1, 1, 2, 30)) + data[end:]
    if way == 2:
        to = chance.choice(starts)
        return data[:to] + part + data[to:]
    if way == 3:
        return data[:begin] + chance.choice(SNIPPETS) + data[begin:]
    if way == 4:
        return data[:begin] + chance.choice((*CODES, *SNIPPETS)) + data[end:]
    return data[:begin] + part[:1] + _number(part[1:], chance) + data[end:]


# Layers.


def _zip(data: bytes, chance: random.Random, depth: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        if sum(info.file_size for info in infos) > _MOST:
            return _number(data, chance)
        members = [(info, archive.read(info)) for info in infos]
    index = chance.randrange(len(members))
    way = chance.random()
    if way < 0.8:
        info, inner = members[index]
        members[index] = info, _once(inner, chance, depth)
    elif way < 0.9:
        del members[index]
    else:
        members.append(members[index])
    if {"manifest.json", "graph.json"} <= {info.filename for info in infos}:
        return _container([(info.filename, inner) for info, inner in members])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for info, inner in members:
            one = zipfile.ZipInfo(info.filename)
            one.compress_type = info.compress_type
            made.writestr(one, inner)
    return out.getvalue()


def _container(members: list[tuple[str, bytes]]) -> bytes:
    """A container with these members, each header and checksum as its rules ask for."""
    import json

    from persist._container import layout

    version = 1
    rows, out, directory, first = [], b"", b"", 0
    for name, data in members:
        if name == "manifest.json":
            try:
                manifest = json.loads(data)
                manifest["digest"] = None
                version = manifest["version"] if manifest["version"] in (1, 2) else 1
                data = json.dumps(manifest).encode()
            except (ValueError, TypeError, KeyError):
                pass
        if name == ".persist/digests.npy":
            continue
        row = (name.encode(), 0, zlib.crc32(data), len(data), len(data), len(out))
        out += layout.local_header(*row) + data
        rows.append(row)
    for row in rows:
        if row[0] == b"graph.json":
            first = len(directory)
        tail = layout.manifest_tail(first, version) if row[0] == b"manifest.json" else b""
        directory += layout.central_entry(*row, tail=tail)
    return out + directory + layout.end_of_directory(len(rows), len(directory), len(out))


def _gzip(data: bytes, chance: random.Random, depth: int) -> bytes:
    inner = zlib.decompressobj(31).decompress(data, _MOST)
    return gzip.compress(_once(inner, chance, depth), 1)


def _zlib(data: bytes, chance: random.Random, depth: int) -> bytes:
    inner = zlib.decompressobj().decompress(data, _MOST)
    return zlib.compress(_once(inner, chance, depth), 1)


LAYERS: list[tuple[Callable[[bytes], bool], Callable[[bytes, random.Random, int], bytes]]] = [
    (lambda data: data[:4] == b"PK\x03\x04", _zip),
    (lambda data: data[:3] == b"\x1f\x8b\x08", _gzip),
    (lambda data: data[:2] in (b"\x78\x01", b"\x78\x9c", b"\x78\xda"), _zlib),
]
