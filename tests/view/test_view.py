"""`persist view`: what the page holds, that nothing of a file runs in it, and what a browser makes of it."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._cli import main
from persist._view import file_data, html_page
from persist._view._graphs import graph_of
from persist._view._previews import Budget, curve, preview

sys_path_of_tests = Path(__file__).parent
import importlib.util  # noqa: E402

_spec = importlib.util.spec_from_file_location("view_browser", sys_path_of_tests / "browser.py")
assert _spec is not None
assert _spec.loader is not None
view_browser: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(view_browser)

CORPUS = Path(__file__).parents[1] / "corpus"
KERAS = CORPUS / "keras/keras-1.2.2-py27-mlp-adam/my_model.h5"
SYMBOL = CORPUS / "mxnet/made-1.9.1-py38-module-series/run-0001.params"
FROZEN = CORPUS / "tensorflow/tf-1.12.0-py36-frozen-mlp/model.pb"
EVENTS = next((CORPUS / "tensorboard/tensorboard-2.21.0-writer").glob("events*"))
GEN1 = CORPUS / "pickle/pickle-evolution-gen1/logreg_v1.pkl"
GEN4 = CORPUS / "pickle/pickle-evolution-gen4/logreg_v4.pkl"

PWN = "document.documentElement.dataset.pwned='yes'"
# Ways in which text becomes script where it is not escaped, as in OWASP's list of filter evasions.
HOSTILE = [
    f"</script><script>{PWN}</script>",
    f"<script>{PWN}</script>",
    f"--></script><!--<script>{PWN}//",
    f'<img src=x onerror="{PWN}">',
    f'"><svg onload="{PWN}">',
    f"<svg><script>{PWN}</script></svg>",
    f"<iframe srcdoc=\"<script>parent.{PWN}</script>\"></iframe>",
    f"javascript:{PWN}",
    f"<a href=\"javascript:{PWN}\">x</a>",
    f"<details open ontoggle=\"{PWN}\">",
    f"'-{PWN}-'",
    f"`${{{PWN}}}`",
    f"\u2028{PWN}//\u2029",
    f"<style>@import 'x'</style><base href=//x><meta http-equiv=refresh content=\"0;javascript:{PWN}\">",
    "\u202ecod.exe",
    f"]]><![CDATA[<script>{PWN}</script>",
    f"<math><mtext></math><img src=x onerror={PWN}>",
    f"\x00<scr\x00ipt>{PWN}</script>",
    f"{{{{constructor.constructor(\"{PWN}\")()}}}}",
    f"<link rel=stylesheet href=data:,*%7bx:expression({PWN})%7d>",
]  # fmt: skip


def view(*words: str, out: Path) -> str:
    assert main(["view", *words, "--out", str(out), "--no-open"]) == 0
    return out.read_text(encoding="utf-8")


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def hostile_file(folder: Path) -> Path:
    """A pickle whose keys, values and class names are attacks."""
    tree: dict[str, Any] = {text: {text: text, "w": np.ones((4, 4))} for text in HOSTILE}
    tree["records"] = [
        persist.Record(text.replace("\n", ""), {text: np.arange(9.0)}) for text in HOSTILE
    ]
    tree["loss"] = {text: [1.0, 2.0, 3.0] for text in HOSTILE}
    path = folder / "<img src=x onerror=alert(1)>.persist"
    persist.save(tree, path)
    return path


# Without a browser.


def test_a_page_holds_the_tree_arrays_plan_and_verdicts(tmp_path: Path) -> None:
    data = data_of(view(str(GEN4), out=tmp_path / "page.html"))
    assert data["kind"] == "file"
    labels = {row[1]: row for row in data["rows"]}
    depth, _, text, kind, at = labels["weights"]
    assert (depth, text, kind) == (1, "float64 (6, 3)  144 B", "a")
    array = data["arrays"][at]
    assert array["stats"][0] == "-0.4375"  # the smallest value
    assert (array["heat"]["w"], array["heat"]["h"]) == (3, 6)
    assert data["classes"] == {"mylab.models.linear.SoftmaxClassifier": 1}
    assert data["scan"]["verdict"] == "unknown"
    assert any("SoftmaxClassifier" in line for line in data["plan"]["lines"])
    assert ["writer", "python 3.4 or later"] in data["facts"]


def test_a_page_says_what_is_known_of_classes_and_how_the_file_came_about(tmp_path: Path) -> None:
    persist.upgrade([GEN4], to=tmp_path)
    data = data_of(view(str(next(tmp_path.glob("*.persist"))), out=tmp_path / "page.html"))
    name = "mylab.models.linear.SoftmaxClassifier"
    assert data["trust"] == {name: "opaque"}
    assert [row[3] for row in data["rows"] if row[2].startswith(name)] == ["r"]
    assert "upgrade" in data["history"][0]["title"]
    assert any("SHA-256" in line for line in data["history"][0]["lines"])
    data = data_of(view(str(KERAS), out=tmp_path / "page.html"))
    assert data["history"] == []


def test_a_page_refers_to_nothing_outside_and_allows_its_own_script_only(tmp_path: Path) -> None:
    page = view(str(hostile_file(tmp_path)), out=tmp_path / "page.html")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1]
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    assert not re.search(r"<(img|iframe|svg|link|base|object|embed|form)\b", page)
    own = page.replace(json.dumps(data_of(page)), "")
    assert set(re.findall(r"https?://[^\s\"')]+", own)) <= {"http://www.w3.org/2000/svg"}
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert word not in page.partition('id="app"')[2]


def test_damage_is_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"w": np.ones(3)}) + b"\n")
    data = data_of(view(str(path), out=tmp_path / "page.html"))
    assert any("stray byte" in note for note in data["damage"])


@pytest.mark.parametrize(
    ("path", "nodes", "edges"),
    [
        (KERAS, {("dense_1", "Dense"), ("dropout_1", "Dropout"), ("dense_2", "Dense")},
         {("dense_1", "dropout_1"), ("dropout_1", "dense_2")}),
        (SYMBOL, {("fc", "FullyConnected"), ("softmax", "SoftmaxOutput")}, {("data", "fc")}),
        (FROZEN, {("inputXX", "Placeholder"), ("MatMul", "MatMul")}, {("inputXX", "MatMul")}),
    ],
)  # fmt: skip
def test_the_structure_of_networks(
    path: Path, nodes: set[tuple[str, str]], edges: set[tuple[str, str]]
) -> None:
    with persist.open(path) as file:
        graph = graph_of(file.format, file.structure, file.tree)
    assert graph is not None
    assert nodes <= {tuple(node) for node in graph["nodes"]}
    named = {(graph["nodes"][a][0], graph["nodes"][b][0]) for a, b in graph["edges"]}
    assert edges <= named


def test_the_modules_of_torch_are_a_graph() -> None:
    linear = persist.Record("torch.nn.modules.linear.Linear", {"_modules": {}})
    block = persist.Record("torch.nn.modules.container.Sequential", {"_modules": {"0": linear}})
    net = persist.Record("lab.Net", {"_modules": {"body": block, "head": linear}})
    graph = graph_of("torch-zip", {}, net)
    assert graph is not None
    assert graph["nodes"] == [["(root)", "Net"], ["body", "Sequential"], ["body.0", "Linear"]]
    assert graph["edges"] == [[0, 1], [1, 2]]


def test_functional_keras_configs_of_each_generation() -> None:
    def config(inbound: object) -> dict[str, Any]:
        layers = [
            {"class_name": "InputLayer", "name": "x", "config": {}, "inbound_nodes": []},
            {"class_name": "Dense", "name": "a", "config": {}, "inbound_nodes": inbound},
        ]
        return {"model": {"class_name": "Functional", "config": {"layers": layers}}}

    keras_3 = [
        {"args": [{"class_name": "__keras_tensor__", "config": {}, "keras_history": ["x", 0, 0]}]}
    ]
    keras_3[0]["args"][0] = {"keras_history": ["x", 0, 0]}
    for inbound in ([[["x", 0, 0]]], [[["x", 0, 0, {}]]], keras_3):
        graph = graph_of("keras-h5", config(inbound), None)
        assert graph is not None
        assert graph["edges"] == [[0, 1]]
    loop: list[Any] = []
    loop.append(loop)
    assert graph_of("keras-h5", config(loop), None) is not None


def test_curves_of_training_logs(tmp_path: Path) -> None:
    data = data_of(view(str(EVENTS), out=tmp_path / "page.html"))
    assert data["curves"]
    assert all(one["name"].endswith("/value") for one in data["curves"])
    assert curve("history/loss", [3.0, float("nan"), 1.0]) == [3.0, None, 1.0]
    assert curve("weights", [3.0, 2.0, 1.0]) is None
    many = curve("loss", np.arange(100_000.0))
    assert many is not None
    assert len(many) <= 240


def test_previews() -> None:
    rng = np.random.default_rng(0)
    image = preview(rng.integers(0, 255, (100, 120, 3)).astype("u1"), Budget())["image"]
    assert isinstance(image, dict)
    assert (image["w"], image["h"], image["c"]) == (96, 96, 3)
    broken = preview(np.array([[1.0, np.nan], [np.inf, -2.0]]), Budget())
    assert broken["stats"]["flags"] == ["NaN", "Inf"]  # type: ignore[index]
    assert "heat" in preview(rng.normal(size=(3, 4, 5, 6)), Budget())
    spent = Budget(drawn=0)
    assert "heat" not in preview(np.ones((9, 9)), spent)
    assert "not read" in str(preview(np.ones((9, 9)), Budget(read=0))["note"])
    large = preview(np.zeros((1 << 12, 1 << 12), "f4"), Budget())
    assert "of the first 1,024 of 4,096 rows" in str(large["note"])
    for odd in (
        np.zeros(0),
        np.array(["a"]),
        np.array([{}], object),
        np.array(1 + 2j),
        np.array(5),
    ):
        preview(odd, Budget())


def test_a_folder_and_a_difference(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for path in (GEN1, GEN4):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "cut.pkl").write_bytes(GEN1.read_bytes()[:40])
    (folder / "notes.txt").write_text("notes\n")
    data = data_of(view(str(folder), out=tmp_path / "page.html"))
    found = {one["name"]: one for one in data["files"]}
    assert found["logreg_v1.pkl"]["classes"] == ["logreg.LogReg"]
    assert found["logreg_v4.pkl"]["verdict"] == "unknown"
    assert "error" in found["cut.pkl"]
    assert data["pages"][sorted(found).index("logreg_v1.pkl")]["rows"]
    data = data_of(view(str(GEN1), str(GEN4), out=tmp_path / "page.html"))
    assert ["removed", "state/0", "float64 (6, 3)  144 B", "", ""] in data["items"]


def test_what_cannot_be_read_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(tmp_path / "none.pkl"), "--out", str(tmp_path / "p.html")]) == 1
    assert "none.pkl" in capsys.readouterr().err
    assert not (tmp_path / "p.html").exists()


def large(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    tree = {
        f"encoder.layer.{i}.block.{j}.weight": rng.normal(size=(4, 8)).astype("f4")
        for i in range(200)
        for j in range(100)
    }
    path = folder / "large.safetensors"
    persist.save(tree, path, format="safetensors", durable=False)
    return path


# With a browser.

needs_browser = pytest.mark.skipif(
    view_browser.program() is None, reason="no Chromium is installed (Debian's package chromium)"
)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with view_browser.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def click(tab: Any, name: str) -> None:
    tab.run(
        f"[...document.querySelectorAll('nav button')].find((b) => b.textContent === {name!r}).click()"
    )


@needs_browser
def test_nothing_of_a_hostile_file_runs(tab: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    view(str(hostile_file(tmp_path)), out=page)
    tab.open(page)
    assert tab.run("document.documentElement.dataset.ready") == "yes"
    for name in tab.run("[...document.querySelectorAll('nav button')].map((b) => b.textContent)"):
        click(tab, name)
        assert tab.run("document.documentElement.dataset.pwned || 'no'") == "no", name
        assert (
            tab.run("document.querySelectorAll('#app script, #app img, #app iframe, base').length")
            == 0
        )
    click(tab, "Content")
    tab.run("document.querySelector('.row:nth-child(2)').click()")
    assert HOSTILE[1] in tab.run("document.body.textContent")
    asked = [
        one["params"]["request"]["url"]
        for one in tab.events
        if one.get("method") == "Network.requestWillBeSent"
    ]
    assert all(url.startswith("file:///") and url.endswith("page.html") for url in asked), asked
    assert not [one for one in tab.events if one.get("method") == "Runtime.exceptionThrown"]


@needs_browser
def test_the_policy_alone_stops_a_script_that_got_in(tab: Any, tmp_path: Path) -> None:
    whole = html_page({"kind": "diff", "name": "a", "other": "b", "items": [], "more": 0})
    broken_in = whole.replace(
        "</body>", f'<script>{PWN}</script><img src="x" onerror="{PWN}"></body>'
    )
    page = tmp_path / "page.html"
    page.write_text(broken_in)
    tab.open(page)
    assert tab.run("document.documentElement.dataset.pwned || 'no'") == "no"
    assert tab.run("document.documentElement.dataset.ready") == "yes"
    page.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", broken_in))
    tab.open(page)
    assert (
        tab.run("document.documentElement.dataset.pwned || 'no'") == "yes"
    )  # so the test can fail


def settled(tab: Any, condition: str) -> None:
    """Wait until a condition holds in the page; how long that takes is the machine's matter."""
    for _ in range(300):
        if tab.run(condition):
            return
        tab.run("new Promise((done) => setTimeout(done, 100))")
    raise AssertionError(f"never: {condition}\n{tab.run('document.body.textContent')[:500]}")


@pytest.mark.slow
@needs_browser
def test_twenty_thousand_tensors(tab: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = view(str(large(tmp_path)), out=page)
    assert len(text.encode()) < 5_000_000
    tab.open(page)
    settled(tab, "document.querySelectorAll('.row').length > 10")
    nodes = "document.querySelectorAll('*').length"
    assert tab.run(nodes) < 600
    assert tab.run("document.querySelector('.soft').textContent") == "20,001 of 20,001 lines"
    # What a scroll and a search cost, in elements that are made: those of the screen, not of the tree.
    tab.run(
        "(() => { window.made = 0; const make = document.createElement.bind(document);"
        " document.createElement = (...all) => { window.made++; return make(...all); }; })()"
    )
    tab.run("document.querySelector('.list').scrollTop = 1e6")
    settled(tab, "document.querySelector('.list').textContent.includes('encoder.layer.99.')")
    assert tab.run(nodes) < 600
    assert 0 < tab.run("window.made") < 1500
    tab.run("window.made = 0")
    tab.run(
        "(() => { const s = document.querySelector('#search'); s.value = 'layer.7.block.42.';"
        " s.dispatchEvent(new Event('input')); })()"
    )
    settled(tab, "document.querySelectorAll('.row').length === 1")
    assert tab.run("window.made") < 500
    row = tab.run("document.querySelector('.row').textContent")
    assert row.startswith("encoder.layer.7.block.42.weight: float32 (4, 8)  128 B")
    assert "█" in row  # its values
    tab.run("document.querySelector('.row').click()")
    settled(tab, "document.querySelector('.side').textContent.includes('histogram')")


@needs_browser
def test_the_views_of_a_network(tab: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    view(str(KERAS), out=page)
    tab.open(page)
    assert tab.run("document.querySelectorAll('.side canvas').length") == 2
    click(tab, "Network")
    assert tab.run("document.querySelectorAll('#graph rect').length") == 3
    assert tab.run("getComputedStyle(document.querySelector('#graph')).display") != "none"
    click(tab, "Security")
    assert tab.run("document.querySelector('main .mark').textContent") in ("safe", "unknown")


@needs_browser
def test_history_and_what_is_known_of_classes(tab: Any, tmp_path: Path) -> None:
    persist.upgrade([GEN4], to=tmp_path)
    page = tmp_path / "page.html"
    view(str(next(tmp_path.glob("*.persist"))), out=page)
    tab.open(page)
    settled(tab, "document.querySelector('.row .opaque') !== null")
    click(tab, "History")
    assert "SHA-256" in tab.run("document.querySelector('main').textContent")
    click(tab, "About")
    assert tab.run("document.querySelector('main .opaque').textContent") == "opaque"
    click(tab, "What load does")
    settled(tab, "document.querySelectorAll('main .row').length > 0")


@needs_browser
def test_the_pages_of_a_folder_and_a_difference(tab: Any, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for path in (GEN1, GEN4):
        (folder / path.name).write_bytes(path.read_bytes())
    page = tmp_path / "page.html"
    view(str(folder), out=page)
    tab.open(page)
    tab.run("document.querySelector('a[href=\"#file-0\"]').click()")
    tab.run("new Promise((done) => setTimeout(done, 50))")
    assert "state/0" in tab.run("document.body.textContent") or "state" in tab.run(
        "document.body.textContent"
    )
    view(str(GEN1), str(GEN4), out=page)
    tab.open(page)
    assert tab.run("document.querySelectorAll('.d-removed').length") == 2


def test_file_data_is_json(tmp_path: Path) -> None:
    with persist.open(KERAS) as file:
        json.dumps(file_data(file), allow_nan=False)
