"""Files that the libraries themselves load: an old file becomes objects, which are pickled as of today.

`persist upgrade --format joblib` and ``--format pickle`` write them where a file holds objects of a
library whose old states a pack knows. They are made in a process of their own, since making them
imports the libraries that the file needs; what is written is loaded there again without persist, and
compared.
"""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from persist.errors import DamagedFileError, PersistError, RestoreError
from persist.registry._rebuilds import is_installed

if TYPE_CHECKING:
    from persist._api.file import File
    from persist.bulk._job import Job

__all__ = ["FORMATS", "is_wanted", "write"]

FORMATS = ("joblib", "pickle")
_LOADING = ("py2_str", "salvage", "storage_options", "limits", "trust", "unknown")
_PROTOCOL = 4  # of Python 3.8 and later


def is_wanted(file: File, format: str) -> bool:
    """Whether a file is to be written as objects of today's libraries.

    Raises:
        PersistError: it is, and a library that makes them is not installed.
    """
    if format not in FORMATS:
        return False
    known = file.knowledge
    found = [known._rebuild_listed(known.resolve(name)) for name in file._content.globals]
    libraries = [one for one in found if one is not None and not one.always]
    missing = sorted({one.distribution for one in libraries if not is_installed(one.library)})
    if missing:
        raise PersistError(
            f"it holds objects of {', '.join(missing)}, which is not installed.",
            file=file.name,
            remedy=f"pip install {' '.join(missing)}, so that today's objects can be written.",
        )
    return format == "joblib" or bool(libraries)


def write(job: Job, source: str, target: IO[bytes], format: str) -> list[str]:
    """Make the objects of a file in a process of their own, and write what their library loads.

    Args:
        job: with its modules and options.
        source: path or URL.
        target: an open binary file.
        format: one of `FORMATS`.

    Returns:
        The warnings of loading it.

    Raises:
        RestoreError: an object cannot be made, or not be written without persist.
    """
    with tempfile.TemporaryDirectory(prefix="persist-") as folder:
        made, said = Path(folder) / "made", Path(folder) / "said"
        work = pickle.dumps((job, source, str(made), str(said), format))
        run = subprocess.run(
            [sys.executable, "-c", "from persist.bulk._living import main; main()"],
            input=work,
            capture_output=True,
            check=False,
        )
        answer = json.loads(said.read_text(encoding="utf-8")) if said.exists() else {}
        if "fault" in answer:
            what, where, remedy = answer["fault"]
            raise RestoreError(what, file=source, where=where, remedy=remedy)
        if run.returncode or not made.exists():
            last = run.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise RestoreError(
                f"the process that makes its objects ended with {run.returncode}: {last}",
                file=source,
                remedy="persist.load in Python shows more.",
            )
        target.write(made.read_bytes())
        return list(answer.get("warnings", ()))


# In the other process.


def main() -> None:
    """Do what the parent says on the standard input."""
    job, source, made, said, format = pickle.loads(sys.stdin.buffer.read())
    answer: dict[str, object] = {}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _written(_loaded(job, source), made, format)
        answer["warnings"] = [str(one.message) for one in caught]
    except PersistError as error:
        answer["fault"] = [error.what, error.where, error.remedy]
    Path(said).write_text(json.dumps(answer), encoding="utf-8")


def _loaded(job: Job, source: str) -> object:
    """The objects of a file; a class that stays a record is an error."""
    from persist._api.load import load
    from persist.bulk._job import task_of

    registry = task_of(job)[1]
    options = {name: job.options[name] for name in _LOADING if job.options.get(name)}
    return load(source, strict=True, registry=registry, **options)


def _written(value: object, made: str, format: str) -> None:
    """Write objects, load them as their users do, and compare.

    Raises:
        RestoreError: only persist could load them.
        DamagedFileError: they come back otherwise.
    """
    from persist._api.open import open as open_file
    from persist._trees.compare import difference

    load = pickle.load
    try:
        if format == "joblib":
            joblib = _joblib()
            joblib.dump(value, made, protocol=_PROTOCOL)
            load = joblib.load
        else:
            Path(made).write_bytes(pickle.dumps(value, _PROTOCOL))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise RestoreError(
            f"it cannot be pickled: {error}.", remedy="Save it as a container."
        ) from error
    with open_file(made) as new:
        inside = sorted(name for name in new._content.globals if _is_ours(name))
        if inside:
            raise RestoreError(
                f"it holds {', '.join(inside)}, which nothing but persist loads.",
                remedy="Write a container: leave out --format.",
            )
        with open(made, "rb") as stream:
            again = load(stream)
        with open_file(io.BytesIO(pickle.dumps(again, _PROTOCOL))) as other:
            fault = difference(new.tree, other.tree)
    if fault:
        raise DamagedFileError(f"what was written comes back otherwise: {fault}.")


def _is_ours(name: str) -> bool:
    """Whether a name is part of persist, other than what `Versioned` writes for users' own classes."""
    return name.startswith("persist.") and not name.startswith("persist.versioned.")


def _joblib() -> Any:
    import importlib

    try:
        return importlib.import_module("joblib")
    except ImportError as error:
        raise RestoreError(
            "joblib is not installed.", remedy="pip install joblib, or --format pickle."
        ) from error
