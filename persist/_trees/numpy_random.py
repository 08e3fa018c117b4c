"""Convert records of NumPy's random states to live objects, and live objects to records.

A random stream continues at the same place only if its state is complete. NumPy's setters do not
validate their input, not even the position within the C array. Therefore a record is recognised by
exact names, and each part is checked here before it is passed to NumPy. A record of unknown form
(for example a third-party bit generator) is left as a record.

The forms, after ``numpy/random/_pickle.py``, ``mtrand.pyx`` and ``bit_generator.pyx``:

- until 1.16   ``__RandomState_ctor()`` and the tuple of ``get_state()``
- 1.17 to 1.26 ``__randomstate_ctor(name)``, ``__generator_ctor(name)``, ``__bit_generator_ctor(name)``
  and a dict; the seed sequence is not stored
- since 2.0    ``__generator_ctor(bits)``, ``__bit_generator_ctor(class)`` and (dict, seed sequence);
  this is the form that `record_of` returns
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from persist.errors import RestoreError
from persist.tree import ABSENT, Global, Record
from persist.typing import State

__all__ = ["build", "is_random", "record_of"]

_GENERATOR = Global("numpy.random._pickle", "__generator_ctor")
_RANDOM_STATE = Global("numpy.random._pickle", "__randomstate_ctor")
_BITS = Global("numpy.random._pickle", "__bit_generator_ctor")
_SEEDS = Global("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence")
_CHECKSUM = 65708578  # Cython's checksum of SeedSequence's fields, same in NumPy 1.18 to 2.4

# Limits, since SeedSequence hashes its entropy in 32-bit words when it is built.
_MOST_WORDS = 1 << 16  # numbers of an entropy
_MOST_BITS = 1 << 14  # bits of each number
_MOST_POOL = 256  # words of a pool (4 by default); mixing takes quadratic time


# Checks: each takes a value and the name of its place, and returns the value to pass to NumPy.

Check = Callable[[Any, str], Any]


def _invalid(place: str, found: str, expected: str) -> RestoreError:
    return RestoreError(
        f"the random state's {place} is {found}.",
        remedy=f"{expected} was expected. The file is damaged, or NumPy did not write this; "
        "persist.open shows it as it is.",
    )


def _shown(value: object) -> str:
    """A short text of a value for a message; never runs the ``repr`` of an unknown class."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and shape {value.shape}"
    if type(value) is int and value.bit_length() > 128:
        return f"a number of {value.bit_length():,} bits"
    if type(value) in (int, float, bool, type(None)):
        return repr(value)
    if type(value) is str:
        return repr(value[:40]) + "..." * (len(value) > 40)
    return f"a {type(value).__name__}"


def _whole(most: int) -> Check:
    """Check for a whole number from 0 to ``most``."""

    def check(value: object, place: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise _invalid(place, _shown(value), "A whole number")
        if not 0 <= value <= most:
            raise _invalid(place, _shown(value), f"A number from 0 to {most:,}")
        return int(value)

    return check


def _words(count: int, bits: int) -> Check:
    """Check for an array of ``count`` unsigned integers of ``bits`` bits, in any byte order."""

    def check(value: Any, place: str) -> object:
        expected = f"{count} whole numbers of {bits} bits"
        fits = isinstance(value, np.ndarray) and value.dtype.kind in "iu"
        if not fits or value.shape != (count,):
            raise _invalid(place, _shown(value), expected)
        if int(value.min()) < 0 or int(value.max()) >> bits:
            raise _invalid(place, f"an array that holds {value.min()} to {value.max()}", expected)
        return np.array(value, f"u{bits // 8}")

    return check


def _number(value: object, place: str) -> float:
    if not isinstance(value, float | np.floating) or not math.isfinite(value):
        raise _invalid(place, _shown(value), "A finite float")
    return float(value)


_HALF: dict[str, object] = {"has_uint32": _whole(1), "uinteger": _whole(2**32 - 1)}
_PCG: dict[str, object] = {
    "state": {"state": _whole(2**128 - 1), "inc": _whole(2**128 - 1)},
    **_HALF,
}
_FIELDS: dict[str, dict[str, object]] = {
    "MT19937": {"state": {"key": _words(624, 32), "pos": _whole(624)}},
    "PCG64": _PCG,
    "PCG64DXSM": _PCG,
    "Philox": {
        "state": {"counter": _words(4, 64), "key": _words(2, 64)},
        "buffer": _words(4, 64),
        "buffer_pos": _whole(4),
        **_HALF,
    },
    "SFC64": {"state": {"state": _words(4, 64)}, **_HALF},
}
_GAUSS: dict[str, object] = {"has_gauss": _whole(1), "gauss": _number}
_MODULES = {"PCG64DXSM": "pcg64"}  # bit generators whose module has another name


def _checked(value: object, fields: State, place: str = "state") -> dict[str, object]:
    """Check a dict that must have exactly these fields, and each of its values."""
    if not isinstance(value, dict) or value.keys() != fields.keys():
        found = _shown(value)
        if isinstance(value, dict):
            found = f"a dict of {', '.join(map(_shown, [*value][:9])) or 'nothing'}"
        raise _invalid(place, found, f"A dict of {', '.join(map(repr, fields))}")
    return {
        name: _checked(value[name], check, f"{place}/{name}")
        if isinstance(check, dict)
        else check(value[name], f"{place}/{name}")
        for name, check in fields.items()
    }


def _named(name: str, more: dict[str, object] | None = None) -> dict[str, object]:
    """The checks for a bit generator's state, its name included."""

    def same(value: object, place: str) -> str:
        if not isinstance(value, str) or value != name:
            raise _invalid(place, _shown(value), repr(name))
        return name

    return {"bit_generator": same, **_FIELDS[name], **(more or {})}


# From records to random states.


def is_random(record: Record) -> bool:
    """Whether a record has the name of one of NumPy's random states."""
    return (
        record.kind == "reduce"
        and record.qualname in _MAKERS
        and not (record.kwargs or record.listitems or record.dictitems)
    )


def build(record: Record, args: tuple[object, ...], state: object) -> object:
    """Return the random state described by a record, or None if NumPy does not write this form.

    Args:
        record: a record for which `is_random` is true.
        args: its arguments, in which records of random states are built already.
        state: its state, likewise; ABSENT if there is none.

    Raises:
        RestoreError: a part is invalid; the message names its place and value.
    """
    return _MAKERS[record.qualname](args, state)


def _generator(args: tuple[Any, ...], state: Any) -> object:
    bits = args[0] if args else None
    if isinstance(bits, np.random.BitGenerator):
        return np.random.Generator(bits) if len(args) == 1 and state is ABSENT else None
    bits = _of_name(args, state)
    return None if bits is None else np.random.Generator(bits)


def _bits(args: tuple[object, ...], state: object) -> object:
    if not args or not isinstance(args[0], Global):
        return _of_name(args, state)
    name = args[0].name
    if len(args) != 1 or name not in _FIELDS or args[0].module not in _modules_of(name):
        return None
    if not isinstance(state, tuple) or len(state) != 2:
        return None
    if not isinstance(state[1], np.random.SeedSequence | None):
        return None
    return _restored(name, _checked(state[0], _named(name)), state[1])


def _of_name(args: tuple[object, ...], state: object) -> Any:
    """A bit generator as NumPy 1.17 to 1.26 wrote it: its name, optionally a function, and a dict."""
    name = args[0] if args else None
    if not isinstance(name, str) or name not in _FIELDS or args[1:] not in ((), (_BITS,)):
        return None
    return _restored(name, _checked(state, _named(name)), None)


def _restored(name: str, state: dict[str, object], seeds: object) -> object:
    bits = getattr(np.random, name)(seeds)
    if seeds is None and name == "MT19937":
        bits._legacy_seeding(0)  # the MT19937 of a RandomState has no seed sequence
    bits.state = state
    return bits


def _random_state(args: tuple[object, ...], state: object) -> object:
    if isinstance(state, tuple):
        return _legacy(state) if not args else None
    bits = args[0] if args else None
    given = bits if isinstance(bits, np.random.BitGenerator) else None
    name = bits if given is None else type(given).__name__
    if not isinstance(name, str) or name not in _FIELDS or args[1:] not in ((), (_BITS,)):
        return None
    found = _checked(state, _named(name, _GAUSS))
    own = {key: value for key, value in found.items() if key not in _GAUSS}
    if given is None:
        bits = _restored(name, own, None)
    elif not _are_equal(given.state, own):
        raise _invalid("state", "not that of its bit generator", "The same state, twice,")
    return _with_gauss(bits, found)


def _legacy(state: tuple[object, ...]) -> object:
    """A RandomState as NumPy wrote it until 1.16: ``get_state()``; before 1.0 without gauss."""
    if len(state) not in (3, 5):
        raise _invalid("state", f"a tuple of {len(state)}", "A tuple of 5 (or 3)")
    name, key, pos, has_gauss, gauss = (*state, 0, 0.0)[:5]
    parts = {"bit_generator": name, "state": {"key": key, "pos": pos}}
    parts |= {"has_gauss": has_gauss, "gauss": gauss}
    found = _checked(parts, _named("MT19937", _GAUSS))
    own = {"bit_generator": "MT19937", "state": found["state"]}
    return _with_gauss(_restored("MT19937", own, None), found)


def _with_gauss(bits: Any, state: dict[str, object]) -> object:
    made = np.random.RandomState(bits)
    made.set_state(state)
    return made


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_are_equal(one[key], other[key]) for key in one)
    return bool(np.array_equal(one, other))


def _seeds(args: tuple[object, ...], state: Any) -> object:
    named = args[0] if args else None
    if len(args) != 3 or not isinstance(named, Global) or named.name != "SeedSequence":
        return None
    if named.module not in _SEED_MODULES or not isinstance(state, tuple) or len(state) != 5:
        return None
    entropy, spawned, pool, size, key = state
    if not isinstance(key, tuple):
        return None
    entropy, key = _entropy(entropy, "entropy"), _entropy(key, "spawn_key")
    if entropy is None or key is None:  # text or nested lists, which SeedSequence also accepts
        return None
    spawned = _whole(2**32 - 1)(spawned, "n_children_spawned")
    size = _whole(_MOST_POOL)(size, "pool_size")
    if size < 4:
        raise _invalid("pool_size", str(size), "A number from 4 on")
    pool = _words(size, 32)(pool, "pool")
    made = np.random.SeedSequence(
        entropy, spawn_key=key, pool_size=size, n_children_spawned=spawned
    )
    made.pool[...] = pool  # NumPy before 1.19 computed another pool from the same entropy and key
    return made


def _entropy(value: Any, place: str) -> Any:
    """Check an entropy: whole numbers, bounded in number and size; None if of another type."""
    is_many = isinstance(value, list | tuple | range | np.ndarray)
    if isinstance(value, np.ndarray) and (value.ndim != 1 or value.dtype.kind not in "iu"):
        return None
    if is_many and len(value) > _MOST_WORDS:
        raise _invalid(place, f"{len(value):,} numbers", f"At most {_MOST_WORDS:,}")
    for item in value if is_many else (value,):
        if isinstance(item, bool) or not isinstance(item, int | np.integer):
            return None
        if item < 0 or int(item).bit_length() > _MOST_BITS:
            raise _invalid(place, _shown(item), f"A whole number of at most {_MOST_BITS:,} bits")
    return value


def _modules_of(name: str) -> tuple[str, str]:
    """The modules of a bit generator: since NumPy 1.18, and in 1.17."""
    module = _MODULES.get(name, name.lower())
    return f"numpy.random._{module}", f"numpy.random.{module}"


_SEED_MODULES = ("numpy.random.bit_generator", "numpy.random._bit_generator")
_MAKERS: dict[str, Callable[[tuple[Any, ...], Any], object]] = {
    _GENERATOR.qualname: _generator,
    _BITS.qualname: _bits,
    _RANDOM_STATE.qualname: _random_state,
    "numpy.random.__RandomState_ctor": _random_state,
    "numpy.random.mtrand.__RandomState_ctor": _random_state,
    "mtrand.__RandomState_ctor": _random_state,
    **{f"{module}.__pyx_unpickle_SeedSequence": _seeds for module in _SEED_MODULES},
}


# From random states to records.


def record_of(value: Any) -> Record | None:
    """Return the record of a live random state (its parts stay live); None for any other value.

    The record has the form that NumPy 2 pickles, so that NumPy can read a pickle of it.
    """
    kind = type(value)
    if "numpy.random" not in sys.modules or kind.__module__.partition(".")[0] != "numpy":
        return None
    random = np.random
    if kind is random.Generator:
        return _record(_GENERATOR, (value.bit_generator,))
    if kind is random.RandomState:
        return _record(_RANDOM_STATE, (value._bit_generator,), value.get_state(legacy=False))
    if kind is random.SeedSequence:
        parts = value.entropy, value.n_children_spawned, value.pool.copy()
        named = Global("numpy.random.bit_generator", "SeedSequence")
        return _record(_SEEDS, (named, _CHECKSUM, None), (*parts, value.pool_size, value.spawn_key))
    name = kind.__name__
    if name not in _FIELDS or kind is not getattr(random, name, None):
        return None
    return _record(_BITS, (Global(_modules_of(name)[0], name),), (value.state, value.seed_seq))


def _record(maker: Global, args: tuple[object, ...], state: object = ABSENT) -> Record:
    return Record(maker, state, maker=maker, kind="reduce", args=args)
