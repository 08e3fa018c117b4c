"""`save(..., versions=)` says what an older version cannot hold, and refuses unless it is asked for."""

from __future__ import annotations

import io
import itertools
import sys
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


WALKS = tuple(
    f"persist/{name}.py" for name in ("_upgrade/losses", "_upgrade/downgrade", "_trees/copier")
)


def _calls(run: Any) -> int:
    """How many functions, of Python and of C, upgrades and copies call, and how often generators go on."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += frame.f_code.co_filename.replace("\\", "/").endswith(WALKS)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("shape", ["list", "keys", "chain"])
def test_the_losses_of_many_objects_take_work_by_their_number(shape: str) -> None:
    registry, cls = project()

    @registry.migration("lossy.Tail", 1)
    def up(state: Any) -> Any:
        return {**state, "tail": "short"}

    up.downgrade(lambda state: {k: v for k, v in state.items() if k != "tail"})
    registry.register("lossy.Tail", version=2)

    def many(count: int) -> Any:
        """Each loses one field by a step that says so, and another that only a second upgrade shows.

        Of a chain only the last: paths to all of it would be as long together as the square of its length.
        """
        lost = [shape != "chain" or n == count - 1 for n in range(count)]
        tails = [
            persist.Record("lossy.Tail", {"tail": n if lost[n] else "short"}, version=2)
            for n in range(count)
        ]
        nets = [net(cls, n + 0.5 * lost[n], None, tails[n]) for n in range(count)]
        if shape == "keys":
            return {f"key {n}": one for n, one in enumerate(nets)}
        for one, inner in itertools.pairwise(nets) if shape == "chain" else ():
            one.kids.append(inner)
        return nets[0] if shape == "chain" else nets

    def run(tree: Any) -> list[str]:
        with pytest.raises(IrreversibleError) as caught:
            file = io.BytesIO()
            versions = {"lossy.Net": 2, "lossy.Tail": 1}
            persist.save(tree, file, versions=versions, registry=registry)
        return caught.value.facts["losses"]  # type: ignore[return-value]

    assert len(set(run(many(30)))) == (
        2 if shape == "chain" else 60
    )  # and everything is imported and compiled
    few, more = many(60), many(120)
    assert _calls(lambda: run(more)) < 2.3 * _calls(lambda: run(few))


def test_a_loss_below_one_that_is_reported_is_not_reported_again() -> None:
    registry, cls = project()
    one, two = net(cls, 0.5, None), net(cls, 0.25, None)
    tree = {"a/b": one, "a": {"b": [one, two]}, "c": [two]}
    with pytest.raises(IrreversibleError) as caught:
        saved(tree, registry, 2)
    losses: Any = caught.value.facts["losses"]
    assert sorted(losses) == [
        "a/b: lossy.Net 3→2: rate = 0.5",
        "c/0: lossy.Net 3→2: rate = 0.25",
    ]
