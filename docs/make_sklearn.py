"""Write the table of docs/howto/sklearn.md: ``python docs/make_sklearn.py``.

The table is made from ``tests/foundry/sklearn/matrix.tsv``, in which the tests with a genuine
scikit-learn hold what each estimator of each release answered.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "howto" / "sklearn.md"
MATRIX = HERE.parent / "tests" / "foundry" / "sklearn" / "matrix.tsv"
BEGIN, END = "<!-- the table begins -->\n", "<!-- the table ends -->\n"


def table() -> str:
    """Return the table, and the reasons below it."""
    rows = [line.split("\t") for line in MATRIX.read_text(encoding="utf-8").splitlines()]
    numbers: dict[str, int] = {}
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    for name, *verdicts in rows[1:]:
        lines.append(
            "| " + " | ".join([f"`{name}`", *(_cell(one, numbers) for one in verdicts)]) + " |"
        )
    reasons = [f"{number}. {reason}" for reason, number in numbers.items()]
    return "\n".join([*lines, "", "Refused:", "", *reasons]) + "\n"


def _cell(verdict: str, numbers: dict[str, int]) -> str:
    if verdict == "equal":
        return "="
    reason = verdict.partition(": ")[2]
    return f"({numbers.setdefault(reason, len(numbers) + 1)})" if reason else ""


def page() -> str:
    """Return the whole page, with the table made anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
