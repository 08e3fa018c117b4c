"""MATLAB's ``.mat``: variables by name, of level 5 and of level 4.

Written by  ``save`` of MATLAB 1 to 4 and ``-v4`` (level 4), of MATLAB 5 to 7.2, ``-v6`` and ``-v7``
            (level 5); ``scipy.io.savemat`` and Octave. ``-v7.3`` is HDF5, and read as such.
Evidence    "MAT-File Format" by The MathWorks; ``scipy/io/matlab`` for the classes that it leaves out;
            files of MATLAB 4.2c to 8, Octave and SciPy, compared with ``scipy.io.loadmat``.
Traps       Level 4 has no magic number. Numbers are stored in a narrower type than that of their
            class. Every array has at least two axes, in column-major order. Characters are codes of
            16 bits, UTF-8, or bytes of an unknown code page (read as Latin-1). Names of fields can occur
            twice. Objects of MATLAB's own classes (``table``, ``string``, ``containers.Map``) are in a
            private form. Level 4 does not say which numbers were logical.
Gives       A dict by the names of variables. Numbers: arrays with the axes and the class of MATLAB
            (level 4: as stored); logical ones as bool. A row of characters: text; several rows: an array
            of texts. A cell or struct array: the one value (struct), a list (one axis longer than
            1) or an object array. A struct: a dict. Sparse: a record ``matlab.sparse`` with ``data``,
            ``indices``, ``indptr`` and ``shape`` (compressed columns). Objects: records
            ``matlab.<class>``; function handles: records ``matlab.function_handle``, never called.
            Complex integers of 64 bits: a record ``matlab.complex``. ``structure``: the class and shape
            of each variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from persist._runtime.free_names import free_name
from persist._runtime.lazy_regex import regex
from persist._wire.base.source import Source
from persist.readers.base import Content, Options, Reader
from persist.tree import Record

if TYPE_CHECKING:
    from persist._wire.matlab.level5 import Variable

__all__ = ["MatlabReader"]

_LEVEL5 = {b"\0\1IM": "little", b"\1\0MI": "big"}
_WRITTEN = regex(r"Platform: ?(?P<platform>[\w .-]+?) *(?:,|\Z)")
_OCTAVE = regex(r"written by Octave (?P<version>[\w.+-]+),")


class MatlabReader(Reader):
    """MAT-files of MATLAB, of levels 4 and 5."""

    name = "matlab"
    suffixes = (".mat",)
    refines = ("pickle",)  # the header may by chance run as opcodes

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or source.size < 20:
            return None
        head = source.head(128)
        order = _LEVEL5.get(head[124:128])
        if order is not None:
            is_text = all(31 < byte < 127 for byte in head[:4])
            return f"the header of a MAT-file of level 5, {order}-endian" if is_text else None
        # Both byte orders: the type, which is below 5,000, has two bytes of zero.
        if head[2:4] != b"\0\0" and head[:2] != b"\0\0":
            return None
        from persist._wire.matlab.level4 import begins

        return "begins with a matrix of a MAT-file of level 4" if begins(head) else None

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.matlab.level4 import variables
        from persist._wire.matlab.level5 import Reading, order_of

        order = order_of(source)
        if order is None:
            damage: list[str] = []
            found = variables(source, damage if options.salvage else None)
            classes = {one.value.qualname for one in found if isinstance(one.value, Record)}
            return _content(found, {"level": 4}, classes, damage)
        reading = Reading(source, order, salvage=options.salvage, eager=options.verify == "always")
        found = reading.variables()
        header = source.read(0, 116).decode("latin-1").rstrip(" \0\n")
        structure = {
            "level": 5,
            "header": header,
            "byte_order": _LEVEL5[source.read(124, 4)],
        }
        content = _content(found, structure, reading.classes, reading.damage)
        content.notes = reading.notes
        content.writer = _writer(header)
        return content


def _content(
    found: list[Variable], structure: dict[str, object], classes: set[str], damage: list[str]
) -> Content:
    tree: dict[str, object] = {}
    described: dict[str, object] = {}
    for one in found:
        name = free_name(one.name, tree)
        tree[name] = one.value
        described[name] = one.described
    structure["classes"] = sorted(classes)
    structure["variables"] = described
    return Content(tree, structure=structure, damage=damage, globals=classes)


def _writer(header: str) -> dict[str, str]:
    """What the text of the header states: a version of Octave, or the platform."""
    octave = _OCTAVE.search(header)
    if octave is not None:
        return {"octave": octave["version"]}
    found = _WRITTEN.search(header)
    return {} if found is None else {"platform": found["platform"]}
