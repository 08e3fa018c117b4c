"""Make ``RELEASE.pkl`` with the GeoPandas that is installed, and ``wkb.json`` with shapely 2.

0.9.0: Python 3.7, pandas 1.2.5, shapely 1.7.1; 1.2.0: Python 3.11, pandas 3.1.1, shapely 2.2.0.
"""

import json
import pathlib
import pickle

import geopandas
import shapely
from shapely.geometry import LineString, Point, Polygon

HERE = pathlib.Path(__file__).parent
TEXTS = [
    "POINT (1 2.5)",
    "POINT EMPTY",
    "POINT M (1 2 3)",
    "LINESTRING ZM (0 0 1 2, 3 4 5 6)",
    "POLYGON ((0 0, 1 0, 1 1, 0 0), (0.1 0.1, 0.2 0.1, 0.2 0.2, 0.1 0.1))",
    "MULTIPOINT ((1 2), (3 4))",
    "MULTILINESTRING Z ((0 0 1, 1 1 2), (2 2 3, 3 3 4))",
    "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))",
    "MULTIPOLYGON EMPTY",
    "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING (0 0, 1 1))",
]

shapes = [Point(0, 1), LineString([(0, 0), (1, 2)]), None]
frame = geopandas.GeoDataFrame(
    {"name": ["a", "b", "c"], "v": [1.0, 2.0, 3.0], "geometry": shapes}, crs="EPSG:4326"
)
series = geopandas.GeoSeries(
    [Point(1, 2), Polygon([(0, 0), (1, 0), (1, 1)])], crs="EPSG:3857", name="g"
)
made = {"frame": frame, "series": series, "array": frame.geometry.values, "point": Point(3, 4)}
(HERE / f"{geopandas.__version__}.pkl").write_bytes(pickle.dumps(made, 4))
if hasattr(shapely, "to_wkb"):
    spelled = {}
    for text in TEXTS:
        shape = shapely.from_wkt(text)
        spelled[text] = [
            shapely.to_wkb(shape, byte_order=order, flavor=flavor).hex()
            for order in (0, 1)
            for flavor in ("iso", "extended")
        ]
        spelled[text].append(shapely.to_wkb(shapely.set_srid(shape, 4326), include_srid=True).hex())
    (HERE / "wkb.json").write_text(json.dumps(spelled, indent=1) + "\n")
