"""Progress bars: of tqdm in a notebook, of rich in a terminal, or of whichever of the two is installed.

With neither, a terminal gets a line of text that is written over; a file or pipe gets nothing.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from persist.typing import ProgressEvent

__all__ = ["bars"]

Report = Callable[[ProgressEvent], object]
_NAMES = ("B", "kB", "MB", "GB", "TB")


@contextlib.contextmanager
def bars() -> Iterator[Report]:
    """Yield the function that draws events, on standard error."""
    makers = (_tqdm, _rich) if _is_notebook() else (_rich, _tqdm)
    for maker in makers:
        made = maker()
        if made is not None:
            break
    else:
        made = _plain()
    with made as report:
        yield report


def _is_notebook() -> bool:
    """Whether the cells of a Jupyter kernel show what is printed."""
    shell = sys.modules.get("IPython")
    running = None if shell is None else shell.get_ipython()
    return running is not None and hasattr(running, "kernel")


def label(event: ProgressEvent) -> str:
    """The text of a bar: the phase, and the name of the file without its folder; always one line."""
    name = (event.file or "").replace("\\", "/").rpartition("/")[2]
    text = f"{event.phase} {name}".strip()
    return text if text.isprintable() else repr(text)[1:-1]


def _rich() -> Any:
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        return None
    shown = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    return _drawn_by_rich(shown)


@contextlib.contextmanager
def _drawn_by_rich(shown: Any) -> Iterator[Report]:
    tasks: dict[tuple[str, str | None], object] = {}

    def report(event: ProgressEvent) -> None:
        key = event.phase, event.file
        if key not in tasks:
            tasks[key] = shown.add_task(label(event), total=event.total, amount="")
        shown.update(tasks[key], completed=event.done, total=event.total, amount=_amount(event))

    with shown:
        yield report


def _tqdm() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "IProgress not found")  # a bar of text will do
            from tqdm.auto import tqdm  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return None
    return _drawn_by_tqdm(tqdm)


@contextlib.contextmanager
def _drawn_by_tqdm(tqdm: Any) -> Iterator[Report]:
    shown: dict[tuple[str, str | None], Any] = {}

    def report(event: ProgressEvent) -> None:
        key = event.phase, event.file
        if key not in shown:
            is_bytes = event.unit == "bytes"
            shown[key] = tqdm(
                total=event.total,
                desc=label(event),
                unit="B" if is_bytes else f" {event.unit}",
                unit_scale=is_bytes,
            )
        bar = shown[key]
        bar.total = event.total
        bar.update(event.done - bar.n)

    try:
        yield report
    finally:
        for bar in shown.values():
            bar.close()


@contextlib.contextmanager
def _plain() -> Iterator[Report]:
    stream = sys.stderr
    if not stream.isatty():
        yield lambda event: None
        return

    def report(event: ProgressEvent) -> None:
        end = "\n" if event.done == event.total else ""
        stream.write(f"\r{label(event)}: {_amount(event)}\x1b[K{end}")
        stream.flush()

    yield report


def _amount(event: ProgressEvent) -> str:
    """What is done and what there is: ``3.1 / 8.0 GB``, or ``12 / 400 objects``."""
    if event.unit != "bytes":
        whole = "" if event.total is None else f" / {event.total:,}"
        return f"{event.done:,}{whole} {event.unit}"
    size = max(event.done, event.total or 0)
    step = 0
    while size >= 1000 and step < len(_NAMES) - 1:
        size //= 1000
        step += 1
    whole = "" if event.total is None else f" / {event.total / 1000**step:.1f}"
    return f"{event.done / 1000**step:.1f}{whole} {_NAMES[step]}"
