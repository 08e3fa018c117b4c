"""How long a PyTorch file takes to open, to list and to read: here, in torch, in safetensors.

    python benchmarks/torch_files.py [--mib 256] [--tensors 300] [--small 20000] [--rounds 5]

All ways take turns in one process, on the same machine in the same minute; what counts is the
ratio in the last column, of each way's best round to ours. torch and safetensors are measured where
they are installed. Start-up is measured in processes of their own, since that is what a
command on one file waits for.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import persist

Way = tuple[str, Callable[[], Any]]

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_SAFETENSORS = importlib.util.find_spec("safetensors") is not None


def compare(title: str, ways: list[Way], rounds: int) -> None:
    """Let all ways take turns, and print the best of each."""
    best = dict.fromkeys((name for name, _ in ways), float("inf"))
    for _ in range(rounds):
        for name, way in ways:
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    print(f"\n{title}")
    ours = best[ways[0][0]]
    for name, seconds in best.items():
        print(f"  {name:<34}{1e3 * seconds:>12.2f} ms{seconds / ours:>10.2f}")


def touch(array: Any) -> int:
    """Read something of each page of an array."""
    values = np.asarray(array).reshape(-1).view(np.uint8)
    return int(values[::4096].sum())


def all_of(path: Path) -> int:
    with persist.open(path) as file:
        return sum(touch(file.arrays[name]) for name in file.arrays)


def one_of(path: Path, name: str) -> int:
    with persist.open(path) as file:
        return touch(file.arrays[name])


def names_of(path: Path) -> list[str]:
    with persist.open(path) as file:
        return list(file.arrays)


def in_torch(path: Path, how: Callable[[Any], Any], **options: Any) -> Way:
    import torch

    said = ", ".join(f"{name}={value}" for name, value in options.items())
    return f"torch.load({said})", lambda: how(torch.load(path, **options))


def torch_ways(path: Path, how: Callable[[Any], Any]) -> list[Way]:
    if not HAS_TORCH:
        return []
    return [
        in_torch(path, how, weights_only=only, mmap=mmap)
        for only in (True, False)
        for mmap in (True, False)
    ]


def safetensors_files(path: Path, name: str, rounds: int) -> None:
    """The same state as safetensors: here, and in that library."""
    ways: tuple[tuple[str, Callable[[Any], Any], Callable[[], Any]], ...] = (
        ("one tensor", lambda file: touch(file.get_tensor(name)), lambda: one_of(path, name)),
        ("all tensors", _all_safe, lambda: all_of(path)),
    )
    for what, theirs, ours in ways:
        others = safe_ways(path, theirs)
        if HAS_SAFETENSORS and what == "all tensors":
            from safetensors.numpy import load_file

            others.append(("safetensors.numpy.load_file", lambda: _touch_all(load_file(path))))
        compare(f"the same as safetensors: {what}", [("persist.open", ours), *others], rounds)


def _touch_all(tree: dict[str, Any]) -> int:
    return sum(map(touch, tree.values()))


def _all_safe(file: Any) -> int:
    return sum(touch(file.get_tensor(name)) for name in file.keys())  # noqa: SIM118


def safe_ways(path: Path, how: Callable[[Any], Any]) -> list[Way]:
    if not HAS_SAFETENSORS:
        return []
    from safetensors import safe_open

    def way() -> Any:
        with safe_open(path, "np") as file:
            return how(file)

    return [("safetensors.safe_open", way)]


def measure(title: str, state: dict[str, Any], folder: Path, rounds: int) -> None:
    """Write one state in both formats, and read it in every way."""
    path, safe = folder / "state.pt", folder / "state.safetensors"
    saves: list[Way] = [
        ("persist.save", lambda: persist.save(state, path, format="torch", durable=False))
    ]
    if HAS_TORCH:
        import torch

        live = {name: torch.from_numpy(array) for name, array in state.items()}
        saves.append(("torch.save", lambda: torch.save(live, folder / "theirs.pt")))
    compare(f"{title}: save", saves, rounds)
    persist.save(state, safe, format="safetensors", durable=False)
    some = list(state)[len(state) // 2]
    compare(
        f"{title}: open and list the names",
        [
            ("persist.open", lambda: names_of(path)),
            *torch_ways(path, list),
            *safe_ways(safe, lambda file: list(file.keys())),
        ],
        rounds,
    )
    compare(
        f"{title}: one tensor of {len(state):,}",
        [
            ("persist.open", lambda: one_of(path, some)),
            *torch_ways(path, lambda tree: touch(tree[some])),
            *safe_ways(safe, lambda file: touch(file.get_tensor(some))),
        ],
        rounds,
    )
    compare(
        f"{title}: all tensors, a byte of each page",
        [
            ("persist.open", lambda: all_of(path)),
            *torch_ways(path, lambda tree: sum(map(touch, tree.values()))),
            *safe_ways(safe, _all_safe),
        ],
        rounds,
    )
    safetensors_files(safe, some, rounds)


def start_up(path: Path, rounds: int) -> None:
    """A process that imports what it needs, and lists a file."""

    def run(code: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, "-c", code, str(path)], check=True)

    ours = "import sys, persist; list(persist.open(sys.argv[1]).arrays)"
    theirs = "import sys, torch; list(torch.load(sys.argv[1], weights_only=True))"
    ways = [("import persist, and open", run(ours))]
    if HAS_TORCH:
        ways.append(("import torch, and load", run(theirs)))
    compare("a process of its own", ways, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--tensors", type=int, default=300)
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size = options.mib * (1 << 20) // 4 // options.tensors
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER")) as name:
        folder = Path(name)
        large = {f"layer{n}.weight": np.full(size, n, "f4") for n in range(options.tensors)}
        measure(f"{options.tensors} tensors of {options.mib} MiB", large, folder, options.rounds)
        del large
        small = {f"layer{n}.bias": np.full(256, n, "f4") for n in range(options.small)}
        measure(f"{options.small:,} tensors of 1 KiB", small, folder, options.rounds)
        few = {f"layer{n}.bias": np.full(16, n, "f4") for n in range(20)}
        persist.save(few, folder / "few.pt", format="torch", durable=False)
        start_up(folder / "few.pt", options.rounds)


if __name__ == "__main__":
    main()
