"""Event files of TensorBoard: a genuine one is in the corpus; here are other kinds of values and damage."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import persist
from persist._wire.compression.crc32c import crc32c, mask
from persist.errors import (
    DamagedFileError,
    FormatError,
    LimitError,
    PersistError,
    UnknownFormatError,
)

CORPUS = Path(__file__).parents[1] / "corpus" / "tensorboard" / "tensorboardx-2.6.5-run"


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return (
        length
        + struct.pack("<I", mask(crc32c(length)))
        + data
        + struct.pack("<I", mask(crc32c(data)))
    )


def varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made, value = made + bytes([value & 127 | 128]), value >> 7
    return made + bytes([value])


def field(number: int, value: int | float | bytes, form: str = "<d") -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (1 << 64) - 1)
    return varint(number << 3 | (1 if form == "<d" else 5)) + struct.pack(form, value)


def event(step: int, *values: bytes, time: float = 5.0) -> bytes:
    summary = b"".join(field(1, value) for value in values)
    return record(field(1, time) + field(2, step) + field(5, summary))


def scalar(tag: bytes, value: float) -> bytes:
    return field(1, tag) + field(2, value, "<f")


def tensor(tag: bytes, values: list[float], shape: tuple[int, ...]) -> bytes:
    """A float32 tensor, as TensorFlow 2 stores scalars."""
    axes = b"".join(field(2, field(1, extent)) for extent in shape)
    content = struct.pack(f"<{len(values)}f", *values)
    return field(1, tag) + field(8, field(1, 1) + field(2, axes) + field(4, content))


HEAD = record(field(1, 1.0) + field(3, b"brain.Event:2"))


def test_a_run_by_tag() -> None:
    opened = persist.open(next(CORPUS.glob("events*")))
    assert opened.format == "tensorboard"
    assert opened.arrays["weights/bucket_limit"].shape == opened.arrays["weights/bucket"].shape
    assert np.asarray(opened.arrays["weights/bucket"]).sum() == 100
    assert opened.tree["digit"]["value"][0].startswith(b"\x89PNG")
    assert opened.structure["tags"]["note/text_summary"]["plugin"] == "text"
    assert opened.tree["note/text_summary"]["value"] == [["hello"]]
    assert opened.structure["file_version"] == "brain.Event:2"


def test_the_writer_of_tensorboard_names_itself_and_describes_its_tags() -> None:
    folder = next(CORPUS.parent.glob("tensorboard-*"))
    opened = persist.open(next(folder.glob("events*")))
    assert opened.writer == {"writer": "tensorboard.summary.writer.event_file_writer"}
    assert opened.structure["tags"]["loss"] == {
        "kind": "tensor",
        "count": 4,
        "plugin": "scalars",
        "description": "of training",
    }


def test_an_event_file_laid_out_by_hand() -> None:
    path = Path(__file__).parents[1] / "cases" / "unnamed_formats"
    opened = persist.open(path / "events.out.tfevents.1483451470.host")
    assert opened.arrays["loss/step"].tolist() == [0, 1, 2, 3, 4]
    assert opened.arrays["loss/value"][1] == 0.5


def test_scalars_that_are_tensors_and_tensors_of_several_shapes() -> None:
    events = [
        event(n, tensor(b"loss", [n / 2], ()), tensor(b"rows", [1.0] * n, (n,))) for n in (1, 2)
    ]
    opened = persist.open(HEAD + b"".join(events))
    assert opened.arrays["loss/value"].tolist() == [0.5, 1.0]
    assert opened.arrays["rows/value/1"].tolist() == [1, 1]
    assert opened.arrays["rows/step"].tolist() == [1, 2]


def test_a_tag_of_two_kinds_keeps_both_and_steps_keep_their_order() -> None:
    events = [
        event(2, scalar(b"x", 1.0)),
        event(-1, scalar(b"x", 2.0)),
        event(3, tensor(b"x", [3.0], ())),
    ]
    opened = persist.open(HEAD + b"".join(events))
    assert opened.arrays["x/step"].tolist() == [2, -1]
    assert opened.arrays["x~2/value"].tolist() == [3.0]


def test_what_is_no_summary_is_noted() -> None:
    opened = persist.open(
        HEAD + record(field(1, 1.0) + field(4, b"graph" * 10)) + event(1, scalar(b"x", 1.0))
    )
    assert opened.notes == ["1 graph (50 bytes) left out"]


def test_a_cut_tail_is_reported_and_the_rest_is_read() -> None:
    data = HEAD + event(1, scalar(b"x", 1.0)) + event(2, scalar(b"x", 2.0))
    for cut in (1, 5, 20):
        opened = persist.open(data[:-cut])
        assert opened.arrays["x/value"].tolist() == [1.0]
        assert "not complete" in opened.damage[0]
    assert persist.open(data).damage == []


def test_a_wrong_sum_is_an_error_or_a_gap() -> None:
    first, second = event(1, scalar(b"x", 1.0)), event(2, scalar(b"x", 2.0))
    data = bytearray(HEAD + first + second)
    data[len(HEAD) + 30] ^= 1
    with pytest.raises(DamagedFileError, match="CRC-32C"):
        persist.open(bytes(data))
    opened = persist.open(bytes(data), salvage=True)
    assert opened.arrays["x/step"].tolist() == [2]
    assert "1 records" in opened.damage[0]
    data = bytearray(HEAD + first + second)
    data[len(HEAD + first)] ^= 1  # a length: nothing behind it can be found
    with pytest.raises(DamagedFileError, match="length of a record"):
        persist.open(bytes(data))
    assert persist.open(bytes(data), salvage=True).arrays["x/step"].tolist() == [1]


def test_other_records_and_a_damaged_head_are_not_claimed() -> None:
    with pytest.raises(UnknownFormatError):
        persist.open(record(b"\x0a\x03abc" * 9))
    damaged = bytearray(HEAD + event(1, scalar(b"x", 1.0)))
    damaged[9] ^= 1
    with pytest.raises(UnknownFormatError, match="first record is damaged"):
        persist.open(bytes(damaged))


def test_claims_of_a_hostile_file_are_bounded() -> None:
    wide = field(1, b"t") + field(8, field(1, 1) + field(2, field(2, field(1, 1 << 40))))
    with pytest.raises(FormatError):
        persist.open(HEAD + event(1, wide))
    many = b"".join(event(1, *[scalar(b"", 1.0)] * 50) for _ in range(100))
    with pytest.raises(LimitError):
        persist.open(HEAD + many, limits={"total": 1 << 18})
    broken = record(field(5, field(1, b"\x0a\xff\xff\xff\xff\x0f")))
    with pytest.raises(PersistError):
        persist.open(HEAD + broken)
