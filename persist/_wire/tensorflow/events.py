"""TFRecord, and the messages of TensorBoard's event files in it.

Evidence: TensorFlow's ``core/lib/io/record_writer.h`` (the framing), ``core/util/event.proto`` and
``core/framework/summary.proto``; TensorBoard's ``compat/proto`` of the same messages.

- A record is the number of its bytes (uint64), the masked CRC-32C of that number, the bytes, and their
  masked CRC-32C; numbers are little-endian.
- Each record of an event file is an ``Event``: the time in seconds, the step, and one of several contents;
  the first one names the version, ``brain.Event:2``. A summary holds values, each with a tag.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

from persist._wire.base.source import Source
from persist._wire.compression.crc32c import crc32c, mask
from persist._wire.messages.protobuf import Schemas
from persist.errors import DamagedFileError

__all__ = ["TFRecord", "events", "is_framed", "records"]

_HEAD, _TAIL = 12, 4
_COST = 128  # bytes that a record takes while it is read, at least


class TFRecord(NamedTuple):
    """One record.

    Attributes:
        offset: of its first byte.
        data: its bytes.
        is_whole: whether they have the CRC-32C that the file states.
    """

    offset: int
    data: memoryview
    is_whole: bool


@functools.cache
def events() -> Schemas:
    """Return the messages of event files."""
    from persist._wire.tensorflow.schemas import SCHEMAS

    shared = ("TensorProto", "TensorShapeProto", "Dim", "Unknown")
    tensors = {name: SCHEMAS.messages[name].fields for name in shared}
    messages: dict[str, Any] = {
        "Event": {
            "wall_time": (1, "double"), "step": (2, "int64"), "file_version": (3, "string"),
            "graph_def": (4, "bytes"), "summary": (5, "Summary"), "log_message": (6, "bytes"),
            "session_log": (7, "bytes"), "tagged_run_metadata": (8, "bytes"),
            "meta_graph_def": (9, "bytes"), "source_metadata": (10, "SourceMetadata"),
        },
        "SourceMetadata": {"writer": (1, "string")},
        "Summary": {"value": (1, "Value")},
        "Value": {
            "tag": (1, "string"), "simple_value": (2, "float"), "image": (4, "Image"),
            "histo": (5, "HistogramProto"), "audio": (6, "Audio"), "node_name": (7, "string"),
            "tensor": (8, "TensorProto"), "metadata": (9, "SummaryMetadata"),
        },
        "Image": {"height": (1, "int32"), "width": (2, "int32"), "colorspace": (3, "int32"),
                  "encoded": (4, "bytes")},
        "Audio": {"sample_rate": (1, "float"), "num_channels": (2, "int64"),
                  "length_frames": (3, "int64"), "encoded": (4, "bytes"), "content_type": (5, "string")},
        "HistogramProto": {
            "min": (1, "double"), "max": (2, "double"), "num": (3, "double"), "sum": (4, "double"),
            "sum_squares": (5, "double"), "bucket_limit": (6, "double"), "bucket": (7, "double"),
        },
        "SummaryMetadata": {"plugin_data": (1, "PluginData"), "display_name": (2, "string"),
                            "summary_description": (3, "string")},
        "PluginData": {"plugin_name": (1, "string"), "content": (2, "bytes")},
        **tensors,
    }  # fmt: skip
    return Schemas(messages, SCHEMAS.enums)


def is_framed(source: Source) -> bool:
    """Whether a file begins with the length of a record, and its CRC-32C."""
    head = source.head(_HEAD)
    return len(head) == _HEAD and _is_sum(head[:8], head[8:])


def _is_sum(data: bytes | memoryview, stored: bytes | memoryview) -> bool:
    return mask(crc32c(data)) == int.from_bytes(stored, "little")


def records(source: Source, *, verify: bool = True) -> Iterator[TFRecord]:
    """Give the records of a file, up to the first one that is not complete.

    Args:
        source: the file.
        verify: whether the CRC-32C of the data is computed.

    Raises:
        DamagedFileError: the CRC-32C of a length is wrong, so that the next record cannot be found.
    """
    at = 0
    while source.size - at >= _HEAD + _TAIL:
        source.spend(_COST)
        head = source.view(at, _HEAD)
        if not _is_sum(head[:8], head[8:]):
            raise DamagedFileError(
                "the length of a record does not have the CRC-32C that the file states.",
                file=source.name,
                where=f"offset {at}",
                remedy="Copy the file again, or read the records before it with salvage=True.",
            )
        length = int.from_bytes(head[:8], "little")
        if length > source.size - at - _HEAD - _TAIL:
            return
        data = source.view(at + _HEAD, length)
        stored = source.view(at + _HEAD + length, _TAIL)
        yield TFRecord(at, data, not verify or _is_sum(data, stored))
        at += _HEAD + length + _TAIL
