"""Write the matrix of docs/howto/keras.md from ``tests/foundry/keras/outcomes.tsv``: ``python docs/make_keras.py``."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[1]
TABLE = TOP / "tests" / "foundry" / "keras" / "outcomes.tsv"
TARGET = TOP / "docs" / "howto" / "keras.md"
BEGIN, END = "<!-- the matrix: docs/make_keras.py -->\n", "<!-- end of the matrix -->\n"
SIGNS = {"equal": "=", "composed": "c", "refused": "x"}
ORDER = re.compile(r"-(th|tf|channels_first|channels_last)(?=-|$)")


def rows() -> dict[tuple[str, str], str]:
    """(case, release) -> outcome."""
    lines = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    return {(name, release): text for release, name, text in lines}


def matrix() -> str:
    """Return the matrix and the reasons under it."""
    found = rows()
    releases = list(dict.fromkeys(release for _, release in found))
    kinds: dict[str, dict[str, set[str]]] = {}
    reasons: dict[str, None] = {}
    for (name, release), text in sorted(found.items()):
        outcome, _, reason = text.partition(": ")
        kinds.setdefault(_kind(name), {}).setdefault(release, set()).add(SIGNS[outcome])
        if reason:
            reasons.setdefault(
                reason.partition(" with pool_size")[0] if "pool_size" in reason else reason
            )
    heads = [release.replace("keras-", "", 1).replace("tf.", "tf ") for release in releases]
    lines = [f"| case | {' | '.join(heads)} |", "|---" * (len(releases) + 1) + "|"]
    for kind, own in kinds.items():
        cells = ["".join(sorted(own.get(release, ()))) for release in releases]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    listed = "\n".join(f"- {reason.rstrip('.')}." for reason in sorted(reasons))
    return "\n".join(lines) + "\n\nRefused, with the reason:\n\n" + listed + "\n"


def _kind(name: str) -> str:
    """A case without its order of axes, sizes and strides."""
    name = ORDER.sub("", re.sub(r"-(h5|keras)$", "", name))
    name = re.sub(r"-\d(-stride\d)?$", "", name)
    return re.sub(r"^(dense|activation)-.*", r"\1", name).rstrip("-")


def page() -> str:
    """Return the page with the matrix of today."""
    before, _, rest = TARGET.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{matrix()}{END}{after}"


if __name__ == "__main__":
    TARGET.write_text(page())
