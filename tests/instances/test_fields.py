"""`persist.field`: types, units, reserved names, annotations, and text of Python 2 by field."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import subprocess
import sys
import zipfile
from typing import Annotated

import attrs
import numpy as np
import numpy.typing as npt
import pytest

import persist
from persist.errors import LayoutError, SchemaError

Row = Annotated[npt.NDArray[np.float32], persist.field(shape=(None, 3), unit="m/s")]


class Trace(persist.Versioned, version=2, schema="fields.Trace"):
    persistent = {
        "samples": persist.field(dtype="f4", shape=(None, 3), unit="m/s"),
        "count": persist.field(type=int, default=0),
        "log": persist.field(factory=list),
        "total": persist.field(computed=lambda fields: fields["count"] * 2),
        "gain": persist.field(reserved=True),
    }


class Plain(persist.Versioned, schema="fields.Plain"):
    persistent = ("row", "count")
    row: Row
    count: Annotated[int | None, persist.field(default=None)]


class Open(persist.Versioned, schema="fields.Open"):
    row: Row

    def __init__(self, row):
        self.row, self.free = row, 1


@attrs.define
class Point(persist.Versioned, schema="fields.Point"):
    place: Annotated[npt.NDArray[np.float64], persist.field(shape=(3,))]
    name: str = "origin"
    kind: int = attrs.field(default=1, metadata={"persist": persist.field()})


@dataclasses.dataclass
class Box(persist.Versioned, schema="fields.Box"):
    size: Annotated[float, persist.field(unit="m")]
    plain: npt.NDArray[np.float64] | None = None


def saved(obj):
    file = io.BytesIO()
    persist.save(obj, file)
    return file.getvalue()


def trace(**changes):
    made = Trace.__new__(Trace)
    made.samples, made.count, made.log, made.total = np.zeros((2, 3), "f4"), 1, [], 2
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"samples": np.zeros((2, 3))}, "float64, not of dtype float32"),
        ({"samples": np.zeros((2, 2), "f4")}, r"its shape is \(2, 2\)"),
        ({"count": "1"}, "it is a str, not a int"),
    ],
)
def test_what_is_not_as_declared_is_refused(changes, fault):
    saved(trace())
    with pytest.raises(SchemaError, match=fault):
        saved(trace(**changes))
    with pytest.raises(SchemaError, match=fault):
        pickle.dumps(trace(**changes))


def test_defaults_of_fields_that_a_state_lacks():
    registry = persist.Registry("fields", parents=(persist.registry.default,))
    registry.migration(Trace, 1)(lambda state: {"samples": np.zeros((1, 3), "f4"), "count": 4})
    old = persist.Record("fields.Trace", {"samples": 0})
    old.version = 1
    one, two = (persist.load(saved([old]), registry=registry)[0] for _ in range(2))
    assert (one.count, one.total, one.log) == (4, 8, [])
    one.log.append(1)
    assert two.log == []


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda row: attrs.evolve(Point(row)), r"its shape is \(2, 3\)"),
        (lambda row: Point(row[0].astype("f4")), "not of dtype float64"),
        (lambda row: Point(row[0], kind="x"), "it is a str, not a int"),
        (lambda row: Open(row), "not of dtype float32"),
        (lambda row: Box("3"), "it is a str, not a float or int"),
    ],
)
def test_annotations_are_checked_where_a_field_asks_for_it(make, fault):
    with pytest.raises(SchemaError, match=fault):
        saved(make(np.zeros((2, 3))))


def test_annotations_without_a_field_are_not_checked():
    assert persist.load(saved(Point(np.zeros(3), name=7))).name == 7
    assert persist.load(saved(Box(3, plain=[1]))).plain == [1]


def test_a_plain_class_takes_its_fields_from_annotations():
    plain = Plain.__new__(Plain)
    plain.row, plain.count = np.zeros((2, 3), "f4"), None
    again = persist.load(saved(plain))
    assert again.count is None
    assert again.row.shape == (2, 3)
    plain.count = "many"
    with pytest.raises(SchemaError, match="not a int or NoneType"):
        saved(plain)


def test_an_open_class_stays_open():
    again = persist.load(saved(Open(np.zeros((1, 3), "f4"))))
    assert again.free == 1
    assert again.row.dtype == np.float32


def test_an_annotation_that_cannot_be_evaluated_is_an_error_not_a_field_without_checks():
    namespace = {"persist": persist, "__name__": "fields_late"}
    source = (
        "from __future__ import annotations\n"
        "class Late(persist.Versioned, schema='fields.Late'):\n"
        "    persistent = ('x',)\n"
        "    x: Annotated[Missing, persist.field(unit='m')]\n"
    )
    exec(source, namespace)
    late = namespace["Late"].__new__(namespace["Late"])
    late.x = 1
    with pytest.raises(SchemaError, match="cannot be evaluated"):
        saved(late)


def test_units_are_in_the_file_and_in_the_fingerprint():
    manifest = json.loads(zipfile.ZipFile(io.BytesIO(saved(Box(3.0)))).read("manifest.json"))
    assert manifest["schemas"][0]["units"] == {"size": "m"}
    registry = persist.Registry("units")
    registry.register("fields.B", fields={"x": persist.field(unit="km")})
    other = persist.Registry("others")
    other.register("fields.B", fields={"x": persist.field(unit="m")})
    record = persist.Record("fields.B", {"x": 1.0})
    record.version = 1
    file = io.BytesIO()
    persist.save(record, file, registry=registry)
    with pytest.raises(LayoutError):
        persist.load(file.getvalue(), registry=other)


def test_quantities_of_pint():
    pint = pytest.importorskip("pint")
    check_quantities(pint.Quantity(2.0, "m"), pint.Quantity(2.0, "s"), pint.Quantity)


def test_quantities_of_astropy():
    units = pytest.importorskip("astropy.units")
    check_quantities(2.0 * units.m, 2.0 * units.s, units.Quantity)


def check_quantities(good, bad, kind):
    class Length(persist.Versioned, schema="fields.Length"):
        persistent = {
            "size": persist.field(type=kind, unit="m"),
            "far": persist.field(unit="m", default=0.0),
        }

    Length.__qualname__ = "Length"
    one = Length.__new__(Length)
    one.size, one.far = good, 3.0
    for again in (persist.load(saved(one)), persist.load(saved([one] * 2))[1]):
        assert type(again.size) is type(good)
        assert again.size == good
        assert again.far == 3.0
    one.size = bad
    with pytest.raises(SchemaError, match="its unit is s"):
        saved(one)
    one.size, one.far = good, bad
    with pytest.raises(SchemaError, match="its unit is s"):
        saved(one)


def test_a_reserved_name_is_never_a_field_again():
    with pytest.raises(SchemaError, match="reserved"):
        saved(trace(gain=3))

    class Sub(Trace, schema="fields.Sub"):
        persistent = ("gain",)

    with pytest.raises(SchemaError, match="'gain' is reserved by"):
        persist.registry.default.layout(Sub)

    class Twice(persist.Versioned, schema="fields.Twice"):
        __slots__ = ("gain",)
        persistent = {"gain": persist.field(reserved=True)}

    with pytest.raises(SchemaError, match="reserved"):
        persist.registry.default.layout(Twice)


def test_a_reserved_name_of_an_open_class():
    class Free(persist.Versioned, schema="fields.Free"):
        gain: Annotated[int, persist.field(reserved=True)]

    Free.__qualname__ = "Free"
    free = Free()
    free.other = 1
    assert persist.load(saved(free)).other == 1
    free.gain = 2
    with pytest.raises(SchemaError, match="reserved"):
        saved(free)


def test_options_that_exclude_each_other():
    with pytest.raises(SchemaError, match="more than one"):
        persist.field(default=1, factory=list)
    with pytest.raises(SchemaError, match="reserved"):
        persist.field(reserved=True, type=int)


# Python 2.


class Sample(persist.Versioned, schema="fields.Sample"):
    persistent = {
        "raw": persist.field(type=bytes),
        "label": persist.field(py2="latin-1"),
        "name": persist.field(type=str),
        "tags": persist.field(py2="bytes"),
        "free": persist.field(default=None),
    }


def python2(**state):
    """A pickle as Python 2 writes it: bytes are its ``str``, text its ``unicode``."""

    def put(value):
        if isinstance(value, bytes):
            return b"U" + bytes([len(value)]) + value
        if isinstance(value, str):
            data = value.encode()
            return b"X" + len(data).to_bytes(4, "little") + data
        if isinstance(value, list):
            return b"](" + b"".join(map(put, value)) + b"e"
        raise TypeError(type(value))

    pairs = b"".join(put(name.encode()) + put(value) for name, value in state.items())
    return b"\x80\x02cfields\nSample\n)\x81}(" + pairs + b"ub."


def test_text_and_bytes_by_field():
    data = python2(
        raw=b"caf\xc3\xa9", label=b"caf\xe9", name=b"caf\xe9", tags=[b"a", b"\xc3\xa9", "u\xe9"], free=b"b",
    )  # fmt: skip
    sample = persist.load(data)
    assert (sample.raw, sample.label, sample.name) == (b"caf\xc3\xa9", "caf\xe9", "caf\xe9")
    assert sample.tags == [b"a", b"\xc3\xa9", "u\xe9"]
    assert sample.free == "b"


def test_what_was_unicode_is_not_decoded_again():
    both = python2(raw=b"", label="\xe9", name="\xe9", tags=[])
    assert persist.load(both).label == "\xe9"
    was_str = python2(raw=b"", label=b"\xc3\xa9", name=b"", tags=[])
    assert persist.load(was_str).label == "\xc3\xa9"  # latin-1, as declared


@pytest.mark.parametrize("py2_str", ["latin-1", "text", lambda data: data.decode("cp437")])
def test_the_declaration_is_stronger_than_the_option(py2_str):
    data = python2(raw=b"\xe9", label=b"\xe9", name=b"n", tags=[b"\xe9"])
    sample = persist.load(data, py2_str=py2_str)
    assert (sample.raw, sample.label, sample.name, sample.tags) == (b"\xe9", "\xe9", "n", [b"\xe9"])


def test_what_is_not_in_the_declared_encoding_is_an_error_with_the_field():
    class Strict(persist.Versioned, schema="fields.Strict"):
        persistent = {"label": persist.field(py2="ascii")}

    Strict.__qualname__ = "Strict"
    data = b"\x80\x02cfields\nStrict\n)\x81}U\x05labelU\x01\xe9sb."
    with pytest.raises(SchemaError, match="py2='ascii'"):
        persist.load(data)
    assert persist.explain(data).problems


def test_the_command_decides_by_field_too(tmp_path):
    (tmp_path / "lab.py").write_text(
        "import persist\n"
        "class Sample(persist.Versioned, schema='fields.Sample'):\n"
        "    persistent = {'raw': persist.field(type=bytes), 'label': persist.field(py2='latin-1'),\n"
        "        'name': persist.field(type=str), 'tags': persist.field(py2='bytes')}\n"
    )
    (tmp_path / "old.pkl").write_bytes(python2(raw=b"r", label=b"\xe9", name=b"n", tags=[b"t"]))
    command = [sys.executable, "-m", "persist", "upgrade", "old.pkl", "--import", "lab"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    state = persist.open(tmp_path / "old.pkl.persist").tree.state
    assert state == {"raw": b"r", "label": "\xe9", "name": "n", "tags": [b"t"]}
