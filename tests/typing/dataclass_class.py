"""A dataclass with a resource, which is opened again after a load."""

import dataclasses
import io
from pathlib import Path
from typing import assert_type

import persist


def opened(path: str) -> io.StringIO:
    return io.StringIO(Path(path).read_text())


@dataclasses.dataclass
class Trainer(persist.Versioned, version=1, schema="typing.Trainer"):
    epoch: int = 0
    log_file: str = "log.txt"

    log = persist.resource("log_file", open=opened)
    other = persist.resource("log_file", open=opened, missing=None)


trainer = Trainer(epoch=3)
assert_type(trainer.log, io.StringIO)
assert_type(trainer.other, io.StringIO | None)
assert_type(trainer.epoch, int)
persist.resource("log_file", open=opened, missing="never")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
