"""Write a file in another format, as it is: nothing is upgraded, no class is made.

npz and safetensors hold arrays alone; what else the file has is counted and left out.
A folder of files is walked through, and its tree of folders kept under --out; what is of the
format already is left as it is.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["add", "run"]

_ENDINGS = {"persist": ".persist", "pickle": ".pkl", "npz": ".npz", "safetensors": ".safetensors"}
_ARRAYS_ONLY = ("npz", "safetensors")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, folder, prefix or URL")
    parser.add_argument("--to", required=True, choices=sorted(_ENDINGS), help="the format to write")
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="where to: a file, of a folder of files another folder (default: beside, with its suffix)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite a file that exists")
    parser.add_argument("--protocol", type=int, choices=range(6), help="of --to pickle (default 4)")


def run(args: argparse.Namespace) -> int:
    """Convert every file; 1 if any failed."""
    import sys

    import persist
    from persist._cli import _written
    from persist._cli._each import each
    from persist._cli._folders import found
    from persist._cli._out import show
    from persist.errors import PersistError

    if args.out and len(args.files) > 1:
        print("persist: --out names one file, and several are given", file=sys.stderr)
        return 2

    def one(name: str, inside: Path | None = None) -> None:
        target = Path(args.out or name.rstrip("/") + _ENDINGS[args.to])
        if args.out and inside is not None:
            target = target / inside.with_name(inside.name + _ENDINGS[args.to])
        if target.exists() and not args.force:
            raise PersistError(f"{target} exists.", file=name, remedy="Overwrite it with --force.")
        with persist.open(name) as file:
            if inside is not None and file.format == args.to:
                return
            if inside is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
            value, left_out = _value(file, args.to)
            lost = [f"{left_out:,} values that are no arrays are left out"] if left_out else []
            options = {} if args.protocol is None else {"protocol": args.protocol}
            if _written.save(value, target, file, format=args.to, **options):
                lost.append("its metadata is left out")
        note = f"  ({'; '.join(lost)})" if lost else ""
        show(f"{name} -> {target}{note}")

    places: dict[str, Path] = {}

    def files() -> Iterator[str]:
        for name in args.files:
            if os.path.isdir(name):
                out = () if args.out is None else (Path(args.out),)
                for path, inside in found(Path(name), out):
                    if path != Path(name):
                        places[str(path)] = inside
                    yield str(path)
            else:
                yield name

    every = list(files())
    return each(every, lambda name: one(name, places.get(name)), known_only=places.keys())


def _value(file: File, format: str) -> tuple[Any, int]:
    """What is written of a file, and how much of it is not."""
    import numpy as np

    from persist._wire.torch.quantized import expanded
    from persist.tree import LazyArray

    if format not in _ARRAYS_ONLY:
        return file.tree, 0
    arrays: dict[str, Any] = dict(file.arrays)
    arrays = expanded(arrays)
    # safetensors keeps types that NumPy lacks: its writer takes their elements as they are stored.
    arrays = {
        path: array
        if format == "safetensors" and isinstance(array, LazyArray)
        else np.asarray(array)
        for path, array in arrays.items()
    }
    arrays = {path: array for path, array in arrays.items() if not array.dtype.hasobject}
    return arrays, sum(path not in arrays for path in file.scalars)
