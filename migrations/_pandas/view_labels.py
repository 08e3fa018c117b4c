"""The labels of an axis as texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from persist.migrations._pandas.view_arrays import (
    index_view,
    integers_of,
    multi_parts,
)
from persist.migrations._pandas.view_common import (
    ITEM,
    LABEL,
    charge_for,
    class_of,
    size_of,
    step_of_label,
)

from persist.tree import LazyArray, Record, View

__all__ = ["labels_of"]


def labels_of(index: Any) -> list[str]:
    """The labels of an axis as steps of a path; of several levels joined by dots."""
    if isinstance(index, Record) and class_of(index) == "MultiIndex":
        levels, codes, _ = multi_parts(index)
        if not levels or codes is None:
            return []
        texts = [labels_of(level) for level in levels]
        charge_for(sum(LABEL * size_of(integers_of(code)) for code in codes))
        rows = zip(*(np.asarray(integers_of(code)).tolist() for code in codes), strict=False)
        return [
            ".".join(
                text[code] if 0 <= code < len(text) else "nan"
                for text, code in zip(texts, row, strict=False)
            )
            for row in rows
        ]
    seen = index_view(index)
    while isinstance(seen, View):
        if "codes" in seen.parts and "categories" in seen.parts:
            names = _labels_of(seen.parts["categories"])
            charge_for(ITEM * size_of(seen.parts["codes"]))
            return [
                names[code] if 0 <= code < len(names) else "nan"
                for code in np.asarray(seen.parts["codes"]).tolist()
            ]
        if "ordinals" in seen.parts or "left" in seen.parts:
            seen = next(iter(seen.parts.values()))
            continue
        seen = seen.value
    return _labels_of(seen)


def _labels_of(values: Any) -> list[str]:
    if isinstance(values, View):
        values = values.value
    charge_for(LABEL * size_of(values))
    if isinstance(values, np.ndarray | LazyArray):
        values = np.asarray(values)
        if values.dtype.kind in "Mm":
            return [_moment_text(item) for item in values]
        values = values.tolist()
    if not isinstance(values, list | tuple):
        return []
    return [step_of_label(item) for item in values]


def _moment_text(moment: object) -> str:
    """As ``str`` of a Timestamp spells it: no T, and no zeros behind the seconds."""
    text, mark, fraction = str(moment).replace("T", " ").partition(".")
    digits = fraction.rstrip("0")
    return text + mark + digits.ljust(6 if len(digits) < 6 else 9, "0") if digits else text
