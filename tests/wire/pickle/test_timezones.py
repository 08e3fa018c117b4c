"""Zones of dateutil and pytz: the offset that the writer saw, for each moment."""

from __future__ import annotations

import datetime
import pickle
from pathlib import Path

import pytest

import persist
from persist._wire.pickle.timezones import named, zone_of
from persist.tree import Record

CORPUS = Path(__file__).parents[2] / "corpus" / "pickle" / "zones"


@pytest.mark.parametrize("name", ["dateutil-2.2-py27", "dateutil-2.8.2-py36", "pytz-py313"])
def test_moments_read_as_the_writer_said(name: str) -> None:
    if named("Europe/Berlin") is None:
        pytest.skip("this machine has no table of zones")
    with persist.open(CORPUS / f"{name}.pkl") as file:
        said = file.tree["said"]
        got = [file.scalars[f"moments/{index}"].isoformat() for index in range(len(said))]
    # dateutil before 2.7 says of the hour that comes twice its second, Python's own zones the first.
    twice = said.index("2013-10-27T02:30:00+01:00") if name == "dateutil-2.2-py27" else None
    assert [m for i, m in enumerate(got) if i != twice] == [
        m for i, m in enumerate(said) if i != twice
    ]


def test_a_zone_that_stands_alone_is_what_it_was_made_with() -> None:
    with persist.open(CORPUS / "pytz-py313.pkl") as file:
        assert file.scalars["zone/args/0"] == "Europe/Paris"
        assert len(file.tree["zone"].args) == 4
    zone = datetime.timezone(datetime.timedelta(hours=2), "here")
    with persist.open(pickle.dumps({"zone": zone, "utc": datetime.UTC})) as file:
        assert file.scalars["zone"] == zone
        assert file.scalars["zone/args/1"] == "here"
        assert file.scalars["utc/args/0"] == datetime.timedelta()


@pytest.mark.parametrize(
    "zone",
    [
        Record("pytz._p", args=("Nowhere", 999999999, 0, "X"), kind="reduce"),
        Record("pytz._p", args=("no such", 5), kind="reduce"),
        Record("pytz.FixedOffset", args=("x",), kind="reduce"),
        Record("dateutil.tz.tz.tzoffset", args=("X", "y")),
        Record("dateutil.tz.tz.tzfile", {"_trans_list": [1, 2], "_trans_idx": [None]}),
        Record("dateutil.tz.tz.tzfile", {"_trans_list": [1, "x"], "_trans_idx": [None, 5]}),
        Record("dateutil.tz.tz.tzfile", {"_trans_list": [1, 2], "_trans_idx": [None, 5]}),
        Record("dateutil.tz.tz.tzlocal", {"_std_offset": 1, "_dst_offset": 2}),
        Record("somewhere.tzutc"),
        "UTC",
        None,
    ],
)
def test_parts_that_do_not_tell_give_no_zone(zone: object) -> None:
    assert zone_of(zone, datetime.datetime(2020, 1, 1)) is None
