"""Random states of NumPy's: saved live, loaded live, from old files too, and never believed unchecked."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from packaging.version import Version

import persist
from persist.errors import OpaqueWarning, RestoreError, UnknownSchemaError
from persist.tree import Global, Record

OLD = Path(__file__).parents[1] / "corpus" / "random"
KINDS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
LAB = persist.Registry("lab of test_random")


@attrs.define(eq=False)
class Run(persist.Versioned, schema="lab.Run", registry=LAB):
    rng: Any
    same: Any


def draw(state: Any) -> list[Any]:
    """What a random state gives next."""
    if isinstance(state, np.random.SeedSequence):
        return [*state.generate_state(4).tolist(), *state.spawn(1)[0].generate_state(2).tolist()]
    if isinstance(state, np.random.BitGenerator):
        state = np.random.Generator(state)
    if isinstance(state, np.random.RandomState):
        return [*state.standard_normal(3).tolist(), *state.randint(0, 99, 5).tolist()]
    return [*state.integers(10, size=3, dtype="int32").tolist(), *state.random(3).tolist()]


def saved(obj: Any, format: str = "persist", **options: Any) -> bytes:
    file = io.BytesIO()
    persist.save(obj, file, format=format, **options)
    return file.getvalue()


def states() -> dict[str, Any]:
    """One of every kind, each somewhere in the middle."""
    legacy = np.random.RandomState(3)
    legacy.standard_normal()
    found: dict[str, Any] = {"legacy": legacy, "wrapped": np.random.RandomState(np.random.PCG64(1))}
    found["wrapped"].standard_normal()
    for name in KINDS:
        found[name] = np.random.Generator(getattr(np.random, name)(5))
        found[name].integers(10, dtype="int32")
        found[f"{name} alone"] = getattr(np.random, name)([7, 8])
    found["seeds"] = np.random.SeedSequence(4, spawn_key=(1,), pool_size=8)
    found["seeds"].spawn(2)
    return found


@pytest.mark.parametrize("format", ["persist", "pickle"])
@pytest.mark.parametrize("name", states())
def test_a_stream_goes_on_where_it_was(name: str, format: str) -> None:
    state = states()[name]
    made = persist.load(saved({"here": [state]}, format))["here"][0]
    assert type(made) is type(state)
    assert draw(made) == draw(state)


def test_saving_draws_nothing_and_the_file_shares_nothing_with_what_lives() -> None:
    rng = np.random.default_rng(1)
    before = copy.deepcopy(rng.bit_generator.state)
    saved(rng)
    assert rng.bit_generator.state == before


def test_what_is_shared_stays_shared() -> None:
    seeds = np.random.SeedSequence(3)
    bits = np.random.PCG64(seeds)
    rng = np.random.Generator(bits)
    made = persist.load(saved([Run(rng, rng), bits, seeds], registry=LAB), registry=LAB)
    run, its_bits, its_seeds = made
    assert run.rng is run.same
    assert run.rng.bit_generator is its_bits
    if hasattr(its_bits, "seed_seq"):
        assert its_bits.seed_seq is its_seeds
    assert draw(run.rng.spawn(1)[0]) == draw(rng.spawn(1)[0])


def test_many_instances_have_each_their_own() -> None:
    runs = [Run(np.random.default_rng(n), None) for n in range(1200)]
    made = persist.load(saved(runs, registry=LAB), registry=LAB)
    assert [run.rng.random() for run in made] == [run.rng.random() for run in runs]


def test_a_container_read_as_a_tree_is_written_as_numpys_own_pickle() -> None:
    if Version(np.__version__) < Version("2.0"):
        pytest.skip("the form is NumPy 2's")
    found = states()
    with persist.open(saved(found)) as file:
        back = pickle.loads(saved(file.tree, "pickle"))
    assert {name: draw(state) for name, state in back.items()} == {
        name: draw(state) for name, state in found.items()
    }


@pytest.mark.parametrize("path", sorted(OLD.glob("*.pkl")), ids=lambda path: path.stem)
def test_old_files_go_on_as_the_numpy_that_wrote_them(path: Path) -> None:
    made, drawn = persist.load(path, strict=True)
    shared = made.pop("the same", None)
    assert shared is made.get("PCG64")
    found = {name: draw(state) for name, state in made.items()}
    if "1.17" in path.stem:  # NumPy 1.19 changed how children are mixed; its own pool is kept
        found["seeds"], drawn["seeds"] = found["seeds"][:4], drawn["seeds"][:4]
    assert found == drawn


def test_the_tree_is_as_the_file_has_it() -> None:
    with persist.open(OLD / "numpy-1.16.6-py36.pkl") as file:
        assert isinstance(file.tree[0]["legacy"], Record)
        assert file.arrays["0/legacy/state/1"].shape == (624,)


def test_the_plan_says_what_becomes_of_it() -> None:
    plan = persist.explain(saved(np.random.default_rng(1)))
    assert plan.opaque == []
    assert "random state" in str(plan)


def test_a_heir_of_a_generator_is_refused() -> None:
    class Own(np.random.RandomState):
        pass

    with pytest.raises(UnknownSchemaError, match="Own"):
        saved(Own(1))


# Files that lie.


def lying(path: str, value: Any, name: str) -> bytes:
    """A container whose state of this kind has another value in one place."""
    with persist.open(saved(getattr(np.random, name)(1))) as file:
        tree = copy.deepcopy(file.tree)
    *steps, last = path.split("/")
    found = tree.state[0]
    for step in steps:
        found = found[step]
    found[last] = value
    return saved(tree)


HUGE = 1 << 40_000
LIES: list[tuple[str, str, Any]] = [
    ("MT19937", "state/pos", 625),
    ("MT19937", "state/pos", -1),
    ("MT19937", "state/pos", HUGE),
    ("MT19937", "state/pos", True),
    ("MT19937", "state/pos", 3.0),
    ("MT19937", "state/key", np.zeros(623, "u4")),
    ("MT19937", "state/key", np.zeros((624, 1), "u4")),
    ("MT19937", "state/key", np.zeros(624)),
    ("MT19937", "state/key", np.full(624, 1 << 33)),
    ("MT19937", "state/key", np.full(624, -1)),
    ("MT19937", "state", None),
    ("MT19937", "bit_generator", "PCG64"),
    ("MT19937", "more", HUGE),
    ("PCG64", "state/state", 1 << 128),
    ("PCG64", "state/inc", "7"),
    ("PCG64DXSM", "has_uint32", 2),
    ("PCG64", "uinteger", 1 << 32),
    ("Philox", "buffer_pos", 5),
    ("Philox", "buffer", np.zeros(3, "u8")),
    ("Philox", "state/key", [1, 2]),
    ("SFC64", "state/state", np.zeros(4, object)),
]


@pytest.mark.parametrize(("name", "path", "value"), LIES, ids=range(len(LIES)))
def test_a_state_that_lies_is_refused_with_its_place(name: str, path: str, value: Any) -> None:
    with pytest.raises(
        RestoreError, match=r"record 'numpy\.random.*state.* was expected"
    ) as caught:
        persist.load(lying(path, value, name))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "state",
    [
        ("MT19937", np.zeros(624, "u4")),
        ("PCG64", np.zeros(624, "u4"), 3),
        ("MT19937", np.zeros(624, "u4"), 625, 0, 0.0),
        ("MT19937", np.zeros(624, "u4"), 3, 2, 0.0),
        ("MT19937", np.zeros(624, "u4"), 3, 1, float("nan")),
        ("MT19937", np.zeros(624, "u4"), 3, 1, "0"),
    ],
)
def test_an_old_tuple_that_lies_is_refused(state: Any) -> None:
    maker = Global("numpy.random", "__RandomState_ctor")
    with pytest.raises(RestoreError, match="was expected"):
        persist.load(saved(Record(maker, state, maker=maker, kind="reduce"), "pickle"))


def test_a_tuple_without_gauss_is_of_the_oldest() -> None:
    rng = np.random.RandomState(4)
    maker = Global("numpy.random", "__RandomState_ctor")
    record = Record(maker, rng.get_state()[:3], maker=maker, kind="reduce")
    assert draw(persist.load(saved(record, "pickle"))) == draw(rng)


def test_two_states_that_differ_are_refused() -> None:
    with persist.open(saved(np.random.RandomState(1))) as file:
        tree = copy.deepcopy(file.tree)
    tree.state["state"]["pos"] = 3
    with pytest.raises(RestoreError, match="not that of its bit generator"):
        persist.load(saved(tree))


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, -1),
        (0, HUGE),
        (0, [1, -2]),
        (0, list(range((1 << 16) + 1))),
        (1, -1),
        (2, np.zeros(3, "u4")),
        (3, 3),
        (3, 1 << 30),
        (4, (-1,)),
    ],
    ids=range(9),
)
def test_a_seed_sequence_that_lies_is_refused(index: int, value: Any) -> None:
    with persist.open(saved(np.random.SeedSequence(1))) as file:
        tree = copy.deepcopy(file.tree)
    tree.state = (*tree.state[:index], value, *tree.state[index + 1 :])
    with pytest.raises(RestoreError, match="was expected"):
        persist.load(saved(tree))


@pytest.mark.parametrize(
    ("qualname", "args"),
    [
        ("lab.bits.Own", None),
        ("numpy.random._pcg64.Own", None),
        ("os.PCG64", None),
        ("", ("Own",)),
        ("", ("PCG64", Global("os", "system"))),
        ("", ()),
    ],
)
def test_what_is_not_numpys_own_stays_a_record(qualname: str, args: Any) -> None:
    with persist.open(saved(np.random.PCG64(1))) as file:
        tree = copy.deepcopy(file.tree)
    module, _, name = qualname.rpartition(".")
    tree.args = (Global(module, name),) if args is None else args
    generator = Global("numpy.random._pickle", "__generator_ctor")
    tree = Record(generator, maker=generator, kind="reduce", args=(tree,))
    with pytest.warns(OpaqueWarning):
        made = persist.load(saved(tree))
    assert isinstance(made, Record)
    assert isinstance(made.args[0], Record)


def test_one_that_is_part_of_itself_is_refused() -> None:
    generator = Global("numpy.random._pickle", "__generator_ctor")
    tree = Record(generator, maker=generator, kind="reduce")
    tree.args = (tree,)
    with pytest.raises(RestoreError, match="part of what it would be made from"):
        persist.load(saved(tree))
