"""Declared classes of torch modules: saved, and loaded in every later version, by every way that torch has."""

from __future__ import annotations

import copy
import io
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import RestoreError, SchemaError, UnknownFieldWarning

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

torch = pytest.importorskip("torch")
nn = torch.nn

NAME = "lab_of_modules"

FIRST = """
class Block({block}nn.Module{block_version}):
    {block_fields}
    def __init__(self, size=8):
        super().__init__()
        self.size = size
        self.qkv = nn.Linear(size, 3 * size)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return torch.sigmoid(q * k) * v


class Net({net}nn.Module{net_version}):
    {net_fields}
    def __init__(self, inputs=5, hidden=8):
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        self.fc1 = nn.Linear(inputs, hidden)
        self.bn = nn.BatchNorm1d(hidden)
        self.blocks = nn.ModuleList([Block(hidden) for _ in range(2)])
        self.proj = nn.Parameter(torch.randn(hidden, 3))

    def forward(self, x):
        x = self.bn(self.fc1(x))
        for block in self.blocks:
            x = block(x)
        return x @ self.proj
"""

TODAY = """
class Block(persist.Versioned, nn.Module, version=2, schema="lab.Block", registry=registry):
    persistent = ("size",)

    def __init__(self, size=8):
        super().__init__()
        self.size = size
        self.q, self.k, self.v = (nn.Linear(size, size) for _ in range(3))

    def forward(self, x):
        return torch.sigmoid(self.q(x) * self.k(x)) * self.v(x)


class Net(persist.Versioned, nn.Module, version=3, schema="lab.Net", registry=registry):
    persistent = ("inputs", "width")

    def __init__(self, inputs=5, width=8):
        super().__init__()
        self.inputs, self.width = inputs, width
        self.hidden = nn.Linear(inputs, width)
        self.bn = nn.BatchNorm1d(width)
        self.layers = nn.ModuleList([Block(width) for _ in range(2)])
        self.proj = nn.Linear(width, 3, bias=False)
        self.register_buffer("scale", torch.zeros(3))
        self.register_buffer("shift", torch.zeros(3))

    def forward(self, x):
        x = self.bn(self.hidden(x))
        for block in self.layers:
            x = block(x)
        return self.proj(x) * self.scale + self.shift


registry.migration(
    "lab.Block", 1, ops.split("qkv.*", ("q.*", "k.*", "v.*"))
)
registry.migration(
    "lab.Net", 1,
    ops.rename("fc1.*", "hidden.*"),
    ops.rename("blocks.*", "layers.*"),
    ops.rename("hidden", "width", optional=True),
    ops.drop("*.num_batches_tracked"),
)
registry.migration(
    "lab.Net", 2,
    ops.transpose("proj"), ops.rename("proj", "proj.weight"), ops.add("scale", np.ones(3)),
)
"""


def made(text: str, registry: Any, name: str = NAME) -> Any:
    """A module of Python in which these classes are, as if it had been imported."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    scope = {
        "torch": torch,
        "nn": nn,
        "persist": persist,
        "ops": persist.ops,
        "np": np,
        "registry": registry,
    }
    module.__dict__.update(scope)
    exec(text, module.__dict__)
    return module


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    sys.modules.pop(NAME, None)


def first(how: str) -> Any:
    """The oldest release: modules of torch alone, or declared already."""
    declared = how == "declared"
    registry = persist.Registry("first")
    head = "persist.Versioned, " * declared
    return made(
        FIRST.format(
            block=head,
            net=head,
            block_version=', schema="lab.Block", registry=registry' * declared,
            net_version=', schema="lab.Net", registry=registry' * declared,
            block_fields='persistent = ("size",)' * declared,
            net_fields='persistent = ("inputs", "hidden")' * declared,
        ),
        registry,
    ), registry


def trained(module: Any) -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    net = module.Net(5)
    x = torch.randn(6, 5)
    net(x)
    net.eval()
    return net, x, net(x).detach()


def saved(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


WAYS: dict[str, tuple[Any, Any]] = {
    "torch.save, persist.load": (
        lambda net, registry: saved(net),
        lambda data, today, registry: persist.load(io.BytesIO(data), registry=registry),
    ),
    "torch.save, torch.load": (
        lambda net, registry: saved(net),
        lambda data, today, registry: torch.load(io.BytesIO(data), weights_only=False),
    ),
    "pickle": (
        lambda net, registry: pickle.dumps(net),
        lambda data, today, registry: pickle.loads(data),
    ),
    "pickle, persist.load": (
        lambda net, registry: pickle.dumps(net),
        lambda data, today, registry: persist.load(io.BytesIO(data), registry=registry),
    ),
    "state_dict, load_state_dict": (
        lambda net, registry: saved(net.state_dict()),
        lambda data, today, registry: filled(today, torch.load(io.BytesIO(data))),
    ),
    "state_dict without metadata": (
        lambda net, registry: saved(dict(net.state_dict())),
        lambda data, today, registry: filled(today, torch.load(io.BytesIO(data))),
    ),
    "state_dict in a wrapper": (
        lambda net, registry: saved(
            {"lightning": {f"net.{k}": v for k, v in net.state_dict().items()}}
        ),
        lambda data, today, registry: wrapped(today, torch.load(io.BytesIO(data))["lightning"]),
    ),
    "state_dict of DistributedDataParallel": (
        lambda net, registry: saved({f"module.{k}": v for k, v in net.state_dict().items()}),
        lambda data, today, registry: filled(today, torch.load(io.BytesIO(data))),
    ),
    "state_dict, persist.load as a class": (
        lambda net, registry: saved({"model": net.state_dict()}),
        lambda data, today, registry: persist.load(
            io.BytesIO(data), today.Net, at="model", registry=registry
        ),
    ),
    "compiled state_dict, persist.load as a class": (
        lambda net, registry: saved({f"_orig_mod.{k}": v for k, v in net.state_dict().items()}),
        lambda data, today, registry: persist.load(io.BytesIO(data), today.Net, registry=registry),
    ),
    "state_dict, persist.restore": (
        lambda net, registry: saved(net.state_dict()),
        lambda data, today, registry: (
            persist.restore(io.BytesIO(data), today.Net(5), registry=registry).value
        ),
    ),
}
DECLARED_ONLY: dict[str, tuple[Any, Any]] = {
    f"persist.save as {format}": (
        lambda net, registry, format=format: written(net, registry, format),
        lambda data, today, registry: persist.load(io.BytesIO(data), registry=registry),
    )
    for format in ("persist", "pickle")
}


def written(net: Any, registry: Any, format: str) -> bytes:
    out = io.BytesIO()
    persist.save(net, out, format=format, registry=registry)
    return out.getvalue()


def filled(today: Any, state: Any) -> Any:
    net = today.Net(5)
    assert not (lambda found: found.missing_keys or found.unexpected_keys)(
        net.load_state_dict(state)
    )
    return net


def wrapped(today: Any, state: Any) -> Any:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = today.Net(5)

    wrapper = Wrapper()
    wrapper.load_state_dict(state)
    return wrapper.net


@pytest.mark.parametrize(
    ("how", "way"),
    [
        *(("alone", way) for way in WAYS),
        *(("declared", way) for way in (*WAYS, *DECLARED_ONLY)),
    ],
)
def test_a_module_of_an_older_version_comes_up(how: str, way: str) -> None:
    save, load = {**WAYS, **DECLARED_ONLY}[way]
    old, old_registry = first(how)
    net, x, expected = trained(old)
    data = save(net, old_registry)
    today_registry = persist.Registry("today")
    today = made(TODAY, today_registry)
    loaded = load(data, today, today_registry)
    assert type(loaded) is today.Net
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert loaded.scale.dtype == torch.float32
    loaded.eval()
    torch.testing.assert_close(loaded(x), expected)


def test_state_dicts_say_the_versions_of_declared_modules() -> None:
    net = made(TODAY, persist.Registry("today")).Net()
    metadata = net.state_dict()._metadata
    assert metadata[""] == {"version": 3, "persist": {"lab.Net": 3}}
    assert metadata["layers.1"] == {"version": 2, "persist": {"lab.Block": 2}}
    assert metadata["layers.1.q"] == {"version": 1}


def test_a_state_dict_of_today_without_a_version_is_left_alone() -> None:
    net = made(TODAY, persist.Registry("today")).Net()
    other = made(TODAY, persist.Registry("today")).Net()
    other.load_state_dict({name: value.clone() for name, value in net.state_dict().items()})
    assert all(map(torch.equal, net.state_dict().values(), other.state_dict().values()))


def test_loading_an_older_state_dict_changes_nothing_of_it() -> None:
    old, _ = first("declared")
    state = old.Net().state_dict()
    before = {name: value.clone() for name, value in state.items()}
    today = made(TODAY, persist.Registry("today"))
    for _ in range(2):
        today.Net().load_state_dict(state)
    assert list(state) == list(before)
    assert all(torch.equal(state[name], value) for name, value in before.items())


def test_a_state_dict_of_a_later_version_is_refused() -> None:
    registry = persist.Registry("today")
    today = made(TODAY, registry)
    state = today.Net().state_dict()
    state._metadata[""]["persist"]["lab.Net"] = 4
    with pytest.raises(persist.errors.FutureVersionError, match="version 4"):
        today.Net().load_state_dict(state)


SMALL = """
class Net(persist.Versioned, nn.Module, schema="lab.Small", registry=registry):
    def __init__(self, *sizes, act="relu", bias=True, device=None):
        super().__init__()
        self.act = getattr(nn, {"relu": "ReLU", "tanh": "Tanh"}[act])()
        self.layers = nn.ModuleList(
            nn.Linear(one, other, bias=bias) for one, other in zip(sizes, sizes[1:])
        )
        self.head = nn.Linear(sizes[-1], sizes[0], bias=False)
        self.mix = nn.Linear(sizes[-1], sizes[0], bias=False)
        self.mix.weight = self.head.weight
        self.register_buffer("mask", torch.arange(float(sizes[0])), persistent=False)

    def forward(self, x):
        for layer in self.layers:
            x = self.act(layer(x))
        return self.head(x) + self.mix(x) * self.mask
"""


@pytest.fixture
def small() -> Any:
    registry = persist.Registry("small")
    return made(SMALL, registry), registry


def test_arguments_ties_modes_and_buffers_survive(small: Any, tmp_path: Path) -> None:
    module, registry = small
    net = module.Net(4, 6, 5, act="tanh", bias=False)
    net.layers[1].eval()
    net.layers[0].weight.requires_grad_(False)
    x = torch.randn(3, 4)
    persist.save(net, tmp_path / "net.persist", registry=registry)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    again = persist.load(tmp_path / "net.persist", registry=registry)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(again(x), net(x))
    assert again.mix.weight is again.head.weight
    assert again.training
    assert [layer.training for layer in again.layers] == [True, False]
    assert [one.requires_grad for one in again.layers.parameters()] == [False, True]
    assert isinstance(again.act, nn.Tanh)
    persist.save(again, tmp_path / "again.persist", registry=registry)
    assert torch.equal(persist.load(tmp_path / "again.persist", registry=registry)(x), net(x))


def test_one_file_of_a_tied_parameter_holds_it_once(small: Any, tmp_path: Path) -> None:
    module, registry = small
    net = module.Net(300, 300)
    persist.save(net, tmp_path / "net.persist", registry=registry)
    assert (tmp_path / "net.persist").stat().st_size < 2.5 * 300 * 300 * 4


def test_copies_are_those_of_torch(small: Any) -> None:
    net = small[0].Net(4, 6)
    calls: list[int] = []
    net.register_forward_hook(lambda *_: calls.append(1))
    deep = copy.deepcopy(net)
    deep(torch.randn(2, 4))
    assert calls == [1]
    assert deep.mix.weight is deep.head.weight is not net.head.weight
    assert copy.copy(net).head.weight is net.head.weight


def test_a_compiled_module_is_saved_as_itself(small: Any) -> None:
    module, registry = small
    net = module.Net(4, 6)
    data = written(torch.compile(net), registry, "persist")
    x = torch.randn(2, 4)
    assert torch.equal(persist.load(io.BytesIO(data), registry=registry)(x), net(x))


def test_device_and_dtype_are_where_the_module_is_made(small: Any) -> None:
    module, registry = small
    net = module.Net(4, 6)
    data = written(net, registry, "persist")
    half = persist.load(io.BytesIO(data), dtype=torch.bfloat16, registry=registry)
    assert {one.dtype for one in [*half.parameters(), *half.buffers()]} == {torch.bfloat16}
    assert half.mix.weight is half.head.weight
    assert half.mask.tolist() == [0, 1, 2, 3]
    meta = persist.load(io.BytesIO(data), device="meta", registry=registry)
    assert all(one.is_meta for one in meta.parameters())
    with pytest.raises(persist.PersistError, match="no dtype of torch"):
        persist.load(io.BytesIO(data), dtype="float31", registry=registry)
    with pytest.raises(persist.PersistError, match="no device of torch"):
        persist.load(io.BytesIO(data), device="cdua", registry=registry)


def test_tensors_without_values_are_not_saved(small: Any) -> None:
    module, registry = small
    with torch.device("meta"):
        net = module.Net(4, 6)
    with pytest.raises(SchemaError, match="device meta and has no values"):
        written(net, registry, "persist")


ODD = """
class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = torch.zeros(1)
    def get_extra_state(self):
        return {"seen": self.seen, "name": "counting"}
    def set_extra_state(self, state):
        self.seen = state["seen"]
        assert state["name"] == "counting"


class Net(persist.Versioned, nn.Module, schema="lab.Odd", registry=registry):
    persistent = ("rates",)
    def __init__(self, rates):
        super().__init__()
        self.rates = rates
        steps = [rate.item() for rate in torch.rand(3) * 0 + torch.linspace(0, 1, 3)]
        self.drops = nn.ModuleList(nn.Dropout(step) for step in steps)
        self.lazy = nn.LazyLinear(3)
        self.later = nn.LazyLinear(2)
        self.normal = torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
        self.counting = Counting()
        self.table = nn.Embedding(4, 3)
"""


def test_lazy_parametrized_and_extra_state(tmp_path: Path) -> None:
    registry = persist.Registry("odd")
    module = made(ODD, registry)
    net = module.Net([0.5, 0.25])
    net.lazy(torch.randn(1, 7))
    net.counting.seen = torch.full((1,), 5.0)
    persist.save(net, tmp_path / "net.persist", registry=registry)
    again = persist.load(tmp_path / "net.persist", registry=registry)
    assert again.rates == [0.5, 0.25]
    assert [drop.p for drop in again.drops] == [0, 0.5, 1]
    assert torch.equal(again.lazy.weight, net.lazy.weight)
    assert again.lazy.weight.shape == (3, 7)
    assert again.later.has_uninitialized_params()
    assert again.later(torch.randn(1, 2)).shape == (1, 2)
    x = torch.randn(2, 3)
    assert torch.equal(again.normal(x), net.normal(x))
    assert again.counting.seen.item() == 5


INHERITED = """
class Base(persist.Versioned, nn.Module, version={base}, schema="lab.Base", registry=registry):
    persistent = ("width",)
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.{stem} = nn.Linear(width, width)


class Net(Base, version={net}, schema="lab.Derived", registry=registry):
    persistent = ("outputs",)
    def __init__(self, width, outputs):
        super().__init__(width)
        self.outputs = outputs
        self.{head} = nn.Linear(width, outputs)
"""


@pytest.mark.parametrize("way", ["persist", "pickle", "state_dict"])
def test_each_class_of_an_mro_has_its_own_version(way: str) -> None:
    before = persist.Registry("before")
    old = made(INHERITED.format(base=1, net=1, stem="body", head="out"), before)
    net = old.Net(3, 2)
    data = saved(net.state_dict()) if way == "state_dict" else written(net, before, way)
    registry = persist.Registry("today")
    registry.migration("lab.Base", 1, persist.ops.rename("body.*", "stem.*"))
    registry.migration("lab.Derived", 1, persist.ops.rename("out.*", "head.*"))
    today = made(INHERITED.format(base=2, net=2, stem="stem", head="head"), registry)
    if way == "state_dict":
        again = today.Net(3, 2)
        again.load_state_dict(torch.load(io.BytesIO(data)))
    else:
        again = persist.load(io.BytesIO(data), registry=registry)
    assert torch.equal(again.stem.weight, net.body.weight)
    assert torch.equal(again.head.bias, net.out.bias)
    assert again.outputs == 2


def test_a_submodule_that_was_given_is_a_state_of_its_own(tmp_path: Path) -> None:
    registry = persist.Registry("given")
    text = (
        INHERITED.format(base=1, net=1, stem="stem", head="head")
        + """
class Pair(persist.Versioned, nn.Module, schema="lab.Pair", registry=registry):
    def __init__(self, left, right):
        super().__init__()
        self.left, self.right = left, right
        self.join = nn.Linear(2, 1)
"""
    )
    module = made(text, registry)
    pair = module.Pair(module.Net(3, 2), right=module.Base(4))
    persist.save(pair, tmp_path / "pair.persist", registry=registry)
    again = persist.load(tmp_path / "pair.persist", registry=registry)
    assert torch.equal(again.left.head.weight, pair.left.head.weight)
    assert torch.equal(again.right.stem.weight, pair.right.stem.weight)
    assert torch.equal(again.join.weight, pair.join.weight)


def test_a_class_that_cannot_be_subclassed_is_declared(tmp_path: Path) -> None:
    text = "class Net(nn.Module):\n" + SMALL.split("\n", 2)[2]
    old_registry, registry = persist.Registry("old"), persist.Registry("today")
    old = made(text, old_registry)
    old.persist.torch_state(old.Net, version=1, schema="lab.Foreign", registry=old_registry)
    net = old.Net(4, 6, act="tanh")
    x = torch.randn(2, 4)
    persist.save(net, tmp_path / "net.persist", registry=old_registry)
    state = net.state_dict()
    plain = pickle.dumps(net)
    today = made(text.replace("head", "top"), registry)
    persist.torch_state(today.Net, version=2, schema="lab.Foreign", registry=registry)
    registry.migration("lab.Foreign", 1, persist.ops.rename("head.*", "top.*"))
    again = persist.load(tmp_path / "net.persist", registry=registry)
    assert torch.equal(again(x), net(x))
    assert again.top.weight is again.mix.weight
    other = today.Net(4, 6, act="tanh")
    other.load_state_dict(state)
    assert torch.equal(other(x), net(x))
    assert isinstance(
        pickle.loads(plain), today.Net
    )  # as torch pickles it: nothing of ours is in there
    with pytest.raises(SchemaError, match=r"no subclass of torch\.nn\.Module"):
        persist.torch_state(dict)


def test_batch_norm_keeps_the_meaning_of_its_own_version() -> None:
    registry = persist.Registry("norm")
    text = (
        'class Net(persist.Versioned, nn.BatchNorm1d, version=5, schema="lab.Norm", registry=registry):\n'
        "    persistent = ('num_features',)\n"
    )
    module = made(text, registry)
    assert module.Net(3).state_dict()._metadata[""] == {"version": 2, "persist": {"lab.Norm": 5}}
    state = module.Net(3).state_dict()
    state._metadata[""]["version"] = 1
    del state["num_batches_tracked"]
    module.Net(3).load_state_dict(state)  # which torch adds to states of version 1


def test_version_and_torchs_own_version_agree() -> None:
    head = "class Net(persist.Versioned, nn.Module{}, registry=registry):\n    _version = 3\n"
    registry = persist.Registry("counted")
    module = made(head.format(""), registry)
    assert registry.schema_for(module.Net).version == 3
    with pytest.raises(SchemaError, match="version=2 and _version = 3 differ"):
        made(head.format(", version=2"), persist.Registry("other"))


# What does not fit is reported.


def test_missing_and_left_over_tensors_are_refused(small: Any) -> None:
    module, registry = small
    state = {
        "sizes": [4, 6],
        **{name: value.numpy() for name, value in module.Net(4, 6).state_dict().items()},
    }
    lacking = {name: value for name, value in state.items() if name != "layers.0.bias"}
    with pytest.raises(RestoreError, match=r"missing: layers\.0\.bias"):
        registry.upgrade(lacking, module.Net)
    with pytest.raises(RestoreError, match=r"left over: more\.weight"):
        registry.upgrade({**state, "more.weight": np.zeros(2)}, module.Net)
    with pytest.raises(RestoreError, match="size mismatch"):
        registry.upgrade({**state, "layers.0.bias": np.zeros(7)}, module.Net)
    with pytest.warns(UnknownFieldWarning, match="comment"):
        registry.upgrade({**state, "comment": "mine"}, module.Net)


def test_ties_that_the_file_does_not_have_are_refused(small: Any) -> None:
    module, registry = small
    state = {
        "sizes": [4, 6],
        **{name: value.numpy() for name, value in module.Net(4, 6).state_dict().items()},
    }
    with pytest.raises(RestoreError, match=r"head\.weight, mix\.weight are one parameter"):
        registry.upgrade({**state, "mix.weight": state["mix.weight"] + 1}, module.Net)
    del state["mix.weight"]  # as safetensors writes it
    assert registry.upgrade(state, module.Net).mix.weight.shape == (4, 6)


def test_an_argument_that_nothing_says_is_reported_with_ways_that_work(tmp_path: Path) -> None:
    registry = persist.Registry("derived")
    module = made(INHERITED.format(base=1, net=1, stem="stem", head="head"), registry)
    net = module.Net(3, 2)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    with pytest.raises(RestoreError, match=r"does not say 'outputs', 'width'") as caught:
        persist.load(tmp_path / "net.pt", module.Net, registry=registry)
    assert "persist.restore(path, Net(...))" in caught.value.remedy
    again = persist.restore(tmp_path / "net.pt", module.Net(3, 2)).value
    assert torch.equal(again.head.weight, net.head.weight)


def test_steps_cannot_write_into_the_callers_tensors() -> None:
    registry = persist.Registry("writing")
    module = made(INHERITED.format(base=1, net=2, stem="stem", head="head"), registry)

    @registry.migration("lab.Derived", 1)
    def step(state: Any) -> Any:
        state["head.bias"] += 1
        return state

    state = module.Net(3, 2).state_dict()
    state._metadata[""]["persist"]["lab.Derived"] = 1
    before = state["head.bias"].clone()
    with pytest.raises(persist.errors.MigrationFailedError, match="read-only"):
        module.Net(3, 2).load_state_dict(state)
    assert torch.equal(state["head.bias"], before)


PLAIN_TENSORS = """
class Net(persist.Versioned, nn.Module, schema="lab.PlainTensors", registry=registry):
    persistent = ("size",)

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.steps = torch.arange(float(size))
        self.table = {"noise": torch.randn(2) * 0 + 1, "kept": np.ones(3)}
        self.layer = nn.Linear(size, size)
        self.made = globals().setdefault("made", []).append(1)
"""


def test_tensors_that_no_file_holds_have_values(tmp_path: Path) -> None:
    registry = persist.Registry("plain tensors")
    module = made(PLAIN_TENSORS, registry)
    net = module.Net(3)
    persist.save(net, tmp_path / "net.persist", registry=registry)
    again = persist.load(tmp_path / "net.persist", registry=registry)
    assert again.steps.tolist() == [0, 1, 2]
    assert again.table["noise"].tolist() == [1, 1]
    assert torch.equal(again.layer.weight, net.layer.weight)
    assert len(module.made) == 3  # once by hand, once in vain on meta, once more


def test_a_part_of_a_state_dict_of_today_is_left_alone() -> None:
    today = made(TODAY, persist.Registry("today"))
    net, other = today.Net(), today.Net()
    part = {name: value.clone() for name, value in net.state_dict().items() if "proj" not in name}
    before = other.proj.weight.clone()
    other.load_state_dict(part, strict=False)
    assert torch.equal(other.hidden.weight, net.hidden.weight)
    assert torch.equal(other.proj.weight, before)


def test_a_submodule_that_was_replaced_is_the_one_that_is_saved(tmp_path: Path) -> None:
    registry = persist.Registry("replaced")
    text = INHERITED.format(base=1, net=1, stem="stem", head="head")
    text += """
class Holder(persist.Versioned, nn.Module, schema="lab.Holder", registry=registry):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
"""
    module = made(text, registry)
    holder = module.Holder(module.Base(2))
    holder.inner = module.Net(3, 2)
    persist.save(holder, tmp_path / "net.persist", registry=registry)
    again = persist.load(tmp_path / "net.persist", registry=registry)
    assert torch.equal(again.inner.head.weight, holder.inner.head.weight)


def test_a_module_is_written_as_an_older_version_had_it(tmp_path: Path) -> None:
    registry = persist.Registry("down")
    registry.migration(
        "lab.Derived", 1, persist.ops.rename({"out.weight": "head.weight", "out.bias": "head.bias"})
    )
    module = made(INHERITED.format(base=1, net=2, stem="stem", head="head"), registry)
    net = module.Net(3, 2)
    target = tmp_path / "old.persist"
    persist.save(net, target, versions={"lab.Derived": 1}, registry=registry)
    assert "out.weight" in persist.open(target).arrays
    again = persist.load(target, registry=registry, assume_version=1)
    assert torch.equal(again.head.weight, net.head.weight)
