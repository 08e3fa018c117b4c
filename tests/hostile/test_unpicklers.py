"""Our pickle machine beside CPython's two unpicklers and `pickletools`: each difference is a decision.

`DECISIONS` are all of them; docs/security.md explains them. A difference for none of these reasons fails, and so does
another value where CPython's two agree on one.
"""

from __future__ import annotations

import collections
import json
import pickle
import pickletools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from counting import note
from unpicklers import ours

import persist

SCRIPT = Path(__file__).with_name("unpicklers.py")

# Opcodes that we read and CPython's unpicklers refuse, when no name may be looked up.
KEPT = {
    "names stay names": {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX"},
    "persistent ids stay ids": {"PERSID", "BINPERSID"},
    "extension codes stay codes": {"EXT1", "EXT2", "EXT4"},
    "buffers outside of the file stay references": {"NEXT_BUFFER", "READONLY_BUFFER"},
    "a state is kept for whatever it is set on": {"BUILD"},
    "frames are hints": {"FRAME"},
}
# Errors of ours where one of CPython's unpicklers accepts the file.
REFUSED = {
    "numbers in text end where they end": ("invalid literal for int()", "could not convert"),
    "items are put into lists, dicts and sets only": ("items are appended to", "items are set on", "items are added to"),
    "no names of what is no text": ("STACK_GLOBAL",),
}  # fmt: skip
# CPython's C unpickler takes "-0" for False, and both refuse digits after a zero; no writer spells integers so.
ODD_INTEGER = re.compile(rb"I(?:[-+]0+|[-+]?0+\d+)\n")
DECIMAL = "integers in text are decimal, also after a sign or zeros"


def opcodes(data: bytes) -> set[str]:
    found = set()
    try:
        for op, _, _ in pickletools.genops(data):
            found.add(op.name)
    except Exception:  # what comes before the fault is enough
        pass
    return found


def decision(data: bytes, of_c: str, of_python: str, of_tools: str, own: str) -> str:
    """Why the outcomes differ, or "" where there is no reason."""
    ops = opcodes(data)
    is_read, agree = own[0] == "=", of_c == of_python
    if is_read and agree and of_c[0] == "=":
        return ""  # CPython's two agree on another value
    if is_read and ODD_INTEGER.search(data):
        return DECIMAL
    if is_read:
        if own in (of_c, of_python) and not ops & set().union(*KEPT.values()):
            return ""
        return next((why for why, names in KEPT.items() if ops & names), "")
    if "FRAME" in ops and not agree:
        return "frames are hints"
    return next((why for why, texts in REFUSED.items() if any(text in own for text in texts)), "")


def differences(count: int, seed: int) -> tuple[int, dict[str, int]]:
    """Compare so many pickles; return how many there were, and by decision how many differ."""
    run = subprocess.run(
        [sys.executable, str(SCRIPT), str(count), str(seed)],
        capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    *lines, total = run.stdout.splitlines()
    assert run.returncode == 0, run.stderr[-2000:]
    counts: collections.Counter[str] = collections.Counter()
    for line in lines:
        data, *outcomes = json.loads(line)
        why = decision(bytes.fromhex(data), *outcomes)
        assert why, (data, outcomes)
        counts[why] += 1
    note("pickles given to CPython's unpicklers and to ours", int(total))
    for why, number in counts.items():
        note(f"of these, other for a documented reason: {why}", number)
    return int(total), dict(counts)


def test_our_machine_differs_from_the_unpicklers_by_decision_only() -> None:
    total, counts = differences(1_000, 1)
    assert total > 900
    assert counts["names stay names"] > 5


@pytest.mark.slow
def test_so_it_does_on_many() -> None:
    total, counts = differences(20_000, 2)
    assert total > 18_000
    assert {*counts} <= {*KEPT, *REFUSED, DECIMAL}


@pytest.mark.parametrize("state", [b"N", b"NN\x86", b"N}\x86"])
def test_no_state_at_all_leaves_a_plain_value_as_it_is(state: bytes) -> None:
    """Found by comparing: CPython's two unpicklers give the number, and ours gave a record of it."""
    data = b"\x80\x02K\x07" + state + b"b."
    assert persist.load(data) == persist.open(data).tree == 7
    assert ours(data) == 7
    if state != b"NN\x86":  # C refuses that, Python does not
        assert pickle.loads(data) == 7


def test_a_state_of_a_plain_value_is_shown() -> None:
    tree = persist.open(b"\x80\x02K\x07}X\x01\x00\x00\x00aK\x01sb.").tree
    assert (tree.args, tree.state) == ((7,), {"a": 1})
