"""Read sequences of pickles, and write one; `persist.readers.pickle` describes the variants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import IO, Any

from persist._wire.base.source import Cursor, Source
from persist._wire.joblib.wrappers import INLINE, SATELLITE, Wrappers, inline
from persist._wire.pickle import numpy_rebuild, sidecars, stdlib_rebuild
from persist._wire.pickle.handlers import Finisher
from persist._wire.pickle.machine import Machine
from persist._wire.pickle.opcodes.instances import CarriageReturnError
from persist.errors import DamagedFileError, FormatError, LimitError, PersistError
from persist.readers.base import Content, Options
from persist.readers.pickle import begins_as_text
from persist.tree import ABSENT, Global, Record

__all__ = ["executes", "read_pickles", "write_pickle"]

REBUILD = {**stdlib_rebuild.REBUILD, **numpy_rebuild.REBUILD}

FINISH = {**stdlib_rebuild.FINISH, **numpy_rebuild.FINISH}

# Bytes charged for each neighbour, which limits how many a small file can open.
_NEIGHBOUR = 1 << 16

_DIAGNOSED = 1 << 26  # bytes of a damaged file that are looked at for its cause

_PROBED = 64  # opcodes of a protocol 0 or 1 pickle that must execute
_TRIFLE = 16  # up to so many bytes after the last pickle are shown in the message


def write_pickle(tree: object, target: IO[bytes], **options: Any) -> None:
    """Write one pickle; see `PickleReader.write`."""
    from persist._wire.pickle.writer import PickleWriter

    protocol, reducer = options.pop("protocol", 4), options.pop("reducer", None)
    if options:
        raise FormatError(
            f"pickle has no option {sorted(options)[0]!r}.", remedy="The only option is protocol=."
        )
    PickleWriter(target.write, protocol, reducer).dump(tree)


def read_pickles(source: Source, options: Options) -> Content:
    """Read the pickles of a file, also if a transfer in text mode has changed its line ends."""
    try:
        return _read_all(source, options)
    except DamagedFileError as error:
        content = _with_replaced_texts(source, options, error)
        if content is not None:
            return content
        if not options.salvage:
            raise
        return _read_all(source, options, salvage=True)
    except CarriageReturnError:
        data = source.read(0, source.size)
        repaired = source.nested(data.replace(b"\r\n", b"\n"), "", here=True)
        content = _read_all(repaired, options)
        content.damage.insert(
            0, "its line ends were CR LF, from a transfer in text mode; it was read as repaired"
        )
        return content


def _with_replaced_texts(
    source: Source, options: Options, error: DamagedFileError
) -> Content | None:
    """Read a damaged pickle with the lengths that its texts have; None if none was replaced.

    Raises:
        DamagedFileError: texts were replaced, and ``salvage`` is not asked for.
    """
    from persist._wire.pickle.replaced_text import repaired, replaced_texts

    data = source.read(0, min(source.size, _DIAGNOSED))
    found = replaced_texts(data) if source.size <= _DIAGNOSED else []
    if not found:
        return None
    first, more = found[0], len(found) - 1
    what = (
        f"the text {first.text!r} at offset {first.offset:,} has {first.length:,} bytes, and "
        f"{first.declared:,} are declared"
        + (
            f"; {more:,} more {'text is' if more == 1 else 'texts are'} too long or too short"
            if more
            else ""
        )
        + ": a program replaced text in this binary file, as a rename over a whole repository does"
    )
    if not options.salvage:
        raise DamagedFileError(
            f"{what}.",
            file=source.name,
            where=f"offset {first.offset}",
            remedy="Take the file of before from version control, or read the new texts with salvage=True.",
            offset=first.offset,
        ) from error
    part = source.nested(repaired(data, found), "", here=True)
    content = _read_all(part, options, salvage=True)
    content.damage.insert(0, f"{what}; it was read with the new texts")
    return content


def machine_for(
    source: Source, options: Options, finish: Mapping[str, Finisher] = FINISH
) -> Machine:
    """Return a machine that rebuilds plain values and resolves neighbours of the file."""
    neighbours: dict[str, object] = {}

    def neighbour(pid: object) -> object:
        """Resolve a persistent id that names a file in the same folder to the file's content."""
        if not isinstance(pid, str) or options.open_nested is None:
            return ABSENT
        if pid not in neighbours:
            found = source.sibling(pid)
            if found is None or found.kind != "file":
                return ABSENT
            source.spend(_NEIGHBOUR)
            content = options.open_nested(found)
            neighbours[pid] = content.tree
            _know(machine, content.globals)
        return neighbours[pid]

    machine = Machine(
        source, py2_str=options.py2_str, persistent=neighbour, rebuild=REBUILD, finish=finish
    )
    return machine


def _read_all(source: Source, options: Options, *, salvage: bool = False) -> Content:
    wrappers = Wrappers(source)
    machine = machine_for(source, options, {**FINISH, **wrappers.finish})
    cursor = source.cursor()
    values: list[Any] = []
    damage = wrappers.damage
    while cursor.left > 0:
        start = cursor.offset
        if values and not _goes_on(source, start):
            damage.append(_trailing(source, start))
            break
        try:
            values.append(machine.load(cursor))
        except (CarriageReturnError, LimitError):
            raise
        except DamagedFileError as error:
            if values:
                damage.append(_broken_off(source, start, len(values), error))
                break
            if not salvage:
                raise
            damage.append(str(error))
            values.append(machine.unfinished())
            break
    tree = values[0] if len(values) == 1 else values
    structure: dict[str, object] = {
        "protocol": machine.protocol,
        "pickles": len(values),
        **({"classes": described_classes(machine.classes)} if machine.classes else {}),
        "globals": sorted(f"{ref.module} {ref.name}" for ref in machine.globals.values()),
    }
    restored = _restore_sidecars(values, source, machine, options, damage)
    if wrappers.files or restored:
        structure["satellites"] = [*wrappers.files, *restored]
    is_wrapped = not machine.globals.keys().isdisjoint(INLINE | SATELLITE)
    return Content(
        tree,
        format="joblib" if is_wrapped else None,
        structure=structure,
        writer=_writer(machine),
        damage=damage,
        held=f"{len(values):,} pickles, one after another" if len(values) > 1 else "",
        globals=set(machine.globals) | ({"joblib.numpy_pickle"} if is_wrapped else set()),
        origin=machine.origin if machine.has_py2_str else None,
    )


def described_classes(classes: Mapping[str, Record]) -> dict[str, object]:
    """Describe the classes that a file holds by value, without their code."""
    from persist._wire.torch.outline import simple

    described: dict[str, object] = {}
    for name, record in classes.items():
        held = [part for part in (*record.args, record.state) if isinstance(part, dict | tuple)]
        fields = [part for item in held for part in (item if isinstance(item, tuple) else (item,))]
        merged = {
            key: value for part in fields if isinstance(part, dict) for key, value in part.items()
        }
        described[name] = {
            "written by": record.qualname,
            "holds": sorted(key for key in merged if isinstance(key, str)),
            "attributes": simple(merged),
        }
    return described


def _restore_sidecars(
    values: list[Any], source: Source, machine: Machine, options: Options, damage: list[str]
) -> list[str]:
    """Restore attributes that an instance has saved into separate files."""
    open_nested = options.open_nested
    if len(values) != 1 or not isinstance(values[0], Record) or open_nested is None:
        return []
    state = values[0].state
    if not isinstance(state, dict) or state.keys().isdisjoint(sidecars.LISTS):
        return []

    def read(neighbour: Source) -> Any:
        source.spend(_NEIGHBOUR)
        content = open_nested(neighbour)
        _know(machine, content.globals)
        return content.tree

    return sidecars.attach(values[0], source, read, damage)


def _know(machine: Machine, names: Iterable[str]) -> None:
    """Note globals that a neighbour names."""
    for name in names:
        module, _, last = name.rpartition(".")
        machine.globals.setdefault(name, Global(module, last))


def _writer(machine: Machine) -> dict[str, str]:
    """Return what the opcodes prove: only Python 2 writes STRING, only Python 3 writes protocol 3."""
    if machine.has_py2_str:
        return {"python": "2"}
    least = {3: "3", 4: "3.4 or later", 5: "3.8 or later"}.get(machine.protocol)
    return {"python": least} if least else {}


def _goes_on(source: Source, start: int) -> bool:
    """Return whether another pickle may begin at ``start``."""
    head = source.read(start, min(2, source.size - start))
    if head[:1] == b"\x80":
        return len(head) == 1 or head[1] <= 5
    return begins_as_text(source.window(start, source.size - start))


def _trailing(source: Source, start: int) -> str:
    left = source.size - start
    what = source.read(start, min(left, 8))
    slip = "a stray byte" if left == 1 else f"{left:,} bytes"
    kind = "" if left > _TRIFLE else f" ({what!r})"
    verb = "follows" if left == 1 else "follow"
    return f"{slip}{kind} {verb} the last pickle at offset {start:,}, and no pickle begins there"


def _broken_off(source: Source, start: int, whole: int, error: DamagedFileError) -> str:
    count = "the one before it is whole" if whole == 1 else f"the {whole:,} before it are whole"
    if error.facts.get("truncated"):
        left = source.size - start
        return f"the last pickle breaks off after {left:,} bytes (it begins at {start:,}); {count}"
    return f"the pickle at offset {start:,} cannot be read ({error.what.rstrip('.')}); {count}"


def executes(source: Source) -> bool:
    """Return whether the first opcodes of a source execute."""
    probe = source.window(0, min(source.size, 4096))
    if _probe_executes(probe):
        return True
    # CR LF may be data; only a file that does not execute as it is went through a transfer.
    if b"\r\n" not in probe.head(256):
        return False
    return _probe_executes(source.nested(probe.head(4096).replace(b"\r\n", b"\n"), ""))


def _probe_executes(probe: Source) -> bool:
    finish = {**FINISH, **dict.fromkeys(INLINE, inline)}
    machine = Machine(probe, most=_PROBED, rebuild=REBUILD, finish=finish)
    try:
        machine.load(Cursor(probe))
    except LimitError:
        return machine.steps > _PROBED
    except DamagedFileError as error:
        # The probe or the file ends: a truncated pickle, provided that a few opcodes executed.
        return bool(error.facts.get("truncated")) and (machine.steps > 3 or probe.size == 4096)
    except (FormatError, PersistError):
        return False
    return True
