"""Hold the graphs that `persist.load` makes against what the release that wrote them held.

python compare.py > matrix.tsv
"""

from __future__ import annotations

import json
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import persist

HERE = Path(__file__).parent


def archives() -> list[Path]:
    """The archives of all releases, oldest first."""
    return sorted(HERE.glob("*.zip"), key=lambda path: [int(n) for n in path.stem.split(".")])


def cases(path: Path) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """The name, pickle and description of each graph of a release."""
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.namelist()):
            name, _, kind = member.rpartition(".")
            if kind == "pkl":
                yield name, archive.read(member), json.loads(archive.read(f"{name}.json"))


def verdict(make: Any, data: bytes, recorded: dict[str, Any]) -> str:
    """Say whether a graph holds what it held: "equal", "refused: ...", or what differs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = persist.load(data)
    if isinstance(graph, persist.Record):
        text = str(caught[0].message) if caught else ""
        reason = text.partition("can be made: ")[2].partition(". persist.open")[0]
        return f"refused: {reason}" if reason else f"a record, without a reason: {text}"
    found = json.loads(json.dumps(make.described(graph)))
    # The order of nodes and edges was that of hashes before Python 3.6.
    return (
        "; ".join(
            f"{name} differ" for name in recorded if _sorted(found[name]) != _sorted(recorded[name])
        )
        or "equal"
    )


def _sorted(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    ends = [sorted(map(str, one[:2])) + one[2:] if len(one) == 4 else one for one in value]
    return sorted(json.dumps(one) for one in ends)


def main() -> None:
    """Print the table."""
    sys.path.insert(0, str(HERE))
    make = __import__("make")
    table: dict[str, dict[str, str]] = {}
    for path in archives():
        for name, data, recorded in cases(path):
            table.setdefault(name, {})[path.stem] = verdict(make, data, recorded)
    columns = [path.stem for path in archives()]
    print("graph", *columns, sep="\t")
    for name in sorted(table):
        print(name, *(table[name].get(column, "") for column in columns), sep="\t")


if __name__ == "__main__":
    main()
