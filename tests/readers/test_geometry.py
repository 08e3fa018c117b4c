"""Pickles of GeoPandas are frames, and geometries as bytes are shown as text."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import persist

CASES = Path(__file__).parents[1] / "cases" / "geopandas"
SPELLED = json.loads((CASES / "wkb.json").read_text())


@pytest.mark.packs
@pytest.mark.parametrize("release", ["0.9.0", "1.2.0"])
def test_a_frame_of_geopandas_is_a_frame(release: str) -> None:
    with persist.open(CASES / f"{release}.pkl") as file:
        assert np.asarray(file.arrays["frame/v"]).tolist() == [1, 2, 3]
        assert [file.scalars[f"frame/name/{row}"] for row in range(3)] == ["a", "b", "c"]
        assert file.scalars["frame/_geometry_column_name"] == "geometry"
        assert file.scalars["series/name"] == "g"
        assert file.damage == []
        shown = str(file)
    assert "frame: geopandas.geodataframe.GeoDataFrame\n" in shown
    assert "POINT (0 1) (a geometry as WKB)" in shown
    assert "LINESTRING (0 0, 1 2) (a geometry as WKB)" in shown
    assert "POLYGON ((0 0, 1 0, 1 1, 0 0)) (a geometry as WKB)" in shown
    assert "POINT (3 4) (a geometry as WKB)" in shown
    assert "EPSG:4326" in shown


@pytest.mark.parametrize("text", SPELLED)
def test_each_spelling_of_a_geometry_is_shown_as_shapely_writes_it(text: str) -> None:
    for spelling in SPELLED[text]:
        data = bytes.fromhex(spelling)
        assert persist.open(_pickled(data)).scalars["g"] == data
        assert f"{text} (a geometry as WKB)" in str(persist.open(_pickled(data)))


def test_other_bytes_are_bytes() -> None:
    point = bytes.fromhex(SPELLED["POINT (1 2.5)"][2])
    for other in (point[:-1], point + b"\0", b"\1" + bytes(20), b"\1\7\0\0\0" + b"\xff" * 16):
        assert "geometry" not in str(persist.open(_pickled(other)))
    deep = b"\1\7\0\0\0\1\0\0\0" * 4000
    assert "geometry" not in str(persist.open(_pickled(deep)))


def _pickled(data: bytes) -> bytes:
    return pickle.dumps({"g": data})
