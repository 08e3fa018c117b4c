"""Give pickles to C's and Python's unpickler, to `pickletools`, and to our machine; print what each made of them.

``python tests/hostile/unpicklers.py COUNT SEED`` prints one JSON object a pickle on which they differ: its bytes in
hexadecimal and four outcomes, each the value as text, or the error. It runs in a process of its own, since the
unpicklers of CPython can be made to allocate and to crash.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import pickletools
import random
import resource
import sys
import warnings
from typing import Any

from mutations import _pickle

from persist.errors import PersistError

VALUES: list[Any] = [
    None, True, [1, 2.5, "x", b"y"], {"a": (1, 2, 3), "b": {4}}, (), [[], {}, ()], -1, 2**70, -(2**40), "é\ud800", 1.5,
    float("inf"), bytearray(b"z"), frozenset([1]), {"k": [{"n": None}]}, ["same"] * 3, [255, 256, 65536, -129, 2**31],
]  # fmt: skip


def shared() -> Any:
    one: list[Any] = [1]
    one.append(one)
    return [one, one, {"it": one}]


def seeds() -> list[bytes]:
    return [pickle.dumps(value, protocol) for value in [*VALUES, shared()] for protocol in range(6)]


def text(value: Any, depth: int = 0, seen: dict[int, int] | None = None) -> str:
    """A value as text: types, and which objects are the same, and nothing of addresses."""
    seen = {} if seen is None else seen
    kind = type(value).__name__
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if not isinstance(value, list | dict | set | frozenset | tuple | bytearray):
        return f"{kind}:{value!r}"
    if depth > 60:
        return "..."
    if not isinstance(value, tuple | frozenset):
        if id(value) in seen:
            return f"#{seen[id(value)]}"
        seen[id(value)] = len(seen)
    if isinstance(value, dict):
        inner = [f"{text(k, depth + 1, seen)}={text(v, depth + 1, seen)}" for k, v in value.items()]
    elif isinstance(value, bytearray):
        inner = [repr(bytes(value))]
    else:
        inner = [text(item, depth + 1, seen) for item in value]
        if isinstance(value, set | frozenset):
            inner.sort()
    return f"{kind}({', '.join(inner)})"


class _Refusing(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError("no names here")


class _RefusingPython(pickle._Unpickler):  # type: ignore[name-defined,misc]
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError("no names here")


def outcome(load: Any) -> str:
    try:
        return f"= {text(load())}"
    except PersistError as error:
        return f"! {type(error).__name__}: {getattr(error, 'what', error)}"
    except MemoryError:
        return "! MemoryError"
    except Exception as error:
        return f"! {type(error).__name__}: {str(error)[:200]}"


def ours(data: bytes) -> Any:
    from persist._wire.base.source import open_source
    from persist._wire.npy.npy import plain_machine

    source = open_source(data)
    return plain_machine(source).load(source.cursor())


def outcomes(data: bytes) -> tuple[str, str, str, str]:
    """Of C, Python, pickletools, ours."""

    def looked() -> str:
        for _ in pickletools.genops(data):
            pass
        return "parsed"

    return (
        outcome(lambda: _Refusing(io.BytesIO(data)).load()),
        outcome(lambda: _RefusingPython(io.BytesIO(data)).load()),
        outcome(looked),
        outcome(lambda: ours(data)),
    )


def pickles(count: int, seed: int) -> Any:
    chance, known = random.Random(seed), seeds()
    for _ in range(count):
        data = chance.choice(known)
        for _ in range(chance.choice((1, 1, 2, 3, 5))):
            data = _pickle(data, chance)
        if len(data) < 400:
            yield data


def main() -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30,) * 2)
    total = 0
    for data in pickles(int(sys.argv[1]), int(sys.argv[2])):
        total += 1
        found = outcomes(data)
        if len({found[0], found[1], found[3]}) > 1 and not all(
            f[0] == "!" for f in (found[0], found[1], found[3])
        ):
            print(json.dumps([data.hex(), *found]), flush=True)
    print(json.dumps(total))


if __name__ == "__main__":
    main()
