"""How many calls, functions and files one `persist.load` takes: what a reader of the code has to follow.

    python benchmarks/trace_load.py             prints the counts, warm
    python benchmarks/trace_load.py --hops      and each switch between files, in order

The case is that of the README: a pickle of Python 2.7 whose class moved (an alias), a stamp that finds the
version, and two migrations. Calls of functions of this package are counted, not those of built-in
functions and of other libraries.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import persist
from persist import ops

OLD = Path(__file__).parents[1] / "tests/corpus/pickle/pickle-evolution-gen1/logreg_v1.pkl"
PACKAGE = str(Path(persist.__file__).parent)


@attrs.define(eq=False)
class LogReg(persist.Versioned, version=3, schema="lab.LogReg"):
    """The README's class."""

    weights: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any]
    activation: str = "softmax"


persist.migration(LogReg, 1, ops.unpack("weights", "bias"))
persist.migration(LogReg, 2, ops.add("activation", "softmax"))
persist.alias("logreg.LogReg", LogReg)


@persist.stamp(LogReg)
def by_shape(state: Any) -> int:
    """The version of an old state."""
    return 1 if isinstance(state, tuple) else 2


class Trace:
    """Counts the calls of functions of the package.

    Attributes:
        calls: of all functions.
        functions: the code objects that were called.
        hops: (file, file) for each time that control changes the file, calls and returns alike.
        depth: the deepest call.
    """

    def __init__(self) -> None:
        self.calls = self.depth = 0
        self.functions: Counter[Any] = Counter()
        self.hops: list[tuple[str, str]] = []
        self._stack: list[str] = []

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        file = frame.f_code.co_filename
        if not file.startswith((PACKAGE, "<persist generated")):
            return
        if event == "call":
            self.calls += 1
            self.functions[frame.f_code] += 1
            self._go(file)
            self._stack.append(file)
            self.depth = max(self.depth, len(self._stack))
        elif event == "return" and self._stack:
            self._stack.pop()
            self._go(self._stack[-1] if self._stack else file, file)

    def _go(self, to: str, start: str = "") -> None:
        before = start or (self._stack[-1] if self._stack else to)
        if before != to:
            self.hops.append((before, to))

    @property
    def files(self) -> set[str]:
        """The files with functions that were called."""
        return {code.co_filename for code in self.functions}


def traced(source: Any, times: int = 20) -> Trace:
    """Load a source many times, and trace the last."""
    for _ in range(times):
        persist.load(source)
    trace = Trace()
    sys.setprofile(trace)
    try:
        persist.load(source)
    finally:
        sys.setprofile(None)
    return trace


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hops", action="store_true", help="and each change of the file")
    parser.add_argument("--calls", action="store_true", help="and each function")
    options = parser.parse_args()
    trace = traced(OLD)
    print(
        f"{trace.calls:,} calls of {len(trace.functions)} functions in {len(trace.files)} files; "
        f"control changes the file {len(trace.hops)} times; depth {trace.depth}"
    )
    if options.hops:
        for start, to in trace.hops:
            print(f"{start.removeprefix(PACKAGE)} -> {to.removeprefix(PACKAGE)}")
    if options.calls:
        for code, count in trace.functions.most_common():
            print(
                f"{count:>5} {code.co_filename.removeprefix(PACKAGE)}:{code.co_firstlineno} {code.co_qualname}"
            )


if __name__ == "__main__":
    main()
