"""What the first tensor of a 2 GiB checkpoint costs by URL: bytes and requests, counted by the servers.

    python benchmarks/remote.py          by HTTP
    python benchmarks/remote.py --s3     by S3, too (moto's server, in which the checkpoints are of 200 MiB)

Each checkpoint has 32 tensors of 64 MiB (by S3: 20 of 10 MiB).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import persist

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "urls"))
import servers

TENSOR, COUNT = 64 << 20, 32
MOST_BYTES, MOST_REQUESTS = 1 << 20, 6


def state(tensor: int, count: int) -> dict[str, np.ndarray]:
    """Return tensors of zeros, which take no memory, after one of ones."""
    first = {"layer00/w": np.ones(tensor // 4, "<f4")}
    return first | {f"layer{i:02}/w": np.zeros(tensor // 4, "<f4") for i in range(1, count)}


def make(folder: Path, tensor: int, count: int) -> list[Path]:
    """Write the checkpoints of each format."""
    found = []
    for format, suffix in (
        ("persist", ".persist"),
        ("torch", ".pt"),
        ("safetensors", ".safetensors"),
    ):
        path = folder / f"checkpoint{suffix}"
        persist.save(state(tensor, count), path, format=format, durable=False)
        found.append(path)
    return found


def measure(url: str, size: int, tensor: int, count: servers.Count, options: object = None) -> bool:
    """Read the first tensor, print what it cost, and return whether the limits hold."""
    count.clear()
    began = time.process_time()
    with persist.open(url, storage_options=options) as file:  # type: ignore[arg-type]
        array = np.asarray(file.arrays["layer00/w"])
    seconds = time.process_time() - began
    assert array.nbytes == tensor
    assert (array == 1).all()
    more, requests = count.sent - tensor, len(count.requests)
    fits = more <= MOST_BYTES and requests <= MOST_REQUESTS
    row = {"url": url.rpartition("/")[2], "scheme": url.partition(":")[0], "file": size}
    row |= {"tensor": tensor, "bytes beyond it": more, "requests": requests}
    print(json.dumps({**row, "cpu seconds": round(seconds, 2), "within the limits": fits}))
    return fits


def main() -> int:
    """Measure; 1 if a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--s3", action="store_true", help="by S3, too")
    args = parser.parse_args()
    fits = []
    with tempfile.TemporaryDirectory() as name:
        for path in make(Path(name), TENSOR, COUNT):
            with servers.web(path.parent) as (url, count):
                fits.append(measure(f"{url}/files/{path.name}", path.stat().st_size, TENSOR, count))
            path.unlink()
    if args.s3:
        tensor = 10 << 20
        with tempfile.TemporaryDirectory() as name, servers.s3() as (options, count):
            import fsspec

            for path in make(Path(name), tensor, 20):
                fsspec.filesystem("s3", **options).put_file(str(path), f"bucket/{path.name}")
                url = f"s3://bucket/{path.name}"
                fits.append(measure(url, path.stat().st_size, tensor, count, options))
    return 0 if all(fits) else 1


if __name__ == "__main__":
    sys.exit(main())
