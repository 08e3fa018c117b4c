"""How fast the container is, beside the formats that people use; makes ``docs/performance.md``.

    python benchmarks/container.py                      prints the table
    python benchmarks/container.py --page docs/performance.md
    python benchmarks/container.py --quick              smaller work, fewer rounds

All variants of a row run in turn, round by round, in one process; a figure is the median of the
ratios to the row's base in the same round, of the process's own CPU time. Files lie in memory
(``/dev/shm``), so that the disk's noise is not measured. Formats that are not installed are left out.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import pickle
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import instances
import numpy as np

import persist
from persist import _container
from persist._container import checksums

Variants = dict[str, Callable[[], Any]]
MIB = 1 << 20


class Row:
    """One work: its variants, the first of which is the base, and what is wanted of the container.

    What is to be done before all, and before each variant, is not measured.
    """

    def __init__(
        self,
        name: str,
        variants: Variants,
        wanted: str,
        prepare: Callable[[], Any] | None = None,
        reset: Callable[[], Any] | None = None,
    ) -> None:
        self.prepare = prepare
        self.reset = reset
        self.name = name
        self.variants = variants
        self.wanted = wanted
        self.times: dict[str, list[float]] = {name: [] for name in variants}

    def run(self, rounds: int) -> None:
        if self.prepare is not None:
            self.prepare()
        for number in range(rounds + 1):
            for name, work in self.variants.items():
                if self.reset is not None:
                    self.reset()
                gc.collect()
                start = time.process_time()
                kept = work()
                passed = time.process_time() - start
                del kept
                if number:  # the first round warms up
                    self.times[name].append(passed)

    def ratio(self, name: str, base: str) -> float:
        pairs = zip(self.times[name], self.times[base], strict=True)
        return statistics.median(own / max(other, 1e-9) for own, other in pairs)

    def line(self) -> str:
        base = next(iter(self.variants))
        best = min(self.times[base])
        cells = [f"{name} {self.ratio(name, base):.2f}" for name in list(self.variants)[1:]]
        return f"| {self.name} | {base}: {_shown(best)} | {', '.join(cells)} | {self.wanted} |"


def _shown(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def write(tree: Any, path: Path, **options: Any) -> None:
    _container.write(tree, path, durable=False, **options)


def pickled(tree: Any, path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(tree, file, 5)


def with_zlib(tree: Any, path: Path) -> None:
    """As without the extra ``fast``."""
    import zlib

    from persist._container.reading import store
    from persist._container.writing import writer

    fast = checksums.crc32
    for module in (checksums, store, writer):
        module.crc32 = zlib.crc32
    try:
        write(tree, path, digest=False)
    finally:
        for module in (checksums, store, writer):
            module.crc32 = fast


def raw_write(arrays: list[np.ndarray], path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for array in arrays:
            for at in range(0, array.nbytes, MIB):
                file.write(array.view(np.uint8)[at : at + MIB])


def looked(array: Any) -> int:
    """Look at every byte of an array."""
    return int(np.bitwise_xor.reduce(np.asarray(array).view(np.uint64)))


def touched(tree: dict[str, Any]) -> int:
    return sum(looked(array) for array in tree.values())


def safetensors() -> Any:
    return (
        importlib.import_module("safetensors.numpy")
        if importlib.util.find_spec("safetensors")
        else None
    )


def big_rows(folder: Path, sizes: list[int], what: str) -> list[Row]:
    rng = np.random.default_rng(0)
    tree = {f"x{n}": rng.integers(0, 255, size, "u1").view("<f4") for n, size in enumerate(sizes)}
    arrays = list(tree.values())
    raw, own, npz, pkl, tensors = (
        folder / f"{what}.{s}" for s in ("raw", "persist", "npz", "pkl", "st")
    )
    save: Variants = {
        "one raw write": lambda: raw_write(arrays, raw),
        "persist, CRC": lambda: write(tree, own, digest=False),
        "persist, CRC and XXH3": lambda: write(tree, own),
        "persist without `fast`": lambda: with_zlib(tree, own),
        "np.savez": lambda: np.savez(npz, **tree),
        "pickle 5": lambda: pickled(tree, pkl),
    }
    other = safetensors()
    if other:
        save["safetensors"] = lambda: other.save_file(tree, tensors)
    rows = [Row(f"save {what}", save, "1.10; 1.20 with a digest; 1.65 without `fast`")]
    npys = [folder / f"x{n}.npy" for n in range(len(arrays))]
    for npy, array in zip(npys, arrays, strict=True):
        np.save(npy, array)

    def load_npz() -> int:
        with np.load(npz) as found:
            return touched({name: found[name] for name in found.files})

    load: Variants = {
        "np.load mapped": lambda: sum(looked(np.load(npy, mmap_mode="r")) for npy in npys),
        "persist, mapped": lambda: touched(_container.read(own)[0]),
        "persist, verified": lambda: touched(_container.read(own, verify="lazy")[0]),
        "np.load of npz": load_npz,
    }
    if other:
        load["safetensors"] = lambda: touched(other.load_file(tensors))
    wanted = "mapped 1.10 x np.load mapped; verified 1.20 x that"
    rows.append(Row(f"load {what} and look at each byte", load, wanted))
    copied: Variants = {
        "one readinto": lambda: looked(read_once(own)),
        "persist.load, mmap=False, verified": lambda: touched(persist.load(own, mmap=False)),
        "persist.load, mmap=False, verify='never'": lambda: touched(
            persist.load(own, mmap=False, verify="never")
        ),
    }
    rows.append(Row(f"load {what}, copied, and look at each byte", copied, "1.10"))
    return rows


def read_once(path: Path) -> np.ndarray:
    data = np.empty(path.stat().st_size // 8 * 8, np.uint8)
    with path.open("rb", buffering=0) as file:
        at = 0
        while count := file.readinto(data[at:].data):
            at += count
    return data


def many_rows(folder: Path, count: int) -> list[Row]:
    tree = {f"layer{n}/w": np.full(256, n, "<f4") for n in range(count)}
    own, npz, pkl, tensors = (folder / f"many.{s}" for s in ("persist", "npz", "pkl", "st"))
    each = folder / "each.persist"
    other = safetensors()
    save: Variants = {
        "np.savez": lambda: np.savez(npz, **tree),
        "persist": lambda: write(tree, own),
        "persist, pack=False": lambda: write(tree, each, pack=False),
        "pickle 5": lambda: pickled(tree, pkl),
    }

    def load_npz() -> Any:
        with np.load(npz) as found:
            return {name: found[name] for name in found.files}

    def first_of_npz() -> Any:
        with np.load(npz) as found:
            return found["layer77/w"]

    def first_of(path: Path) -> Any:
        with persist.open(path) as file:
            return file.arrays["layer77/w"].sum()

    load: Variants = {
        "np.load": load_npz,
        "persist": lambda: _container.read(own)[0],
        "persist, pack=False": lambda: _container.read(each)[0],
        "pickle 5": lambda: pickle.loads(pkl.read_bytes()),
    }
    one: Variants = {
        "np.load": first_of_npz,
        "persist": lambda: first_of(own),
        "persist, pack=False": lambda: first_of(each),
    }
    if other:
        save["safetensors"] = lambda: other.save_file(tree, tensors)
        load["safetensors"] = lambda: other.load_file(tensors)
        one["safetensors"] = lambda: _first_of(tensors)
    name = f"{count:,} arrays of 256 floats"
    return [
        Row(f"save {name}", save, "1/7 of np.savez; 0.75 x safetensors"),
        Row(f"load {name}", load, "1/20 of np.load; 0.5 x safetensors"),
        Row(f"open {name}, read one", one, "under 1 ms; 1/100 of np.load"),
    ]


def _first_of(path: Path) -> Any:
    from safetensors import safe_open

    with safe_open(path, "numpy") as found:
        return found.get_tensor("layer77/w")


def object_rows(folder: Path, count: int) -> list[Row]:
    """Instances of classes: ours of declared ones, pickle's of the same without declaration."""
    own, old, pkl = (folder / name for name in ("objects.persist", "old.persist", "objects.pkl"))

    def loaded() -> Any:
        with pkl.open("rb") as file:
            return pickle.load(file)

    rows = []
    for work in instances.works(count):

        def save(work: instances.Work = work) -> None:
            persist.save(work.ours, own, durable=False)

        def dump(work: instances.Work = work) -> None:
            pickled(work.plain, pkl)

        rows.append(Row(f"save {work.name}", {"pickle 5": dump, "persist": save}, work.wanted_save))
        load: Variants = {"pickle 5": loaded, "persist": lambda: persist.load(own)}
        rows.append(Row(f"load {work.name}", load, work.wanted_load))
    plain, records, name = instances.older(count)

    def prepare() -> None:
        pickled(plain, pkl)
        write(records, old)

    load = {"pickle 5 and `__setstate__`": loaded, "persist": lambda: persist.load(old)}
    rows.append(Row(f"load {name}", load, "0.6", prepare))
    return rows


def in_place_row(folder: Path, size: int) -> Row:
    """Fields renamed in a file of one large array, beside that file replaced by a copy of itself."""
    path, copy, first = (folder / f"{name}.persist" for name in ("renamed", "copy", "first"))
    record, registry = instances.renamed(size)

    def replaced() -> None:
        shutil.copyfile(path, copy)
        copy.replace(path)

    variants: Variants = {
        "a copy in its place": replaced,
        "persist upgrade --in-place": lambda: instances.upgraded_in_place(path, registry),
    }
    name = f"rename the fields of 1 x {size // MIB} MiB, in place"
    return Row(
        name,
        variants,
        "1.1; under 20 ms where files share bytes",
        lambda: write(record, first),
        lambda: shutil.copyfile(first, path),
    )


MEMORY = """
import resource, sys, numpy as np
from persist import _container
from persist._api.load import load
what, path = sys.argv[1:]
_container.write({"x": np.ones(3)}, f"{path}.small", durable=False)  # imports, once
load(f"{path}.small")
tree = {f"x{n}": np.ones(1 << 18, "f4") for n in range(300)} if what == "save" else None
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
open("/proc/self/clear_refs", "w").write("5")
before = peak()
if what == "save":
    _container.write(tree, path, durable=False)
elif what == "load":
    import persist
    tree = persist.load(path, mmap=False)
    before += 300 * 1024
else:
    from persist._wire.base.source import open_source
    store = _container.Store(open_source(path))
    store.whole(store.find("x7")).sum()
print((peak() - before) / 1024)
"""


def memory_lines(folder: Path) -> list[str]:
    """Peaks beyond what was there before, of a process each; Linux only."""
    if not Path("/proc/self/clear_refs").exists():
        return []
    path = folder / "memory.persist"
    lines = []
    for what, name in (
        ("save", "save 300 x 1 MiB"),
        ("load", "load them, copied"),
        ("one", "open it and read one array"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, what, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            lines.append(f"| {name} | {float(done.stdout):.1f} MiB | 8 MiB |")
    return lines


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":")[1].strip()
            for line in info.read_text().splitlines()
            if "model name" in line
        ]
        cpu = f"{len(names)} x {names[0]}" if names else cpu
    fast = checksums.crc32.__module__ or "zlib"
    return (
        f"{cpu}; {platform.system()} {platform.release().partition('-')[0]}; "
        f"Python {platform.python_version()}, NumPy {np.__version__}; CRC-32 of {fast}"
    )


PAGE = """# How fast the container is

Made by `make bench`, that is `python benchmarks/container.py --page docs/performance.md`; do not edit by hand.

{machine}.

Each figure is the median of the ratios to the row's base within one round, of {rounds} rounds in which all
variants take turns; CPU time of the process; files in memory. 1.00 is as fast as the base, less is faster.
*Wanted* says what the container set out to reach; ratios of one machine are a hint for another, no promise.

| work | base | ratio to it | wanted |
|---|---|---|---|
{rows}

| memory beyond the data, at the peak | | wanted |
|---|---|---|
{memory}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--page", type=Path, help="write the table here")
    parser.add_argument(
        "--folder", type=Path, help="where the files are; in memory, if there is such a place"
    )
    parser.add_argument("--quick", action="store_true", help="smaller work, fewer rounds")
    parser.add_argument("--size", type=int, default=256, help="MiB of the one big array")
    args = parser.parse_args()
    rounds = 2 if args.quick else 7
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=args.folder or (memory if memory.is_dir() else None)))
    try:
        size, few, many, objects = (
            (64, 40, 2000, 10_000) if args.quick else (args.size, 300, 20_000, 100_000)
        )
        lines = []
        for rows in (
            lambda: big_rows(folder, [size * MIB], f"1 x {size} MiB"),
            lambda: big_rows(folder, [MIB] * few, f"{few} x 1 MiB"),
            lambda: many_rows(folder, many),
            lambda: object_rows(folder, objects),
            lambda: [in_place_row(folder, size * MIB)],
        ):
            for row in rows():
                row.run(rounds)
                lines.append(row.line())
                print(lines[-1], flush=True)
        found = memory_lines(folder)
        print(*found, sep="\n")
    finally:
        shutil.rmtree(folder)
    if args.page:
        page = PAGE.format(
            machine=machine(), rounds=rounds, rows="\n".join(lines), memory="\n".join(found)
        )
        args.page.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
