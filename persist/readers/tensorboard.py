"""TensorBoard's event files: what a training reported, by tag.

Written by  ``tf.summary`` of TensorFlow 0.5 to 2, Keras' ``TensorBoard`` callback, torch.utils.tensorboard,
            tensorboardX, PyTorch Lightning; files named ``events.out.tfevents.<time>.<host>``.
Evidence    TensorFlow's ``core/lib/io/record_writer.h``, ``core/util/event.proto``, ``core/framework/summary.proto``;
            files of tensorboardX 2.6.5 and TensorBoard 2.21, compared with ``EventAccumulator``.
Traps       A run that is still going, or was ended, leaves an incomplete last record. A run that was restarted
            repeats steps; all are given in the order of the file. TensorFlow 2 and newer callbacks store
            scalars as tensors. A tag can hold values of more than one kind.
Gives       A dict by tag. Each has the arrays ``step`` (int64), ``wall_time`` (float64, seconds since 1970)
            and ``value``: scalars as float32; tensors of one shape stacked, others as a list; texts; encoded
            images and sound as a list of bytes with ``height``, ``width``, ``colorspace`` or ``sample_rate``,
            ``num_channels``, ``length_frames``. Histograms: ``min``, ``max``, ``num``, ``sum``, ``sum_squares``,
            ``bucket_limit`` and ``bucket``. Data of a plugin alone: ``content``. ``structure``: kind,
            number of values, plugin and description of each tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from persist._wire.base.source import Source
from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader

if TYPE_CHECKING:
    from persist._wire.messages.protobuf import Message

__all__ = ["TensorBoardReader"]

_COST = 128  # bytes that a value takes until the arrays are made
_OTHERS = {"graph_def": "graph", "log_message": "log message", "session_log": "session log",
           "tagged_run_metadata": "metadata of a run", "meta_graph_def": "meta graph"}  # fmt: skip
_HISTOGRAM = ("min", "max", "num", "sum", "sum_squares")


class TensorBoardReader(Reader):
    """Event files of TensorBoard."""

    name = "tensorboard"
    suffixes = (".tfevents",)

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or b"brain.Event:" not in source.head(256):
            return None
        from persist._wire.tensorflow.events import is_framed

        return "a TFRecord that states brain.Event" if is_framed(source) else None

    def read(self, source: Source, options: Options) -> Content:
        log = _Log(source, options)
        log.read()
        tree = {name: tag.arrays(source) for name, tag in log.tags.items()}
        structure = {
            "file_version": log.version,
            "tags": {name: tag.described() for name, tag in log.tags.items()},
        }
        notes = [
            f"{count:,} {_OTHERS[field]} ({size:,} bytes) left out"
            for field, (count, size) in log.others.items()
        ]
        return Content(tree, structure=structure, writer=log.writer, damage=log.damage, notes=notes)


class _Tag:
    """The values of one tag and kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.plugin = ""
        self.description = ""
        self.steps: list[int] = []
        self.times: list[float] = []
        self.values: list[Any] = []

    def described(self) -> dict[str, Any]:
        found = {"kind": self.kind, "count": len(self.steps), "plugin": self.plugin}
        return {**found, "description": self.description} if self.description else found

    def arrays(self, source: Source) -> dict[str, Any]:
        source.spend(32 * len(self.steps))
        made: dict[str, Any] = {
            "step": np.array(self.steps, np.int64),
            "wall_time": np.array(self.times, np.float64),
        }
        if self.kind == "scalar":
            made["value"] = np.array(self.values, np.float32)
        elif self.kind == "tensor":
            made["value"] = _stacked(self.values, source)
            if self.plugin == "text":
                made["value"] = _texts(made["value"])
        else:  # a dict of each value
            for name in self.values[0]:
                made[name] = _column([value[name] for value in self.values], source)
        return made


class _Log:
    """Reads all events of a file."""

    def __init__(self, source: Source, options: Options) -> None:
        self.source = source
        self.salvage = options.salvage
        self.verify = options.verify != "never"
        self.tags: dict[str, _Tag] = {}
        self.kinds: dict[tuple[str, str], _Tag] = {}
        self.others: dict[str, tuple[int, int]] = {}
        self.damage: list[str] = []
        self.writer: dict[str, str] = {}
        self.version = ""

    def read(self) -> None:
        """Take every record; an incomplete last one is reported as damage."""
        from persist._wire.tensorflow.events import events, records

        schemas, end, broken = events(), 0, 0
        try:
            for record in records(self.source, verify=self.verify):
                end = record.offset + 16 + len(record.data)
                if record.is_whole:
                    self.take(schemas.read("Event", record.data, self.source))
                    continue
                if not self.salvage:
                    raise self.damaged(record.offset)
                broken += 1
        except DamagedFileError as error:
            if not self.salvage:
                raise
            self.damage.append(f"the file was read up to offset {end:,}, where {error.what}")
            end = self.source.size
        if broken:
            self.damage.append(f"{broken:,} records with a wrong CRC-32C were left out")
        if end < self.source.size:
            self.damage.append(
                f"the last record, at offset {end:,}, is not complete: {self.source.size - end:,} bytes are there"
            )

    def damaged(self, offset: int) -> DamagedFileError:
        return DamagedFileError(
            "a record does not have the CRC-32C that the file states.",
            file=self.source.name,
            where=f"offset {offset}",
            remedy="Copy the file again; salvage=True reads the other records.",
        )

    def take(self, event: Message) -> None:
        """Add the content of an event to its tags."""
        if event.has("summary"):
            summary = event.message("summary")
            assert summary is not None
            step, time = event.integer("step"), event.number("wall_time")
            for value in summary.messages("value"):
                self.value(value, step, time)
        if event.has("file_version"):
            self.version = event.text("file_version")
        if event.has("source_metadata"):
            metadata = event.message("source_metadata")
            assert metadata is not None
            self.writer["writer"] = metadata.text("writer")
        for field in _OTHERS:
            if event.has(field):
                count, size = self.others.get(field, (0, 0))
                self.others[field] = count + 1, size + len(event.data(field))

    def value(self, value: Message, step: int, time: float) -> None:
        self.source.spend(_COST)
        kind = next((kind for kind, field in _FIELDS.items() if value.has(field)), "plugin")
        tag = self.tag(value.text("tag") or value.text("node_name"), kind)
        if not tag.steps:
            _describe(tag, value)
        if kind != "plugin" or value.has("metadata"):
            tag.values.append(_MAKE[kind](value))
            tag.steps.append(step)
            tag.times.append(time)

    def tag(self, name: str, kind: str) -> _Tag:
        """The tag of a name; values of another kind are of the tag ``name~2``."""
        found = self.kinds.get((name, kind))
        if found is None:
            found = self.kinds[name, kind] = _Tag(kind)
            free, number = name, 2
            while free in self.tags:
                free = f"{name}~{number}"
                number += 1
            self.tags[free] = found
        return found


def _describe(tag: _Tag, value: Message) -> None:
    metadata = value.message("metadata")
    if metadata is None:
        return
    plugin = metadata.message("plugin_data")
    tag.plugin = "" if plugin is None else plugin.text("plugin_name")
    tag.description = metadata.text("summary_description")


# What a value of a kind becomes.


def _scalar(value: Message) -> float:
    return value.number("simple_value")


def _histogram(value: Message) -> dict[str, object]:
    histogram = _inner(value, "histo")
    made: dict[str, Any] = {name: histogram.number(name) for name in _HISTOGRAM}
    made["bucket_limit"] = histogram.floats("bucket_limit")
    made["bucket"] = histogram.floats("bucket")
    return made


def _image(value: Message) -> dict[str, object]:
    image = _inner(value, "image")
    sizes = {name: image.integer(name) for name in ("height", "width", "colorspace")}
    return {"value": _bytes(image, "encoded"), **sizes}


def _audio(value: Message) -> dict[str, object]:
    audio = _inner(value, "audio")
    made: dict[str, Any] = {
        "value": _bytes(audio, "encoded"),
        "sample_rate": audio.number("sample_rate"),
    }
    for name in ("num_channels", "length_frames"):
        made[name] = audio.integer(name)
    return {**made, "content_type": audio.text("content_type")}


def _tensor(value: Message) -> Any:
    from persist._wire.tensorflow.tensors import tensor

    return tensor(_inner(value, "tensor"), f"a tensor of the tag {value.text('tag')!r:.80}")


def _plugin(value: Message) -> dict[str, object]:
    plugin = _inner(value, "metadata").message("plugin_data")
    return {"content": b"" if plugin is None else _bytes(plugin, "content")}


def _inner(value: Message, field: str) -> Message:
    found = value.message(field)
    assert found is not None
    return found


def _bytes(message: Message, field: str) -> bytes:
    data = message.data(field)
    message.source.spend(len(data))
    return bytes(data)


_FIELDS = {
    "scalar": "simple_value",
    "tensor": "tensor",
    "histogram": "histo",
    "image": "image",
    "audio": "audio",
}
_MAKE: dict[str, Any] = {
    "scalar": _scalar, "tensor": _tensor, "histogram": _histogram, "image": _image, "audio": _audio,
    "plugin": _plugin,
}  # fmt: skip


# Values of a tag, together.


def _column(values: list[Any], source: Source) -> object:
    if isinstance(values[0], int):
        return np.array(values, np.int64)
    if isinstance(values[0], float):
        return np.array(values, np.float64)
    return _stacked(values, source) if isinstance(values[0], np.ndarray) else values


def _texts(values: Any) -> object:
    """What the plugin for text holds: bytes in lists, as text where they are UTF-8."""
    if isinstance(values, list):
        return [_texts(value) for value in values]
    try:
        return values.decode("utf-8") if isinstance(values, bytes) else values
    except UnicodeDecodeError:
        return values


def _stacked(values: list[Any], source: Source) -> Any:
    """Arrays of one dtype and shape as one array; otherwise the list."""
    if any(value is None for value in values):  # of a type that holds no values
        return values
    forms = {(value.dtype, value.shape) for value in values}
    if len(forms) > 1 or values[0].ndim > 31:
        return values
    dtype, shape = forms.pop()
    if dtype.hasobject:
        return [np.asarray(value).tolist() for value in values]
    source.spend(len(values) * values[0].nbytes)
    return np.stack([np.asarray(value) for value in values]).reshape(len(values), *shape)
