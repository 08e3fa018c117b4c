"""Write what a test run has counted into docs/security.md.

::

    export PERSIST_COUNTS=/tmp/counts
    make test-slow ARGS="tests/container tests/hostile tests/api/test_repair.py"
    .ci/fuzz 300
    python tests/hostile/page.py /tmp/counts

The table of the readers is measured anew, unless ``--counts-only`` is given.
"""

from __future__ import annotations

import collections
import json
import re
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"


def main() -> None:
    counts: collections.Counter[str] = collections.Counter()
    for line in Path(sys.argv[1]).read_text("utf-8").splitlines():
        what, number = json.loads(line)
        counts[what] += number
    rows = [f"| {what} | {number:,} |" for what, number in sorted(counts.items())]
    blocks = {"counts": "\n".join(["| tried | number |", "|---|---|", *rows])}
    if "--counts-only" not in sys.argv:
        import matrix
        from of_readers import measured, table

        with tempfile.TemporaryDirectory() as name:
            found = measured(Path(name))
        blocks["readers"] = table(found)
        blocks["matrix"] = matrix.table({row.reader: row.attacks for row in found})
    page = PAGE.read_text("utf-8")
    for name, text in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)
        assert pattern.search(page), name
        page = pattern.sub(lambda found, text=text: found[1] + text + found[2], page)  # type: ignore[misc]
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
