"""What a process waits for before its first file is open: CPU time beside ``import numpy``.

    python benchmarks/start.py [--rounds 9] [row ...]

Each row is a process of its own that does one thing and ends; all rows, and ``import numpy``, take turns,
and the ratio is that of the medians of their CPU time, user and system, as the operating system tells it
of a child. Bytecode is cached before anything is measured, and files are small: what is measured is what
is imported. On a machine with other work even CPU time varies, by a tenth or so: give it more rounds.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

import persist

BASE = "import numpy"


class Row(NamedTuple):
    """A process, and what it may cost beside the base."""

    name: str
    code: str
    wanted: float | None = None


def rows(folder: Path) -> list[Row]:
    """Return what is run, the base first; the files lie in a folder."""
    opened = [
        Row(f"open a {kind}", f"import persist; persist.open({str(path)!r})", 1.6)
        for kind, path in files(folder).items()
    ]
    container, target = str(folder / "net.persist"), str(folder / "new.persist")
    save = f"import numpy, persist; persist.save({{'w': numpy.arange(9.0)}}, {target!r})"
    command = "from persist._cli import main; main({})"
    return [
        Row(BASE, BASE),
        Row("nothing", "pass"),
        Row("import persist", "import persist", 0.35),
        Row("persist --help", f"import sys; {command.format(['--help'])}", 0.45),
        *opened,
        Row("open it, and list its arrays", f"import persist; list(persist.open({container!r}).arrays)"),
        Row("load a container", f"import persist; persist.load({container!r})", 1.8),
        Row("save a container", save, 1.8),
        Row("persist inspect FILE", command.format(["inspect", container])),
    ]  # fmt: skip


def files(folder: Path) -> dict[str, Path]:
    """Write one small file of each format."""
    state = {"w": np.arange(9.0), "b": np.zeros(3)}
    made = {
        kind: folder / f"net{suffix}"
        for kind, suffix in (
            ("pickle", ".pkl"), (".npy", ".npy"), ("container", ".persist"), (".pth", ".pth"),
            (".safetensors", ".safetensors"),
        )
    }  # fmt: skip
    made["pickle"].write_bytes(pickle.dumps({**state, "epoch": 3}))
    np.save(made[".npy"], state["w"])
    persist.save({**state, "epoch": 3}, made["container"], durable=False)
    persist.save(state, made[".pth"], format="torch", durable=False)
    persist.save(state, made[".safetensors"], format="safetensors", durable=False)
    try:
        import h5py
    except ImportError:  # it only writes the file; nothing here needs it to read one
        return made
    with h5py.File(folder / "net.h5", "w") as file:
        file.update(state)
    return {**made, ".h5": folder / "net.h5"}


def spent(code: str) -> float:
    """Run a process, and return its CPU seconds."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    silent = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    pid = os.posix_spawn(
        sys.executable, [sys.executable, "-c", code], environment, file_actions=[silent]
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"this failed: {code}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("row", nargs="*", help="only rows whose name begins so")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER")) as name:
        found = [
            row for row in rows(Path(name))
            if row.name == BASE or not options.row or row.name.startswith(tuple(options.row))
        ]  # fmt: skip
        for row in found:  # bytecode, and the files themselves, into their caches
            spent(row.code)
        times: dict[str, list[float]] = {row.name: [] for row in found}
        for _ in range(options.rounds):
            for row in found:
                times[row.name].append(spent(row.code))
    base = statistics.median(times[BASE])
    for row in found:
        median = statistics.median(times[row.name])
        wanted = "" if row.wanted is None else f"   wanted {row.wanted:.2f}"
        print(f"{row.name:<30}{1e3 * median:>9.1f} ms{median / base:>7.2f}{wanted}")


if __name__ == "__main__":
    main()
