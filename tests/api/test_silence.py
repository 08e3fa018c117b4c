"""Nothing is silently wrong: properties that hold for every file, and remedies that work.

Each part has a heading of its own; what they share is small.
"""

from __future__ import annotations

import io
import itertools
import math
import pickle
import re
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.errors import (
    OpaqueWarning,
    PackWarning,
    PersistError,
    RestoreError,
    SchemaError,
    UnfitStateError,
    UnknownPathError,
    UnknownSchemaError,
    UntrustedError,
)
from persist.tree import Global, Record


def written(value: Any, protocol: int = 2) -> bytes:
    """Return the pickle of a tree, its records as the instances that they were."""
    out = io.BytesIO()
    PickleWriter(out.write, protocol).dump(value)
    return out.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    """Return the container of a value."""
    out = io.BytesIO()
    persist.save(value, out, **options)
    return out.getvalue()


def refusal_of(data: bytes, **options: Any) -> PersistError | None:
    """Return what `load` raises, None where it succeeds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            persist.load(data, **options)
        except PersistError as error:
            return error
    return None


# `explain` has a problem exactly where `load` raises.

NAMES = ("a", "b", "c")
VALUES = st.one_of(
    st.integers(-2, 2), st.just("text"), st.just(0.5), st.just(Global("lab", "relu")),
    st.just(Record("lab.Unknown", {"x": 1})), st.just([1, 2]),
)  # fmt: skip


def _raising(state: Any) -> Any:
    return {**state, "a": state["a"] + 1}


STEPS = (
    persist.ops.add("c", 1),
    persist.ops.rename("a", "c"),
    persist.ops.drop("a"),
    persist.ops.convert("b", int),
    persist.ops.rename("b", "a", optional=True),
    _raising,
    lambda state: None,
    lambda state: Record("lab.Other", {"x": 1}, version=1),
    lambda state: persist.ops.Instead(7),
)


def _odd(instance: Any, attribute: Any, value: Any) -> None:
    if value == -2:
        raise ValueError("it is -2")


@st.composite
def declarations(draw: st.DrawFn) -> persist.Registry:
    """A registry with a class of today, ``lab.Thing``, of one of many kinds, and its steps."""
    registry = persist.Registry("generated")
    version = draw(st.integers(1, 3))
    head = {"version": version, "schema": "lab.Thing", "registry": registry}
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    kind = draw(st.sampled_from(["plain", "attrs", "codec", "open", "typed", "resource", "hook"]))
    body: dict[str, Any] = {}
    if kind == "attrs":
        for name in names:
            default = draw(st.sampled_from([attrs.NOTHING, 0]))
            validator = draw(st.sampled_from([None, attrs.validators.instance_of(int), _odd]))
            body[name] = attrs.field(default=default, validator=validator, kw_only=True)
    elif kind == "typed":
        wanted = draw(st.sampled_from([int, str, (int, list)]))
        body["persistent"] = tuple(persist.schema.Field(name, type=wanted) for name in names)
    elif kind != "open":
        has_defaults = draw(st.booleans())
        body["persistent"] = dict.fromkeys(names, 0) if has_defaults else tuple(names)
    if kind == "codec":
        body["__getstate__"] = lambda self: vars(self)
        body["__setstate__"] = lambda self, state: vars(self).update(a=state["a"])
    registry._effects = []  # type: ignore[attr-defined]

    def opened(path: Any) -> str:
        registry._effects.append(path)  # type: ignore[attr-defined]
        return Path(path).read_text()

    def loaded(self: Any) -> None:
        registry._effects.append(self)  # type: ignore[attr-defined]
        assert self.a

    if kind == "resource":
        body["data"] = persist.resource(names[0], open=opened)
    if kind == "hook":
        body["__loaded__"] = loaded
    made = types.new_class("Thing", (persist.Versioned,), head, lambda space: space.update(body))
    if kind == "attrs":
        made = attrs.define(made, eq=False, slots=False)
    registry.register("lab.Other", version=1, fields=draw(st.sampled_from([("x",), ("y",)])))
    for start in range(1, version):
        step = draw(st.sampled_from([*STEPS, None]))
        if isinstance(step, persist.ops.Op):
            registry.migration("lab.Thing", start, step)
        elif step is not None:
            registry.migration("lab.Thing", start)(step)
    registry._kept_alive = made  # type: ignore[attr-defined]
    return registry


@st.composite
def trees(draw: st.DrawFn) -> Any:
    """A list of records of ``lab.Thing`` of several ages, some inside others, some shared."""
    records = []
    for _ in range(draw(st.integers(1, 3))):
        state = draw(st.dictionaries(st.sampled_from(NAMES), VALUES))
        record = Record("lab.Thing", state, version=draw(st.sampled_from([None, 1, 2, 4])))
        if draw(st.booleans()) and records:
            state["b"] = records[-1]
        if draw(st.integers(0, 4)) == 0:
            state["c"] = record  # a cycle
        records.append(record)
    return records


@settings(max_examples=examples(200))
@given(
    declarations(), trees(), st.sampled_from(["warn", "error", "keep"]), st.booleans(),
    st.booleans(), st.sampled_from(["pickle", "persist"]),
)  # fmt: skip
def test_explain_has_a_problem_exactly_where_load_raises(
    registry: persist.Registry, tree: Any, unknown: str, strict: bool, validate: bool, format: str
) -> None:
    data = written(tree) if format == "pickle" else saved(tree)
    options: Any = {
        "registry": registry, "unknown": unknown, "strict": strict, "validate": validate,
    }  # fmt: skip
    plan = persist.explain(data, **options)
    assert registry._effects == []  # type: ignore[attr-defined]
    refused = refusal_of(data, **options)
    reported = [str(problem) for problem in plan.problems]
    if refused is not None and not reported and plan.unrehearsed:
        # What was not rehearsed, and no more, is what raised.
        what = str(refused)
        assert "opens or computes after a load" in what or "resource 'data' of" in what
        return
    assert bool(reported) == (refused is not None), (refused, str(plan))
    if refused is not None:
        assert "cannot:" in str(plan)


def test_the_plan_tells_every_record_that_cannot_be_loaded_and_its_place(tmp_path: Path) -> None:
    registry = persist.Registry("places")

    class Net(persist.Versioned, schema="lab.Net", registry=registry):
        persistent = ("layers",)

    class Layer(persist.Versioned, schema="lab.Layer", registry=registry):
        persistent = ("net", "weights")

    net = Record("lab.Net", {"layers": []})
    net.state["layers"] = [Record("lab.Layer", {"net": net, "weight": 1}) for _ in range(2)]
    plan = persist.explain(written(net), registry=registry)
    assert [entry.path for entry in plan] == ["layers/0", "layers/1", ""]
    assert [type(problem) for problem in plan.problems] == [SchemaError, SchemaError]
    assert "the root: lab.Net" in str(plan)
    missing = Record("lab.Net", {"net": 1})
    error = refusal_of(written(missing), registry=registry)
    assert "record 'lab.Net' at the root: its state lacks the field 'layers'" in str(error)
    assert Layer is not Net


def test_the_listing_of_the_field_that_was_renamed_without_a_version() -> None:
    registry = persist.Registry("renamed")

    class After(persist.Versioned, schema="lab.A", registry=registry):
        persistent = ("x", "w")

    before = saved(Record("lab.A", {"x": 1, "z": 5}, version=1))
    (problem,) = persist.explain(before, registry=registry).problems
    assert "lacks the field 'w' of 'lab.A' (there are: x; and undeclared: z)" in str(problem)
    assert registry.class_for("lab.A") is After


def test_the_plan_tells_that_one_version_has_two_layouts() -> None:
    registry = persist.Registry("layouts")

    class Thing(persist.Versioned, schema="lab.Thing", registry=registry):
        persistent = {"a": 1, "b": 2}

    header = ("persist.envelope", 1, (("lab.Thing", 1, "01234567", "fields", ("a", "c")),))
    data = written(Record("lab.Thing", (header, (1, 2))))
    (problem,) = persist.explain(data, registry=registry).problems
    assert "has two layouts: the file was written with [a, c]" in str(problem)
    registry.layout_policy = "warn"
    plan = persist.explain(data, registry=registry)
    assert not plan.problems  # b has a default; c is left out
    assert "left out, since no class declares them: c" in str(plan)
    assert registry.class_for("lab.Thing") is Thing


def test_explain_opens_no_resource_and_calls_no_hook_and_lists_both(tmp_path: Path) -> None:
    registry = persist.Registry("effects")
    done: list[Any] = []

    class Trainer(persist.Versioned, schema="lab.Trainer", registry=registry):
        persistent = ("data_file", "log_file")
        data = persist.resource("data_file", open=done.append, missing=None)
        log = persist.resource("log_file", open=done.append, missing="lazy")

        def __loaded__(self) -> None:
            done.append(self)

    data = saved([Record("lab.Trainer", {"data_file": "d", "log_file": "l"}, version=1), 1])
    plan = persist.explain(data, registry=registry)
    assert done == []
    assert not plan.problems
    (entry,) = plan.unrehearsed
    expected = ("opens the resource 'data' from its field 'data_file'", "calls __loaded__")
    assert (entry.path, entry.unrehearsed) == ("0", expected)
    for text in expected:
        assert f"not rehearsed: a load {text}" in str(plan)
    loaded = persist.load(data, registry=registry)
    assert type(loaded[0]) is Trainer
    assert done == ["d", loaded[0]]


def test_explain_knows_what_is_trusted(nets: Any) -> None:
    tree = Record("fractions.Odd", {"x": 1})
    assert persist.explain(written(tree), trust=["lab.Net"]).opaque == ["fractions.Odd"]
    counter = Record("nets_of_silence.Net", {"x": 1}, kind="newobj")
    plan = persist.explain(written(counter), trust=["nets_of_silence.Net"])
    assert plan.opaque == []
    assert "trusted: made as its pickle says" in str(plan)
    with pytest.raises(UntrustedError):
        persist.explain(written(counter), trust=["*"])
    problem = persist.explain(written(counter), strict=True).problems[0]
    assert isinstance(problem, UnknownSchemaError)


# Remedies: the words of the message, then success.


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = types.ModuleType("nets_of_silence")
    source = (
        "class Net: pass\nclass Layer: pass\nclass Codec: pass\ndef relu(x): return max(x, 0)\n"
    )
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, "nets_of_silence", module)
    return module


def _warned(data: bytes, **options: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as reported:
        warnings.simplefilter("always")
        loaded = persist.load(data, **options)
    return loaded, [str(one.message) for one in reported if one.category is OpaqueWarning]


def _trust_in(text: str) -> list[str]:
    found = re.search(r"trust=(\[[^\]]*\])", text)
    assert found, text
    names: list[str] = eval(found[1])
    return names


def _net() -> bytes:
    """A net that holds layers, each with a codec and a function by its name."""
    layers = [
        Record(
            "nets_of_silence.Layer",
            {"codec": Record("nets_of_silence.Codec", {"n": n}, kind="newobj"), "f": f},
            kind="newobj",
        )
        for n, f in ((1, Global("nets_of_silence", "relu")), (2, Global("math", "sqrt")))
    ]
    return written({"model": Record("nets_of_silence.Net", {"layers": layers}, kind="newobj")})


def test_what_is_trusted_is_whole_or_one_message_names_all_that_is_missing(nets: Any) -> None:
    registry = persist.Registry("whole")
    loaded, reported = _warned(_net(), trust=["nets_of_silence.Net"], registry=registry)
    assert type(loaded["model"]) is Record
    (text,) = [one for one in reported if "is trusted" in one]
    assert reported == [text]
    for name in ("nets_of_silence.Layer", "nets_of_silence.Codec", "math.sqrt"):
        assert name in text
    for call in re.findall(r"persist\.constant\(.*?\)", text):
        eval(call, {"persist": registry, "math": math, "nets_of_silence": nets})
    loaded, reported = _warned(_net(), trust=_trust_in(text), registry=registry)
    assert reported == []
    assert type(loaded["model"]) is nets.Net
    assert [type(layer.codec) for layer in loaded["model"].layers] == [nets.Codec] * 2
    assert [layer.f(4) for layer in loaded["model"].layers] == [4, 2.0]


def test_the_warning_of_a_record_leads_to_the_object_at_once(nets: Any) -> None:
    registry = persist.Registry("opaque")
    _, reported = _warned(_net(), registry=registry)
    text = next(one for one in reported if "nets_of_silence.Net is not declared" in one)
    for call in re.findall(r"persist\.constant\(.*?\)", text):
        eval(call, {"persist": registry, "math": math, "nets_of_silence": nets})
    loaded, reported = _warned(_net(), trust=_trust_in(text), registry=registry)
    assert (type(loaded["model"]), reported) == (nets.Net, [])


def test_a_class_that_is_declared_as_the_warning_says(nets: Any) -> None:
    registry = persist.Registry("declared")
    data = written(Record("nets_of_silence.Codec", {"n": 1}, kind="newobj"))
    _, (text,) = _warned(data, registry=registry)
    assert "declare it with persist.register or persist.Versioned" in text
    registry.register(nets.Codec)
    loaded, reported = _warned(data, registry=registry)
    assert (type(loaded), loaded.n, reported) == (nets.Codec, 1, [])
    moved = written(Record("oldnets.Codec", {"n": 1}, kind="newobj"))
    _, (text,) = _warned(moved, registry=registry)
    call = re.search(r"persist\.alias\(.*?\)", text)
    assert call
    eval(call[0].replace("NewClass", "Codec"), {"persist": registry, "Codec": nets.Codec})
    loaded, reported = _warned(moved, registry=registry)
    assert (type(loaded), reported) == (nets.Codec, [])


def test_a_class_written_in_c_is_not_said_to_be_declarable() -> None:
    data = written(Record("itertools.groupby", {"x": 1}, kind="newobj"))
    _, (text,) = _warned(data)
    assert "persist.register" not in text
    with pytest.raises(SchemaError) as caught:
        persist.Registry("c").register(itertools.groupby)
        persist.Registry("c").layout(itertools.groupby)
    assert caught.value.remedy
    with pytest.raises(UnknownSchemaError) as refused:
        persist.save(itertools.groupby([]), io.BytesIO())
    assert "persist.register" not in refused.value.remedy


def test_what_functions_make_is_never_promised_to_trust(nets: Any) -> None:
    made = Record("nets.rebuild", args=(1,), maker=Global("nets", "rebuild"), kind="reduce")
    data = written(Record("nets_of_silence.Net", {"part": made}, kind="newobj"))
    loaded, (text,) = _warned(data, trust=["nets_of_silence.Net"])
    assert type(loaded) is Record
    assert "nets.rebuild" in text
    assert "trust=[" not in text
    assert persist.open(data).scalars["part/args/0"] == 1  # what the text says


def test_a_function_in_trust_is_refused_with_the_way_out(nets: Any) -> None:
    registry = persist.Registry("function")
    data = written(Record("nets_of_silence.Layer", {"f": Global("math", "sqrt")}, kind="newobj"))
    trust = ["nets_of_silence.Layer", "math.sqrt"]
    with pytest.raises(UntrustedError, match="not a class") as caught:
        persist.load(data, trust=trust, registry=registry)
    call = re.search(r"persist\.constant\(.*?\)", caught.value.remedy)
    assert call
    eval(call[0], {"persist": registry, "math": math})
    loaded = persist.load(data, trust=trust[:1], registry=registry)
    assert loaded.f(4) == 2.0


def test_a_name_inside_a_declared_object_is_reported_and_its_remedy_works() -> None:
    registry = persist.Registry("names")

    class Step(persist.Versioned, schema="lab.Step", registry=registry):
        persistent = ("f",)

    data = written(Record("lab.Step", {"f": Global("math", "sqrt")}))
    loaded, (text,) = _warned(data, registry=registry)
    assert type(loaded) is Step
    assert "at 'f': math.sqrt stayed a name" in text
    call = re.search(r"persist\.constant\(.*?\)", text)
    assert call
    eval(call[0], {"persist": registry, "math": math})
    loaded, reported = _warned(data, registry=registry)
    assert (loaded.f, reported) == (math.sqrt, [])


@pytest.mark.parametrize("pattern", ["*", "*.Net", "?ets.*", "[a-z]*.Net", "**"])
def test_a_pattern_that_begins_with_a_wildcard_is_refused(pattern: str) -> None:
    for trust in ([pattern], pattern, ["nets.Net", pattern]):
        with pytest.raises(UntrustedError, match="every module") as caught:
            persist.load(written({"x": 1}), trust=trust)
    assert _trust_in(caught.value.remedy) == ["lab.*"]
    assert persist.load(written({"x": 1}), trust=["lab.*"]) == {"x": 1}


def test_a_trusted_name_is_found_however_the_file_parts_it(nets: Any) -> None:
    data = written(Record(Global("", "nets_of_silence.Net"), {}, kind="newobj"), 4)
    assert persist.open(data).tree.qualname == "nets_of_silence.Net"
    assert type(persist.load(data, trust=["nets_of_silence.Net"])) is nets.Net


def test_a_trusted_name_that_moved_is_trusted_under_its_new_name(nets: Any) -> None:
    registry = persist.Registry("moved")
    registry.alias("oldnets.Net", "nets_of_silence.Net")
    data = written(Record("oldnets.Net", {}, kind="newobj"))
    assert type(persist.load(data, trust=["oldnets.Net"], registry=registry)) is nets.Net


def test_a_trusted_module_that_exits_when_it_is_imported_ends_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exits_of_silence.py").write_text("raise SystemExit(3)")
    (tmp_path / "fails_of_silence.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("exits_of_silence", "fails_of_silence"):
        data = written(Record(f"{name}.Net", {}, kind="newobj"))
        with pytest.raises(UnknownSchemaError, match="cannot be imported: (SystemExit|Zero)"):
            persist.load(data, trust=[f"{name}.Net"])


def test_the_remedies_of_a_field_that_lacks() -> None:
    def registry_with(**head: Any) -> persist.Registry:
        registry = persist.Registry("lacks")
        body = {"persistent": head.pop("persistent")}
        kept = types.new_class(
            "A", (persist.Versioned,), {"schema": "lab.A", "registry": registry, **head},
            lambda space: space.update(body),
        )  # fmt: skip
        registry._kept_alive = kept  # type: ignore[attr-defined]
        return registry

    data = written(Record("lab.A", {"weight": 1, "bias": 2}))
    error = refusal_of(data, registry=registry_with(persistent=("weights", "bias")))
    assert error is not None
    assert "undeclared: weight" in str(error)
    assert 'persist.ops.rename("weight", "weights")' in error.remedy
    registry = registry_with(persistent=("weights", "bias"), version=2)
    step = re.search(r'persist\.ops\.rename\("weight", "weights"\)', error.remedy)
    assert step
    registry.migration("lab.A", 1, eval(step[0]))
    assert persist.load(data, registry=registry).weights == 1
    given_default = registry_with(persistent={"weights": 0, "bias": 0})
    loaded = persist.load(data, registry=given_default, unknown="drop")
    assert loaded.weights == 0


def test_a_path_that_is_not_there_is_reported_with_the_nearest() -> None:
    file = persist.open(saved({"model": {"weight": [1.5], "bias": 2}, "step": 3}))
    for wrong, right in (("weight", "model/weight"), ("model/baos", "model/bias")):
        with pytest.raises(KeyError) as caught:
            file.scalars[wrong]
        assert isinstance(caught.value, UnknownPathError)
        assert f"The nearest are: '{right}'" in str(caught.value)
        assert right in caught.value.near
        assert file.scalars[right] is not None
    with pytest.raises(UnknownPathError, match="There are no paths"):
        file.arrays["weight"]
    assert file.scalars.get("weight") is None
    assert "weight" not in file.scalars
    plan = persist.explain(written(Record("lab.Nothing", {"x": 1})))
    with pytest.raises(UnknownPathError, match="nothing is at 'model'"):
        plan["model"]
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


FIELDS = np.zeros(2, [("x", "i4")])


@pytest.mark.parametrize(
    ("step", "state"),
    [
        (persist.ops.rename("t/x", "q"), {"t": FIELDS}),
        (persist.ops.drop("t/x"), {"t": FIELDS}),
        (persist.ops.astype("t", [("x", "i8"), ("y", "f4")]), {"t": FIELDS}),
        (persist.ops.reshape("t", (5,)), {"t": np.zeros(3)}),
        (persist.ops.transpose("t", (0, 1, 2)), {"t": np.zeros(3)}),
        (persist.ops.merge(("a", "b"), "c"), {"a": np.zeros(2), "b": np.zeros((2, 2))}),
        (persist.ops.split("a", ("b", "c")), {"a": np.array(3.0)}),
        (persist.ops.rename("dense/kernel", "w"), {"dens": 1}),
        (persist.ops.nest("a", "b"), (1,)),
        *(
            (step, None)
            for step in (
                persist.ops.nest("a", "b"), persist.ops.flatten("a"), persist.ops.drop("a"),
                persist.ops.rename("a", "b"), persist.ops.add("a", 1), persist.ops.unpack("a"),
                persist.ops.split("a", ("b", "c")), persist.ops.merge(("a", "b"), "c"),
                persist.ops.astype("a", "f4"),
            )
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_ready_made_step_that_does_not_fit_says_so(step: Any, state: Any) -> None:
    with pytest.raises(UnfitStateError) as caught:
        step.apply(state)
    assert str(caught.value)


def test_steps_reach_keys_that_hold_slashes() -> None:
    state = {"dense/kernel": 1, "dense/bias": 2, "dense/rate": "3"}
    assert persist.ops.rename("dense/kernel", "w").apply(dict(state)).pop("w") == 1
    assert "dense/bias" not in persist.ops.drop("dense/bias").apply(dict(state))
    assert persist.ops.convert("dense/rate", int).apply(dict(state))["dense/rate"] == 3
    registry = persist.Registry("slash")
    registry.register("lab.A", version=2, fields=("t",))
    step = persist.ops.rename("t/x", "t/y")
    registry.migration("lab.A", 1, step)
    error = refusal_of(saved(Record("lab.A", {"t": FIELDS}, version=1)), registry=registry)
    assert error is not None
    assert "persist.ops.convert" in error.remedy  # as it says:
    from numpy.lib.recfunctions import rename_fields

    convert = persist.ops.convert("t", lambda array: rename_fields(array, {"x": "y"}))
    assert convert.apply({"t": FIELDS})["t"].dtype.names == ("y",)


def test_steps_are_equal_where_they_do_the_same() -> None:
    ops = persist.ops
    assert ops.drop("c") == ops.drop("c")
    assert ops.drop("c") != ops.drop("c", default=1)
    assert ops.convert("b", float) == ops.convert("b", float)
    assert ops.convert("b", float) != ops.convert("b", float, inverse=int)
    assert ops.add("a", np.zeros(2)) == ops.add("a", np.zeros(2))
    assert ops.add("a", np.zeros(9)) != ops.add("a", np.ones(9))
    assert hash(ops.drop("c")) == hash(ops.drop("c"))


def test_pickle_refuses_what_the_container_refuses(nets: Any) -> None:
    class Local:
        pass

    for value in (Local(), nets.Net(), math.sqrt, lambda x: x, {"a": [nets.Layer()]}):
        for format in ("persist", "pickle"):
            with pytest.raises(PersistError):
                persist.save(value, io.BytesIO(), format=format)


def test_a_step_that_loads_its_own_file_is_one_clear_error(tmp_path: Path) -> None:
    registry = persist.Registry("again")
    registry.register("lab.A", version=2, fields=("x",))
    path = tmp_path / "a.persist"
    persist.save(Record("lab.A", {"x": 1}, version=1), path)

    @registry.migration("lab.A", 1)
    def up(state: Any) -> Any:
        return {"x": persist.load(path, registry=registry).x}

    with pytest.raises(SchemaError, match="loaded while it is being loaded") as caught:
        persist.load(path, registry=registry)
    assert len(str(caught.value)) < 1000
    assert len(persist.explain(path, registry=registry).problems) == 1

    @registry.migration("lab.A", 1, to=3)
    def other(state: Any) -> Any:
        return {"x": persist.open(path).scalars["x"]}

    registry.register("lab.A", version=3, fields=("x",))  # and so the remedy
    with pytest.warns(OpaqueWarning):  # its schema is data alone
        assert persist.load(path, registry=registry).x == 1


def test_a_reader_of_others_that_raises_in_its_claim_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from persist._api.detect import readers
    from persist.readers.base import Reader

    class Faulty(Reader):
        name = "faulty"

        def claims(self, source: Any) -> str | None:
            raise ZeroDivisionError("by 0")

    known = readers()
    monkeypatch.setattr("persist._api.detect.readers", lambda: (*known, Faulty()))
    with pytest.warns(PackWarning, match=r"the reader 'faulty'.*ZeroDivisionError.*by 0"):
        assert persist.load(pickle.dumps({"x": 1})) == {"x": 1}


def test_an_unknown_constant_of_a_plain_pickle_is_refused_and_slows_nothing(nets: Any) -> None:
    data = b"\x80\x04]cpersist.versioned\n_constant\n\x8c\x10lab.silence.none\x85Ra."
    with pytest.raises(SchemaError) as caught:
        pickle.loads(data)
    call = re.search(r"persist\.constant\('(.*?)', \.\.\.\)", caught.value.remedy)
    assert call
    assert not any("UNRESOLVED" in vars(sys.modules[name]) for name in
                   ("persist._instances.constants", "persist._instances.compiled_current", "persist._instances.compiled_older"))  # fmt: skip
    persist.constant(call[1], nets.relu)
    assert pickle.loads(data) == [nets.relu]


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04cpersist.versioned\n_constant\n]\x85R.",
        b"\x80\x04cpersist.versioned\n_constant\n(lR.",
        b"\x80\x04cpersist.versioned\n_array\nca\nB\nK\x01\x86R.",
        b"\x80\x04cpersist.versioned\n_array\nK\x01K\x01\x86R.",
        b"\x80\x04cpersist.versioned\n_constant\n\x8a\xff" + b"\x7f" * 255 + b"\x85R.",
        b"\x80\x04cpersist.versioned\n_constant\n" + b"(" * 3000 + b"t" * 3000 + b"\x85R.",
    ],
    ids=["list", "no tuple", "array of a class", "array of a number", "huge", "deep"],
)
def test_hostile_arguments_of_our_own_functions_raise_nothing_of_pythons(data: bytes) -> None:
    try:
        file = persist.open(data)
        list(file.arrays.items())
        list(file.scalars.items())
        assert file.structure
        assert str(file)
    except PersistError:
        pass
    for act in (refusal_of, lambda data: str(persist.explain(data))):
        try:
            act(data)
        except PersistError as error:
            assert str(error)


# Restoring: the rule of the message is the rule that works.


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        (["model/_orig_mod.weight", "model/_orig_mod.bias", "optimizer/0/exp_avg", "lr"], ""),
        (["net/module.weight", "net/module.bias", "ema/weight", "ema/bias", "optim/m"], ""),
        (["module.weight", "module.bias"], ""),
        (["weight", "bias"], "module."),
        (["weight", "bias", "optimizer/0/exp_avg"], "module."),
        (["weight", "bias"], "net.module."),
    ],
)
def test_the_rule_that_a_refused_restore_tells_fills_the_model(
    file: list[str], wanted: str
) -> None:
    arrays = {name: np.full(2, float(number)) for number, name in enumerate(file)}
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    into = {f"{wanted}{name}": np.zeros(2) for name in ("weight", "bias")}
    with pytest.raises(RestoreError) as caught:
        persist.restore(out.getvalue(), into)
    rule = re.search(r"match=(\{.*?\})", caught.value.remedy)
    assert rule, caught.value.remedy
    report = persist.restore(out.getvalue(), into, match=eval(rule[1]))
    assert report.is_complete
    assert [into[f"{wanted}{name}"][0] for name in ("weight", "bias")] == [0.0, 1.0]


# Cases that others met; each folder of tests/cases has the recipe of its file.

CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize("name", ["tagger.cloudpickle", "tagger.dill"])
def test_an_object_of_a_class_held_by_value_is_of_that_class(name: str) -> None:
    registry = persist.Registry("tagger")
    path = CASES / "class_by_value" / name

    class Tagger(persist.Versioned, version=1, schema="case.Tagger", registry=registry):
        persistent = ("weights", "scale")

    registry.alias("__main__.Tagger", Tagger)
    assert persist.open(path).tree.qualname == "__main__.Tagger"
    assert "__main__.Tagger" in persist.explain(path, registry=persist.Registry("none")).opaque
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OpaqueWarning)  # of its function, which stays inert
        loaded = persist.load(path, registry=registry)
    assert type(loaded) is Tagger
    assert loaded.weights.tolist() == [0.0, 1.0, 2.0]
    assert type(loaded.scale) is Record


@pytest.mark.extra("cloudpickle")
def test_what_the_cloudpickle_of_today_writes_is_of_its_class() -> None:
    import cloudpickle

    class Tagger:
        def __init__(self) -> None:
            self.weights = [0, 1]

    Tagger.__module__ = "__main__"
    for protocol in (2, 4, 5):
        tree = persist.open(cloudpickle.dumps(Tagger(), protocol)).tree
        assert tree.qualname == "__main__.Tagger"
        assert tree.weights == [0, 1]


def test_a_function_inside_a_trusted_object_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = persist.Registry("step")
    path = CASES / "function_in_live_object" / "step.pkl"
    step = type("Step", (), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Step", step, raising=False)
    with pytest.warns(OpaqueWarning, match=r'persist\.constant\("math\.sqrt", math\.sqrt\)'):
        persist.load(path, trust=["__main__.Step"], registry=registry)
    registry.constant("math.sqrt", math.sqrt)
    loaded = persist.load(path, trust=["__main__.Step"], registry=registry)
    assert (type(loaded), loaded.func(4)) == (step, 2.0)


@pytest.mark.parametrize("name", ["frame_pandas_1.pkl", "frame_pandas_3.pkl"])
def test_a_frame_is_never_half_alive(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts are made by functions; a class of that name stands for pandas here."""
    path = CASES / "frame_live" / name
    cls = persist.open(path).tree.qualname
    module, _, last = cls.rpartition(".")
    for part in (module.partition(".")[0], module):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    setattr(sys.modules[module], last, type(last, (), {"__module__": module}))
    for trust in ([cls], ["pandas.*"]):
        with pytest.warns(OpaqueWarning, match="is trusted, but stayed a record") as reported:
            loaded = persist.load(path, trust=trust, live=False)
        assert type(loaded) is Record
        assert repr(loaded)
        assert len([one for one in reported if one.category is OpaqueWarning]) == 1
