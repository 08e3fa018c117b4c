"""Run a verb over files: one that fails is told, and does not stop the others."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from persist._cli._out import plain
from persist.errors import PersistError, UnknownFormatError

__all__ = ["each", "told", "warnings_told"]


def each(
    files: Iterable[str],
    act: Callable[[str], object],
    inside: Callable[[str], object] | None = None,
) -> int:
    """Call ``act`` with every file; return 1 if any failed, else 0.

    Args:
        files: as the user named them.
        act: what is done with one.
        inside: what is done with a file in a folder that was named; a file there that no reader
            knows is counted, and is no failure. None: folders are not walked through.
    """
    status = strangers = 0
    with warnings_told():
        for file, is_named in ((file, True) for file in files) if inside is None else _all(files):
            try:
                act(file) if is_named or inside is None else inside(file)
            except BrokenPipeError:  # nobody reads what is told
                raise
            except Exception as error:
                if not is_named and isinstance(error, UnknownFormatError):
                    strangers += 1
                    continue
                print(f"persist: {told(error, file)}", file=sys.stderr)
                status = 1
    if strangers:
        what = "is no experiment file" if strangers == 1 else "are no experiment files"
        print(f"persist: {strangers:,} {what}", file=sys.stderr)
    return status


def _all(files: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Every file, and whether it was named itself."""
    from persist._cli._folders import found

    for file in files:
        if not os.path.isdir(file):
            yield file, True
            continue
        for path, _ in found(Path(file)):
            yield str(path), path == Path(file)


def told(error: BaseException, file: str) -> str:
    """Return an error as one line that begins with the file."""
    from persist._trees.show import printable

    if isinstance(error, PersistError):
        text = str(error)
    elif isinstance(error, OSError):
        text = f"{error.filename or file}: {error.strerror or error}"
    elif isinstance(error, MemoryError):
        text = "there is not enough memory."
    else:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = (
            f"{type(error).__name__}: {error} ({os.path.basename(last.filename)}:{last.lineno}). "
            "This is a fault of persist, not of the file: please report it with the file."
        )
    lines = [line if line.isprintable() else repr(line)[1:-1] for line in text.splitlines()]
    text = "\n  ".join(lines)
    return text if text.startswith(file) else f"{printable(file)}: {text}"


@contextmanager
def warnings_told() -> Iterator[None]:
    """Tell a warning as a sentence, without the line of ours that raised it."""

    def show(message: Warning | str, *rest: object, **more: object) -> None:
        print(f"warning: {plain(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        if not sys.warnoptions and "PYTHONWARNINGS" not in os.environ:
            warnings.simplefilter("default")
        warnings.showwarning = show
        yield
