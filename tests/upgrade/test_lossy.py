"""`save(..., versions=)` says what an older version cannot hold, and refuses unless it is asked for."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import persist
from persist import ops
from persist.errors import IrreversibleError


def project() -> tuple[Any, Any]:
    registry = persist.Registry("lossy")

    class Net(persist.Versioned, version=4, schema="lossy.Net", registry=registry):
        __qualname__ = "Net"
        persistent = ("name", "rate", "w", "kids")

    registry.migration(Net, 1, ops.rename("title", "name"))
    registry.migration(Net, 2, ops.convert("rate", float, inverse=int))
    registry.migration(Net, 3, ops.astype("w", "float64", was="float32"))
    return registry, Net


def net(cls: Any, rate: float, w: Any, *kids: Any) -> Any:
    made = cls()
    made.name, made.rate, made.kids = "n", rate, [*kids]
    made.w = np.arange(2.0) if w is None else w
    return made


def saved(obj: Any, registry: Any, version: int, **options: Any) -> bytes:
    file = io.BytesIO()
    versions = {"lossy.Net": version}
    persist.save(obj, file, versions=versions, registry=registry, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["persist", "pickle"])
def test_what_is_lost_is_listed_and_refused(format: str) -> None:
    registry, cls = project()
    tree = {"a": net(cls, 1.0, np.arange(2.0), net(cls, 0.62, np.arange(3.0)))}
    assert saved(tree, registry, 3, format=format)
    with pytest.raises(
        IrreversibleError, match=r"would be lost: a/kids/0.*0\.62.*lossy=True"
    ) as caught:
        saved(tree, registry, 2, format=format)
    losses: Any = caught.value.facts["losses"]
    assert len(losses) == 1
    with_data = saved(tree, registry, 2, format=format, lossy=True)  # the remedy
    inner = persist.open(with_data).tree["a"]["kids"][0]
    assert (inner["rate"], inner["name"]) == (0, "n")
    tree["a"].kids.clear()
    assert persist.load(saved(tree, registry, 1), registry=registry)["a"].rate == 1.0


def test_a_file_is_not_touched_where_something_would_be_lost(tmp_path: Any) -> None:
    registry, cls = project()
    target = tmp_path / "net.persist"
    target.write_bytes(b"before")
    with pytest.raises(IrreversibleError, match="net.persist"):
        persist.save(net(cls, 0.5, None), target, versions={"lossy.Net": 2}, registry=registry)
    assert target.read_bytes() == b"before"


def test_losses_are_found_in_cycles_and_once() -> None:
    registry, cls = project()
    first, second = net(cls, 0.25, None), net(cls, 1.0, None)
    first.kids, second.kids = [second, second], [first]
    with pytest.raises(IrreversibleError) as caught:
        saved([first, second, first], registry, 2)
    losses: Any = caught.value.facts["losses"]
    assert len(losses) == 1
    assert losses == ["0: lossy.Net 3→2: rate = 0.25"]


def test_a_downgrade_that_no_upgrade_leads_back_from_is_a_loss() -> None:
    registry = persist.Registry("one way")
    registry.register("lossy.Way", version=2, fields=("a",))

    @registry.migration("lossy.Way", 1)
    def up(state: Any) -> Any:
        raise RuntimeError("no")

    up.downgrade(lambda state: {})
    record = persist.Record("lossy.Way", {"a": 1}, version=2)
    file = io.BytesIO()
    with pytest.raises(IrreversibleError, match="the root: .*no upgrade can show"):
        persist.save(record, file, versions={"lossy.Way": 1}, registry=registry)


def test_many_objects_inside_each_other_take_no_longer_than_their_number() -> None:
    """Each of a chain holds all that follow: their states are not copied again for each."""
    registry, cls = project()
    last = net(cls, 1.0, None)
    for _ in range(200):
        last = net(cls, 1.0, None, last)
    again = persist.load(saved([last], registry, 2), registry=registry)
    assert type(again[0]) is cls
