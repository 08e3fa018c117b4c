"""Hold the objects that `persist.load` makes against what the release that wrote them held.

python compare.py > matrix.tsv
"""

from __future__ import annotations

import io
import json
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import persist

HERE = Path(__file__).parent

# A coordinate of several levels is one for each level since 2022.6.
SAID_OTHERWISE = {"multi": ("coords", "indexes")}


def archives() -> list[Path]:
    """The archives of all releases, oldest first."""
    return sorted(HERE.glob("*.zip"), key=lambda path: [int(n) for n in path.stem.split(".")])


def cases(path: Path) -> Iterator[tuple[str, bytes, dict[str, Any], dict[str, Any]]]:
    """The name, pickle, description and values of each object of a release."""
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.namelist()):
            name, _, kind = member.rpartition(".")
            if kind == "pkl":
                with np.load(io.BytesIO(archive.read(f"{name}.npz"))) as values:
                    held = {key.removeprefix("v_"): value for key, value in values.items()}
                yield name, archive.read(member), json.loads(archive.read(f"{name}.json")), held


def verdict(make: Any, name: str, data: bytes, said: dict[str, Any], held: dict[str, Any]) -> str:
    """Say whether an object holds what it held: "equal", "refused: ...", or what differs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = persist.load(data)
    if isinstance(made, persist.Record):
        text = str(caught[0].message) if caught else ""
        reason = text.partition("can be made: ")[2].partition(". persist.open")[0]
        return f"refused: {reason}" if reason else f"a record, without a reason: {text}"
    today, values = make.described(made)
    today = json.loads(json.dumps(today))
    faults = [
        f"{key}: {today[key]} instead of {said[key]}"
        for key in said
        if today[key] != said[key] and key not in SAID_OTHERWISE.get(name, ())
    ]
    for key, one in held.items():
        one = one.astype("U") if one.dtype.kind == "S" else one  # text of Python 2
        if key not in values or not np.array_equal(
            values[key], one, equal_nan=one.dtype.kind == "f"
        ):
            faults.append(f"the values of {key!r} differ")
    return "; ".join(faults) or "equal"


def main() -> None:
    """Print the table."""
    sys.path.insert(0, str(HERE))
    make = __import__("make")
    table: dict[str, dict[str, str]] = {}
    for path in archives():
        for name, *rest in cases(path):
            table.setdefault(name, {})[path.stem] = verdict(make, name, *rest)
    columns = [path.stem for path in archives()]
    print("object", *columns, sep="\t")
    for name in sorted(table):
        print(name, *(table[name].get(column, "") for column in columns), sep="\t")


if __name__ == "__main__":
    main()
