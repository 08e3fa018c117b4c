"""Run a verb over files: failures are reported, and do not stop the run."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from persist._cli._out import plain
from persist.bulk._words import WarningCounter, error_line
from persist.errors import UnknownFormatError

__all__ = ["each", "error_line", "warnings_reported"]


def each(
    files: Iterable[str],
    act: Callable[[str], object],
    inside: Callable[[str], object] | None = None,
    known_only: Container[str] = (),
) -> int:
    """Call ``act`` with every file; return 1 if any failed, else 0.

    Args:
        files: as the user named them.
        act: called with each file that was named.
        inside: called with each file in a folder that was named; a file there in an unknown
            format is counted, and is not a failure. None: folders are not walked through.
        known_only: files that may have an unknown format too, where ``inside`` is None.
    """
    status = 0
    strangers: list[str] = []
    folders: dict[str, None] = {}
    with warnings_reported():
        for file, is_named in ((file, True) for file in files) if inside is None else _all(files):
            try:
                act(file) if is_named or inside is None else inside(file)
            except BrokenPipeError:  # nobody reads the output
                raise
            except Exception as error:
                is_inside = not is_named or file in known_only
                if is_inside and isinstance(error, UnknownFormatError):
                    strangers.append(file)
                    if "a part of a folder" in error.what:
                        folders[
                            f"{error.what} {error.remedy}".removeprefix("this is a part of ")
                        ] = None
                    continue
                print(f"persist: {error_line(error, file)}", file=sys.stderr)
                status = 1
    if strangers:
        count = len(strangers)
        what = "is not an experiment file" if count == 1 else "are not experiment files"
        more = f" and {count - 4:,} more" if count > 4 else ""
        print(
            plain(f"persist: {count:,} {what}: {', '.join(strangers[:4])}{more}"), file=sys.stderr
        )
    for text in folders:
        print(f"persist: some are parts of {text}", file=sys.stderr)
    return status


def _all(files: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yield each file, and whether it was named itself."""
    from persist.bulk._folders import files_in

    for file in files:
        if not os.path.isdir(file):
            yield file, True
            continue
        for path, _ in files_in(Path(file)):
            yield str(path), path == Path(file)


@contextmanager
def warnings_reported() -> Iterator[None]:
    """Print warnings as sentences, without the source line that raised them.

    Warnings that differ only in the file, in numbers and in paths are printed once, at the end, with
    their number: a run over thousands of old files repeats the same few.
    """
    found = WarningCounter()

    def show(message: Warning | str, category: type, *rest: object, **more: object) -> None:
        found.add(category.__name__, plain(str(message)))

    with warnings.catch_warnings():
        if not sys.warnoptions and "PYTHONWARNINGS" not in os.environ:
            warnings.simplefilter("always")
        warnings.showwarning = show
        try:
            yield
        finally:
            for _, text in found.summed():
                print(f"warning: {text}", file=sys.stderr)
