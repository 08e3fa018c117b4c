"""A background writer: one save at a time, whose error is raised by the next call."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from persist._wire.base.urls import shown
from persist.errors import PersistError

__all__ = ["Background"]


class Background:
    """A thread that writes, and its error until it is raised."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: tuple[Path | str, BaseException] | None = None

    def start(self, write: Callable[[], None], path: Path | str) -> None:
        """Call a function in a thread. The interpreter waits for the thread at exit (it is no daemon)."""

        def run() -> None:
            try:
                write()
            except BaseException as error:  # raised by the next call
                self._error = path, error

        self._thread = threading.Thread(target=run, name=f"persist {os.path.basename(path)}")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the thread, and raise its error."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.raise_error()

    def raise_error(self) -> None:
        """Raise the error of a thread that has ended."""
        if self._error is None:
            return
        (path, error), self._error = self._error, None
        raise PersistError(
            f"this step could not be saved: {type(error).__name__}: {error} "
            "It was being written in the background.",
            file=shown(str(path)),
            remedy="The previous steps are intact. Fix the cause, then save again.",
        ) from error

    def warn_late(self) -> None:
        """Warn of an error that no later call has raised."""
        if self._error is not None:
            path, error = self._error
            warnings.warn(
                f"{shown(str(path))}: this step could not be saved: {type(error).__name__}: {error} "
                "close() would have raised it. Call close(), or use `with`.",
                RuntimeWarning,
                stacklevel=1,
            )
