"""xarray: how datasets, arrays and variables of every release become those of the installed one.

A dataset is variables by name, of which some are coordinates; a variable is dimensions, values and
attributes. They are made by public constructors, and indexes by xarray itself. A coordinate with several
levels was one variable before 2022.6, and is one for each level since.

Evidence: ``xarray/core/dataset.py``, ``dataarray.py``, ``variable.py``, ``indexing.py`` and ``indexes.py`` of
0.10 to 2026.9, and objects that these releases wrote (``tests/foundry/xarray``).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable
from typing import Any

import attrs
import numpy as np
from persist.migrations._pandas.common import fields

from persist.errors import RestoreError
from persist.packs import Record
from persist.registry import Registry

__all__ = ["NEWEST", "OLDEST", "declare"]

OLDEST, NEWEST = "2024.1", "2026.9"
"""The releases of xarray for which objects are made."""


@attrs.frozen
class _Held:
    """An index of pandas inside of a variable or of an index of xarray.

    Attributes:
        index: of pandas.
        level: the name of one of its levels, or None.
    """

    index: Any
    level: Any = None

    @property
    def values(self) -> Any:
        """The index, or the values of the level."""
        return self.index if self.level is None else self.index.get_level_values(self.level)


def declare(pack: Registry) -> None:
    """Declare in a pack how objects of xarray are made."""
    made = functools.partial(
        pack.rebuild, library="xarray", takes_names=True, requires=_check_installed
    )
    made("xarray.core.dataset.Dataset", caches=_caches)(_dataset)
    made("xarray.core.dataarray.DataArray", caches=_caches)(_array)
    made("xarray.core.variable.Variable", "xarray.core.variable.IndexVariable")(_variable)
    made("xarray.core.variable.Coordinate")(_variable)  # as it was called before 0.9
    module = "xarray.core.indexing"
    made(
        f"{module}.PandasIndexAdapter",
        f"{module}.PandasIndexingAdapter",
        f"{module}.PandasMultiIndexingAdapter",
    )(_adapter)
    module = "xarray.core.indexes"
    made(f"{module}.PandasIndex", f"{module}.PandasMultiIndex")(_index)


@functools.cache
def _check_installed() -> None:
    from packaging.version import Version

    release = str(importlib.import_module("xarray").__version__)
    if not Version(OLDEST) <= Version(release) < Version(f"{NEWEST}.9999"):
        raise RestoreError(
            f"xarray {release} is installed, and objects are made for {OLDEST} to {NEWEST}"
        )


def _caches(state: dict[str, object]) -> Iterable[str]:
    """Accessors that were used are kept on an object."""
    return ("_cache", "_accessors", "__weakref__")


def _adapter(record: Record) -> _Held:
    """What a variable holds in the place of an array, if it is an index."""
    state = fields(record)
    index = state.get("array")
    if not isinstance(index, importlib.import_module("pandas").Index):
        raise RestoreError("it holds no index of pandas")
    return _Held(index, state.get("level"))


def _index(record: Record) -> _Held:
    """An index of xarray, which is one of pandas and the name of a dimension."""
    index = fields(record).get("index")
    if not isinstance(index, importlib.import_module("pandas").Index):
        raise RestoreError("it holds no index of pandas")
    return _Held(index)


def _variable(record: Record) -> object:
    """A variable: dimensions, values, attributes, and how it was stored in a file."""
    xarray = importlib.import_module("xarray")
    state = fields(record)
    dims, data = state.get("_dims"), state.get("_data")
    if not isinstance(dims, tuple | list) or not isinstance(data, np.ndarray | np.generic | _Held):
        raise RestoreError(
            f"its values are a {type(data).__name__}: those of a file or of dask are not in the pickle"
        )
    is_index = isinstance(data, _Held)
    held = data.values if isinstance(data, _Held) else data
    make = xarray.IndexVariable if is_index and len(dims) == 1 else xarray.Variable
    return make(tuple(dims), held, _dict(state.get("_attrs")), _dict(state.get("_encoding")))


def _dict(value: object) -> dict[Any, Any]:
    if value is not None and not isinstance(value, dict):
        raise RestoreError(f"its attributes are a {type(value).__name__}")
    return dict(value or {})


def _variables(value: object) -> dict[object, object]:
    xarray = importlib.import_module("xarray")
    if not isinstance(value, dict) or not all(
        isinstance(one, xarray.Variable) for one in value.values()
    ):
        raise RestoreError("its variables are not known")
    return dict(value)


def _split(coords: dict[Any, Any]) -> tuple[dict[object, object], dict[object, object]]:
    """Coordinates of their own, and indexes of several levels by their dimension."""
    pandas = importlib.import_module("pandas")
    levelled = {
        name: index
        for name, one in coords.items()
        if one.dims == (name,) and isinstance(index := _index_of(one), pandas.MultiIndex)
    }
    levels = {level for index in levelled.values() for level in index.names}
    own = {name: one for name, one in coords.items() if name not in levelled and name not in levels}
    return own, levelled


def _index_of(variable: object) -> object:
    return variable.to_index() if hasattr(variable, "to_index") else None


def _with_levels(made: Any, levelled: dict[Any, Any], state: dict[str, object]) -> Any:
    """Add coordinates of several levels, and take away indexes that the object did not have."""
    coordinates = importlib.import_module("xarray").Coordinates
    for name, index in levelled.items():
        made = made.assign_coords(coordinates.from_pandas_multiindex(index, name))
    written = state.get("_indexes")
    if isinstance(written, dict) and any(isinstance(one, _Held) for one in written.values()):
        kept = {*written, *levelled, *(name for index in levelled.values() for name in index.names)}
        made = made.drop_indexes([name for name in made.xindexes if name not in kept])
    return made


def _refuse_open(state: dict[str, object]) -> None:
    if state.get("_close") is not None or state.get("_file_obj") is not None:
        raise RestoreError("it was bound to an open file")


def _dataset(record: Record) -> object:
    """A dataset."""
    xarray = importlib.import_module("xarray")
    state = fields(record)
    _refuse_open(state)
    variables = _variables(state.get("_variables"))
    names = state.get("_coord_names")
    if not isinstance(names, set | frozenset) or not names <= variables.keys():
        raise RestoreError("its coordinates are not among its variables")
    coords = {name: one for name, one in variables.items() if name in names}
    data = {name: one for name, one in variables.items() if name not in names}
    own, levelled = _split(coords)
    made = xarray.Dataset(data, coords=own, attrs=_dict(state.get("_attrs")))
    made = _with_levels(made, levelled, state)
    made.encoding = _dict(state.get("_encoding"))
    return made


def _array(record: Record) -> Any:
    """An array with coordinates."""
    xarray = importlib.import_module("xarray")
    state = fields(record)
    _refuse_open(state)
    variable = state.get("_variable")
    if not isinstance(variable, xarray.Variable):
        raise RestoreError("it has no values")
    own, levelled = _split(_variables(state.get("_coords")))
    made = xarray.DataArray(
        variable.data,
        coords=own,
        dims=variable.dims,
        name=state.get("_name"),
        attrs=variable.attrs,
    )
    made.encoding = dict(variable.encoding)
    return _with_levels(made, levelled, state)
