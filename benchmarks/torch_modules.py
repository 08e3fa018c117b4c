"""How long a declared torch module takes to be saved and loaded, beside torch and safetensors.

    python benchmarks/torch_modules.py               256 MiB
    python benchmarks/torch_modules.py --size 1024   MiB

Needs torch and safetensors. `persist.save` and `persist.load` take the module; `torch.save` its state dict, which
``torch.load(mmap=True)`` and ``load_state_dict(assign=True)`` put into a module made on the device meta; so does
``safetensors.torch.load_file``. The rivals take turns in one process, on the clock; a ratio is ours to the better of
the other two, of medians. Files lie in memory (``/dev/shm``), and nobody waits for a disk. After each load every page
is read once, since a mapped file costs nothing until then; both times are printed. Memory is the highest resident set
during a turn beyond that before it (Linux).
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

import persist

MIB = 1 << 20
WIDTH = 1024  # a layer of 4 MiB


class Net(persist.Versioned, nn.Module, schema="bench.Net"):
    """Square layers, as many as fill the size."""

    persistent = ("layers",)

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.body = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(layers)))


def resident(name: str) -> int:
    """Return a number of ``/proc/self/status``, in bytes; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def timed(
    work: Callable[[], Any], after: Callable[[Any], Any] | None = None
) -> tuple[float, float, int]:
    """Return the seconds of some work, those with what comes after it, and the memory beyond that before it."""
    gc.collect()
    before = resident("VmRSS")
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # the highest resident set begins anew
    start = time.perf_counter()
    kept = work()
    passed = time.perf_counter() - start
    most = resident("VmHWM") - before
    if after is not None:
        after(kept)
    whole = time.perf_counter() - start
    del kept
    return passed, whole, most


def read_through(net: Any) -> float:
    """Read every page once."""
    return sum(float(one.detach().flatten()[::1024].sum()) for one in net.parameters())


def assigned(layers: int, state: dict[str, Any]) -> Any:
    with torch.device("meta"):
        net = Net(layers)
    net.load_state_dict(state, assign=True)
    return net


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, default=256, help="MiB")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    layers = given.size * MIB // (4 * WIDTH * (WIDTH + 1))
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    net = Net(layers)
    paths = {name: folder / f"net.{name}" for name in ("persist", "pt", "safetensors")}
    saves: dict[str, Callable[[], Any]] = {
        "persist": lambda: persist.save(net, paths["persist"], durable=False),
        "pt": lambda: torch.save(net.state_dict(), paths["pt"]),
        "safetensors": lambda: safetensors.torch.save_file(net.state_dict(), paths["safetensors"]),
    }
    loads: dict[str, Callable[[], Any]] = {
        "persist": lambda: persist.load(paths["persist"]),
        "pt": lambda: assigned(layers, torch.load(paths["pt"], mmap=True)),
        "safetensors": lambda: assigned(layers, safetensors.torch.load_file(paths["safetensors"])),
    }
    try:
        for title, works, after in (("save", saves, None), ("load", loads, read_through)):
            found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in works}
            for turn in range(given.rounds + 1):
                for name, work in works.items():
                    if title == "save":
                        paths[name].unlink(missing_ok=True)
                    row = timed(work, after)
                    if turn:  # the first makes what is made once
                        found[name].append(row)
            report(title, given.size, found, after is not None)
    finally:
        shutil.rmtree(folder)


def report(
    title: str, size: int, found: dict[str, list[tuple[float, float, int]]], is_read: bool
) -> None:
    """Print the medians of each rival, and the ratio."""
    for column, what in enumerate(("", " and read")[: 1 + is_read]):
        times = {
            name: statistics.median(row[column] for row in rows) for name, rows in found.items()
        }
        best = min(times[name] for name in times if name != "persist")
        shown = "  ".join(f"{name} {1000 * value:8.1f} ms" for name, value in times.items())
        print(f"{title}{what:9} {size} MiB  {shown}  ratio {times['persist'] / best:.2f}")
    memory = {name: max(row[2] for row in rows) / MIB for name, rows in found.items()}
    print(
        f"{title} memory    {'  '.join(f'{name} {value:8.1f} MiB' for name, value in memory.items())}"
    )


if __name__ == "__main__":
    main()
