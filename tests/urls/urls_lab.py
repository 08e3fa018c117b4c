"""A class of a lab, imported by tests and by their workers."""

from __future__ import annotations

import persist


class Net(persist.Versioned, version=2, schema="urls_lab.Net"):
    persistent = ("weights", "rate")


persist.alias("old_urls_lab.Net", Net)
persist.migration(Net, 1, persist.ops.add("rate", 0.5))


@persist.stamp(Net)
def by_fields(state: dict[str, object]) -> int:
    return 2 if "rate" in state else 1
