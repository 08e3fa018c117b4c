"""Damage one genuine case in many ways, and report what became of each: run by test_contract.py.

    python damage.py CASE_FOLDER FILE SECONDS

Runs in a process of its own, since what it looks for is a crash, a hang, memory without bounds,
and things that must not happen at all: a process started, a socket, a file opened elsewhere or
for writing, an import by a name in the file. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import persist
from persist.errors import FormatError, FutureVersionError, MissingExtraError

MEMORY = 1 << 30  # over what the process has when it begins
LATE = 10  # seconds of the processor for one file
KEPT = 5  # faults that are reported

STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn")
KNOWN = {
    *sys.stdlib_module_names,
    *("persist", "numpy", "attr", "attrs", "packaging"),
    *("h5py", "yaml", "ml_dtypes", "crc32c", "lz4", "zstandard", "isal", "xxhash", "blake3", "fsspec"),
}  # fmt: skip


class Watch:
    """Notes what must not happen while a file is read."""

    def __init__(self, folder: Path) -> None:
        self.hits: list[str] = []
        self.on = False
        roots = [folder, Path(sys.prefix), Path(sys.base_prefix), Path(persist.__file__).parents[1]]
        self.roots = tuple(str(root.resolve()) for root in roots)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in STARTS or event.startswith(("socket.", "pickle.", "ctypes.")):
            self.hits.append(f"{event} {args!r:.80}")
        elif event == "import" and str(args[0]).partition(".")[0] not in KNOWN:
            self.hits.append(f"import of {args[0]}")
        elif event == "open" and isinstance(args[0], str | bytes):
            path, mode = os.path.realpath(os.fsdecode(args[0])), str(args[1] or "r")
            writes = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if set(mode) & set("wax+") or writes or not path.startswith(self.roots):
                self.hits.append(f"open of {path} ({mode})")


def variants(data: bytes, seed: int) -> Iterator[tuple[str, bytes]]:
    """Every truncation of a small file, many of a large one, and flipped, lost, doubled bytes."""
    chance = random.Random(seed)
    lengths = range(len(data))
    if len(data) > 1500:
        lengths = sorted({*range(300), *chance.sample(range(len(data)), 900), len(data) - 1})
    cuts = [(f"cut at {length}", data[:length]) for length in lengths]
    flips = []
    for number in range(3000):
        changed = bytearray(data)
        reported = []
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            if not changed:
                break
            # Headers and directories stand at either end.
            near = chance.choice((256, 2048, len(data)))
            at = chance.randrange(min(near, len(changed)))
            at = at if chance.random() < 0.6 else len(changed) - 1 - at
            way = chance.randrange(5)
            if way == 0:
                changed[at] ^= 1 << chance.randrange(8)
            elif way == 1:
                changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            elif way == 2:
                changed[at] = chance.randrange(256)
            elif way == 3:
                del changed[at : at + chance.randrange(1, 9)]
            else:
                changed[at:at] = changed[at : at + chance.randrange(1, 9)]
            reported.append(f"{way} at {at}")
        flips.append((f"change {number}: {', '.join(reported)}", bytes(changed)))
    # In turn, so that a budget of time that ends cuts both.
    while cuts or flips:
        for kind in (cuts, flips, flips):
            if kind:
                yield kind.pop(0)


def look(source: object) -> None:
    """Look at all that a file has."""
    with persist.open(source) as file:
        str(file)
        json.dumps(file.structure, default=repr)
        for name in file.arrays:
            np.asarray(file.arrays[name])
        for name in file.scalars:
            _ = file.scalars[name]


def late(signum: int, frame: object) -> None:
    raise TimeoutError(f"over {LATE} s")


def main(case: str, name: str, seconds: float) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    work = Path(tempfile.mkdtemp(prefix="damage-"))
    folder = work / "case"
    shutil.copytree(case, folder)
    target = folder / name
    parts = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    parts = [path for path in parts if path.name != "expected.json"]
    alone = parts == [target]
    damaged = [target] if target.is_file() else parts
    result: dict[str, Any] = {"tried": 0, "refused": 0, "faults": []}
    watch = Watch(work)
    sys.addaudithook(watch)
    signal.signal(signal.SIGPROF, late)
    try:
        look(target)  # what is imported when it is needed is imported now
    except MissingExtraError as error:
        return {**result, "missing": str(error)}
    here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (here + MEMORY, here + MEMORY))
    ends = time.process_time() + seconds
    for seed, path in enumerate(damaged):
        pristine = path.read_bytes()
        share = time.process_time() + (ends - time.process_time()) / (len(damaged) - seed)
        for what, data in variants(pristine, seed):
            if time.process_time() > share or len(result["faults"]) >= KEPT:
                break
            result["tried"] += 1
            if not alone:
                path.write_bytes(data)
            signal.setitimer(signal.ITIMER_PROF, LATE)
            watch.on = True
            try:
                look(data if alone else target)
            except (FormatError, FutureVersionError):
                result["refused"] += 1
            except FileNotFoundError:
                if data:  # an empty part of a checkpoint may be as good as none
                    result["faults"].append(f"{what}: FileNotFoundError")
            except BaseException as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(last.filename).name}:{last.lineno}"
                reported = f"{what}: {type(error).__name__} at {place}: {error!s:.200}"
                result["faults"].append(reported)
            finally:
                watch.on = False
                signal.setitimer(signal.ITIMER_PROF, 0)
            if watch.hits:
                result["faults"].append(f"{what}: {watch.hits[0]}")
                watch.hits.clear()
        path.write_bytes(pristine)
    shutil.rmtree(work)
    return result


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
