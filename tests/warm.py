"""Fresh Python processes that cost little: forked from a server that has imported NumPy and persist.

A test of the command, or of a script, wants a process whose registry is empty and whose modules are
its own. Starting an interpreter for each took most of the time of the tests. `run` takes the same
arguments as the interpreter (``-c CODE`` or ``-m MODULE``) and gives the same result; where there is no
fork, it starts an interpreter. What a process imports must not be tested in this way.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path

SECONDS = 300  # of the clock: what hangs is ended; nothing is measured by it

PRELOADED = [
    "hypothesis.extra.numpy",
    "persist._api.explain",
    "persist._api.load",
    "persist._api.save",
    "persist._cli._project",
    "persist._objects.build",
    "persist._upgrade.records",
    "persist.history.checking",
    "persist.history.drafting",
    "persist.history.golden",
    "persist.versioned",
    "pytest",
]


def run(
    words: Sequence[str], folder: Path, env: dict[str, str], *, joined: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder.

    Args:
        words: what the interpreter is given: ``-c`` or ``-m``, and what follows.
        folder: the working directory.
        env: the environment.
        joined: standard output and standard error are returned as one text, as a terminal has it.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return subprocess.run(
            [sys.executable, *words], cwd=folder, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT if joined else subprocess.PIPE,
            text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    settings = coverage_settings()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary, "out")
        errors = out if joined else Path(temporary, "errors")
        job = (list(words), str(folder), env, (str(out), str(errors)), settings)
        child = context.Process(target=_run, args=job)
        child.start()
        child.join(SECONDS)
        if child.exitcode is None:
            child.kill()
            raise subprocess.TimeoutExpired(list(words), SECONDS)
        texts = out.read_text("utf-8"), None if joined else errors.read_text("utf-8")
    return subprocess.CompletedProcess(list(words), child.exitcode, *texts)


def coverage_settings() -> dict[str, str] | None:
    """Return where a child stores its coverage; None where it is not measured."""
    current = getattr(sys.modules.get("coverage"), "Coverage", None)
    running = current and current.current()
    if not running:
        return None
    return {"data_file": running.config.data_file, "config_file": running.config.config_file or ""}


def _run(
    words: list[str],
    folder: str,
    env: dict[str, str],
    streams: tuple[str, str],
    settings: dict[str, str] | None,
) -> None:
    for number, stream in enumerate(streams, 1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_APPEND | os.O_CREAT), number)
    if settings is None:
        _python(words, folder, env)
        return
    import coverage

    measured = coverage.Coverage(data_suffix=True, **settings)
    measured.start()
    try:
        _python(words, folder, env)
    finally:
        measured.stop()
        measured.save()


def _python(words: list[str], folder: str, env: dict[str, str]) -> None:
    """Do in the child what the interpreter does with its arguments."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = ["", *env.get("PYTHONPATH", "").split(os.pathsep)]
    sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    option, what, *rest = words
    sys.argv = [option, *rest]
    if option == "-c":
        exec(compile(what, "<string>", "exec"), vars(main))
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)
