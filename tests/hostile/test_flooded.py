"""Dicts and sets whose keys have one hash, many of them in one file: each key is compared with all before it."""

from __future__ import annotations

import gzip
import pickle
import struct
import time

import pytest
from attacks import P

import persist
from persist.errors import DamagedFileError, LimitError

PRIME = (1 << 61) - 1  # hash(n) of an int is n modulo this, see Objects/longobject.c


def flooded(keys: int, dicts: int) -> bytes:
    """So many dicts of the same keys, which have one hash."""
    made = b"".join(b"\x8a\x0a" + (number * PRIME).to_bytes(10, "little") + b"r" + struct.pack("<I", number)
                    for number in range(1, keys + 1))  # fmt: skip
    one = (
        b"}("
        + b"".join(b"j" + struct.pack("<I", number) + b"N" for number in range(1, keys + 1))
        + b"ua"
    )
    return P + b"](" + made + b"e" + one * dicts + b"."


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("keys", [600, 4000])
def test_many_dicts_of_colliding_keys_are_refused_soon(keys: int, pack: type) -> None:
    """1 MB of dicts of 4,000 keys, each below the limit of one dict, took 6 seconds of CPU."""
    data = pack(flooded(keys, 100))
    begin = time.process_time()
    for act in (persist.open, persist.load, persist.explain):
        with pytest.raises(LimitError, match="same hash"):
            act(data)
    assert time.process_time() - begin < 2


def test_few_colliding_keys_take_no_time() -> None:
    begin = time.process_time()
    with persist.open(flooded(127, 1000)) as file:
        assert len(file.tree[-1]) == 127
    assert time.process_time() - begin < 4


def test_honest_keys_of_one_hash_are_read() -> None:
    """The hashes of -1 and -2 are equal, and so are those of tuples of them: 32 keys to a hash here."""
    import itertools

    grid = dict.fromkeys(itertools.product((-2, -1, 0, 1), repeat=5), 1)
    assert persist.load(pickle.dumps(grid)) == grid
    assert persist.load(pickle.dumps({*grid})) == {*grid}


def test_a_set_of_colliding_items_is_refused() -> None:
    data = pickle.dumps({number * PRIME for number in range(600)})
    with pytest.raises(LimitError, match="same hash"):
        persist.load(data)


def test_colliding_keys_of_yaml_are_refused() -> None:
    pytest.importorskip("yaml")
    lines = "".join(f"  {number * PRIME}: 1\n" for number in range(1, 3000))
    with pytest.raises(LimitError, match="same hash"):
        persist.open(f"class_name: Sequential\nkeras_version: 1\nconfig:\n{lines}".encode())


def test_colliding_keys_of_a_container_are_refused() -> None:
    from io import BytesIO

    made = BytesIO()
    persist.save({number * PRIME: None for number in range(1, 600)}, made)
    with pytest.raises(DamagedFileError, match="same hash"):
        persist.load(made.getvalue())
