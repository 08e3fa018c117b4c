"""What a notebook shows: bounded HTML in which nothing of a file is markup; lazy arrays as arrays."""

from __future__ import annotations

import json
import pickle
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._restore.match import Report
from persist._trees.sparks import Sparks
from persist.tree import Global, LazyArray, PersistentRef, Record

CORPUS = Path(__file__).parents[1] / "corpus"
GENUINE = [
    "pickle/pickle-evolution-gen1/logreg_v1.pkl",
    "pickle/pickle-py27-p2-experiment-record/results.pkl",
    "safetensors/safetensors-0.3.3-torch-lora/adapter_model.safetensors",
    "keras/keras-1.2.2-py27-mlp-adam/my_model.h5",
    "numpy/numpy-1.11.3-py27-npy-structured/metrics.npy",
    "persist/small/net.persist",
    "theano/theano-1.0.4-py36-symbolic/graph.pkl",
    "tensorflow/tf-1.12.0-py36-frozen-mlp/model.pb",
    "torch/torch-1.1.0-py37-modules/modules.pt",
]
ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</summary></details><iframe srcdoc='<script>1</script>'>",
    "<svg/onload=alert(1)>",
    "&lt;script&gt;",
    "javascript:alert(1)",
    "\u202e<b>\x00\x1b[2J\n</div>",
    "]]><!--<script>",
]
TAGS = {"div", "b", "details", "summary", "span"}
ATTRIBUTES = {
    ("style", "font-family:monospace"),
    ("style", "margin-left:1.5em"),
    ("style", "margin-left:1.1em"),
    ("open", None),
    ("style", "color:#218bff"),
    ("style", "color:#2da44e"),
    ("style", "color:#bf8700"),
}


class Checked(HTMLParser):
    """Collects the text of a page, and fails for any markup that is not ours."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert set(attrs) <= ATTRIBUTES
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        assert data.isprintable()
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


@pytest.mark.packs
@pytest.mark.parametrize("name", GENUINE)
def test_a_genuine_file_is_shown(name: str) -> None:
    with persist.open(CORPUS / name) as file:
        shown = Checked(file._repr_html_()).text
        assert file.format in shown
        for path in list(file.arrays)[:1]:
            assert path.rpartition("/")[2] in shown
        names = Checked(file.arrays._repr_html_()).text
        assert all(path in names for path in list(file.arrays)[:100])
        Checked(persist.explain(CORPUS / name)._repr_html_())


def test_a_record_and_its_completions() -> None:
    tree = persist.open(CORPUS / GENUINE[0].replace("gen1/logreg_v1", "gen3/logreg_v3")).tree
    shown = Checked(tree._repr_html_()).text
    assert "logreg.LogReg" in shown
    assert "float64 (6, 3)" in shown
    assert {"weights", "bias"} <= set(tree._ipython_key_completions_())


def test_the_paths_are_offered_as_completions() -> None:
    file = persist.open(CORPUS / GENUINE[2])
    assert file.arrays._ipython_key_completions_() == list(file.arrays)


def test_a_wrong_path_names_the_nearest() -> None:
    file = persist.open(CORPUS / GENUINE[3])
    with pytest.raises(KeyError, match="dense_1/dense_1_W"):
        file.arrays["dense_1/dense_1_X"]


def hostile_files(attack: str, folder: Path) -> list[Any]:
    """Sources with an attack in every place where a file has text."""
    values: list[Any] = [
        {attack: attack},
        [attack, 1, {attack: np.zeros(2)}],
        {"set": {attack, 1}, "bytes": attack.encode(), "tuple": (attack, attack)},
        {"array": np.array([attack]), "object": np.array([attack, None], object)},
        {(attack, 1): 1, attack.encode(): 2},
    ]
    plain = attack.replace("\x00", "")
    field = np.dtype([(plain, "f4"), ("x", "i4")])
    values.append({"structured": np.zeros(3, field)})
    sources: list[Any] = [pickle.dumps(value) for value in values]
    text = attack.replace("\n", " ").encode()
    sources.append(b"\x80\x02c" + text + b"\n" + text + b"\n)\x81}X\x01\x00\x00\x00wK\x01sb.")
    sources.append(b"\x80\x02c" + text + b"\n" + text + b"\n.")
    sources.append(b"\x80\x02X" + struct.pack("<I", len(text)) + text + b"Q.")
    header = json.dumps(
        {
            "__metadata__": {attack: attack},
            attack: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        }
    ).encode()
    sources.append(struct.pack("<Q", len(header)) + header + bytes(4))
    target = folder / "metadata.persist"
    persist.save({plain: np.zeros(9), "t": plain}, target, metadata={plain: plain})
    sources.append(target)
    named = folder / attack.replace("/", "_").replace("\x00", "")
    named.write_bytes(sources[0])
    sources.append(named)
    return sources


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_of_a_file_never_becomes_markup(attack: str, tmp_path: Path) -> None:
    for source in hostile_files(attack, tmp_path):
        with persist.open(source) as file:
            Checked(file._repr_html_())
            Checked(file.arrays._repr_html_())
            Checked(file.scalars._repr_html_())
            if isinstance(file.tree, Record):
                Checked(file.tree._repr_html_())
        Checked(persist.explain(source)._repr_html_())


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_of_records_plans_and_reports_never_becomes_markup(attack: str) -> None:
    record = Record(
        Global(attack, attack),
        {attack: attack, "ref": PersistentRef(attack), "global": Global(attack, attack)},
        args=(attack,),
    )
    record.state["inner"] = Record(Global(attack, attack), {attack: [attack, record]})
    assert "ref" in Checked(record._repr_html_()).text
    report = Report(
        filled={attack: attack + "x"}, missing={attack: [attack]}, unexpected=[attack],
        misfits={attack: attack}, file=attack, notes={attack: attack, attack * 2: attack},
    )  # fmt: skip
    shown = Checked(report._repr_html_()).text
    assert "missing: 1" in shown
    plan = persist.explain(pickle.dumps({"a": 1}))
    plan.file = attack
    assert "0 records" in Checked(plan._repr_html_()).text


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_text_is_only_text(value: Any) -> None:
    Checked(persist.open(pickle.dumps(value))._repr_html_())


def test_pages_are_bounded() -> None:
    value = {f"k{at}" * 50: {f"p{n}": [n, "x" * 10_000] for n in range(20)} for at in range(2_000)}
    file = persist.open(pickle.dumps(value))
    page = file._repr_html_()
    assert len(page) < 200_000
    assert "more" in Checked(page).text
    arrays = persist.open(pickle.dumps({f"w{at}": np.zeros(1) for at in range(5_000)})).arrays
    assert "... and 4,900 more" in Checked(arrays._repr_html_()).text
    report = Report(filled={f"w{at}": f"w{at}" for at in range(5_000)})
    assert len(report._repr_html_()) < 20_000


def test_a_deep_file_is_shown() -> None:
    deep: list[Any] = []
    for _ in range(150):
        deep = [deep, "x"]
    Checked(persist.open(pickle.dumps(deep))._repr_html_())


def test_a_damaged_file_shows_its_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.pkl"
    data = pickle.dumps({"a": np.arange(100.0), "b": "text"}, protocol=2)
    path.write_bytes(data[: len(data) // 2])
    with persist.open(path, salvage=True) as file:
        assert "damage:" in Checked(file._repr_html_()).text


# Lazy arrays.


def lazy(array: Any) -> LazyArray:
    array = np.asarray(array)
    array.flags.writeable = False
    return LazyArray(array.dtype, array.shape, lambda: array)


def genuine(tmp_path: Path) -> LazyArray:
    path = tmp_path / "a.persist"
    persist.save({"w": np.arange(6.0).reshape(2, 3)}, path, compress="deflate")
    found = persist.open(path).arrays["w"]
    assert isinstance(found, LazyArray)
    return found


def test_arithmetic_of_lazy_arrays_is_numpys(tmp_path: Path) -> None:
    one, plain = genuine(tmp_path), np.arange(6.0).reshape(2, 3)
    for got, wanted in [
        (one + 1, plain + 1),
        (2 * one, 2 * plain),
        (one - one, plain - plain),
        (plain + one, plain + plain),
        (one @ one.T, plain @ plain.T),
        (-one, -plain),
        (one == plain, plain == plain),
        (one > 2, plain > 2),
        (np.exp(one), np.exp(plain)),
        (np.add.reduce(one), np.add.reduce(plain)),
        (one[1], plain[1]),
        (one[:, 1], plain[:, 1]),
        (np.concatenate([one, one]), np.concatenate([plain, plain])),
        (np.where(one > 2, one, 0), np.where(plain > 2, plain, 0)),
        (np.mean(one, axis=0), plain.mean(axis=0)),
        (one.mean(), plain.mean()),
        (one.sum(axis=1), plain.sum(axis=1)),
        (one.reshape(3, 2), plain.reshape(3, 2)),
        (one.astype(np.float32), plain.astype(np.float32)),
        (np.linalg.norm(one), np.linalg.norm(plain)),
        (np.from_dlpack(one), plain),
    ]:
        np.testing.assert_array_equal(got, wanted)
        assert not isinstance(got, LazyArray)


def test_shape_functions_read_nothing() -> None:
    def fail() -> Any:
        raise AssertionError("it was read")

    one = LazyArray(np.dtype("f4"), (4, 5), fail)
    assert (np.shape(one), np.ndim(one), np.size(one)) == ((4, 5), 2, 20)
    assert one.nbytes == 80
    assert not hasattr(one, "nonsense")
    assert hash(one) == hash(one)


def test_a_lazy_array_is_not_written_into() -> None:
    one = lazy(np.zeros(3))
    with pytest.raises(TypeError, match=r"numpy\.array\(lazy\)"):
        one += 1
    with pytest.raises(TypeError, match=r"numpy\.array\(lazy\)"):
        np.add(np.ones(3), 1, out=one)
    for name in ("sort", "fill", "resize"):
        assert not hasattr(one, name)
    copy = np.array(one)
    copy += 1
    assert np.asarray(one).tolist() == [0, 0, 0]


def test_scalars_of_lazy_arrays() -> None:
    assert float(lazy(np.array(2.5))) == 2.5
    assert int(lazy(np.array(2))) == 2
    assert bool(lazy(np.array(True)))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(lazy(np.zeros(2)))
    assert [int(row) for row in lazy(np.arange(3))] == [0, 1, 2]


def test_values_are_drawn_and_classes_say_what_is_known_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    loss = np.concatenate([np.linspace(9, 1, 20), np.ones(20)])
    record = Record(Global("nowhere", "Model"), {"loss": loss})
    persist.save({"model": record, "w": np.arange(64.0).reshape(8, 8), "n": np.ones(2)}, path)
    with persist.open(path) as file:
        shown = Checked(file._repr_html_()).text
        names = Checked(file.arrays._repr_html_()).text
        of_record = Checked(file.tree["model"]._repr_html_()).text
    assert "(40,)  320 B  █▇▆▅▄▃▂▁▁▁▁▁▁▁▁▁" in shown
    assert "nowhere.Model, a record: loss opaque" in shown or "opaque" in shown
    assert "█" in names
    assert "opaque" in of_record
    assert "█" in of_record
    assert Sparks(most=10).of(loss) == ""
    assert Sparks().of(np.array([np.nan] * 9)) == ""
    assert Sparks().of(np.array([1.0, 2.0])) == ""
    assert len(Sparks().of(np.random.default_rng(0).normal(size=(9, 9)))) == 16
    assert Sparks().of(np.zeros((1 << 11, 1 << 10))) == ""


@pytest.mark.packs
def test_what_a_pack_knows_is_said() -> None:
    with persist.open(CORPUS / "theano/theano-1.0.4-py36-symbolic/graph.pkl") as file:
        shown = file._repr_html_()
    assert "known to a pack</span>" in shown


def test_nothing_is_fetched_to_draw_it() -> None:
    def fetch() -> Any:
        raise AssertionError("it was read")

    large = LazyArray(np.dtype("f8"), (1 << 20,), fetch)
    assert Sparks().of(large) == ""


def test_a_folder_of_checkpoints_shows_steps_and_metrics(tmp_path: Path) -> None:
    runs = persist.Checkpoints(tmp_path / "run")
    assert "0 steps" in Checked(runs._repr_html_()).text
    runs.save(3, {"w": np.ones(2)}, {"loss": 0.5})
    runs.save(4, {"w": np.ones(2)}, {"loss": 0.25, "<b>x": 1})
    shown = Checked(runs._repr_html_()).text
    assert "2 steps, the last 4" in shown
    assert "4  loss 0.25  <b>x 1" in shown
    assert repr(runs).startswith("<checkpoints in ")
    runs.close()
    damaged = sorted((tmp_path / "run").glob("*.persist"))[0]
    damaged.write_bytes(damaged.read_bytes()[:50])
    again = persist.Checkpoints(tmp_path / "run")
    assert "3: damage: " in Checked(again._repr_html_()).text
