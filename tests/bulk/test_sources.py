"""Folders, units of several files, inventories, URLs."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import bulk_lab
import numpy as np
import pytest

import persist
from persist.bulk._folders import walk
from persist.bulk._inventory import Inventory, listed
from persist.bulk._sources import Filters, items
from persist.errors import FormatError


def names(folder: Path) -> list[str]:
    return [found.inside.replace(os.sep, "/") for found in walk(str(folder))]


def shards(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in (1, 2):
        persist.save(
            {f"w{number}": np.ones(2)}, folder / f"model-0000{number}-of-00002.safetensors",
            format="safetensors",
        )  # fmt: skip
    weights = {f"w{n}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    index = {"metadata": {}, "weight_map": weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_a_sharded_model_is_one_unit_if_it_is_all(tmp_path: Path) -> None:
    shards(tmp_path / "runs" / "llm")
    bulk_lab.write_old(tmp_path / "runs" / "a.pkl", 1)
    assert names(tmp_path / "runs") == ["a.pkl", "llm"]
    assert persist.open(tmp_path / "runs" / "llm").format == "shards"


def test_a_unit_never_hides_other_files(tmp_path: Path) -> None:
    shards(tmp_path / "runs" / "llm")
    bulk_lab.write_old(tmp_path / "runs" / "llm" / "optimizer.pkl", 1)
    bulk_lab.write_old(tmp_path / "runs" / "llm" / "deep" / "b.pkl", 2)
    assert names(tmp_path / "runs") == [
        "llm/model.safetensors.index.json", "llm/optimizer.pkl", "llm/deep/b.pkl",
    ]  # fmt: skip
    with persist.open(tmp_path / "runs" / "llm" / "model.safetensors.index.json") as file:
        assert set(file.arrays) == {"w1", "w2"}


def test_a_cache_in_the_depth_takes_no_experiment_with_it(tmp_path: Path) -> None:
    cache = tmp_path / "runs" / "cache" / "joblib" / "lab" / "f" / "0123456789abcdef"
    cache.mkdir(parents=True)
    (cache / "output.pkl").write_bytes(b"\x80\x02K\x01.")
    bulk_lab.write_old(tmp_path / "runs" / "a.pkl", 1)
    assert names(tmp_path / "runs") == ["a.pkl", "cache"]


def test_checkpoints_of_tensorflow_are_one_unit_each(tmp_path: Path) -> None:
    for step in (1, 2):
        persist.save(
            {"w": np.full(2, step, "f4")}, tmp_path / f"model.ckpt-{step}", format="tensorflow"
        )
    bulk_lab.write_old(tmp_path / "settings.pkl", 1)
    assert names(tmp_path) == ["model.ckpt-1", "model.ckpt-2", "settings.pkl"]


def test_a_series_and_ranks_are_files(tmp_path: Path) -> None:
    for step in (10, 20):
        for rank in (0, 1):
            bulk_lab.write_old(tmp_path / f"step-{step}_rank{rank}.pkl", step)
    assert len(names(tmp_path)) == 4
    (tmp_path / ".hidden.pkl").write_bytes(b"x")
    assert len(names(tmp_path)) == 4


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"a.pkl\nb c.pkl\r\n# no\n\n", [("a.pkl", -1), ("b c.pkl", -1)]),
        (b"path,size\na.pkl,12\n\"b,c.pkl\",3\n", [("a.pkl", 12), ("b,c.pkl", 3)]),
        (
            b'"lab","runs/a%2Bb+c.pkl","v1","true","false","12","2026-01-31T10:00:00.000Z","e"\n'
            b'"lab","gone.pkl","v2","true","true","0","2026-01-31T10:00:00.000Z","e"\n'
            b'"lab","old.pkl","v3","false","false","9","2026-01-31T10:00:00.000Z","e"\n',
            [("s3://lab/runs/a+b c.pkl", 12)],
        ),
    ],
    ids=["lines", "header", "S3"],
)  # fmt: skip
def test_inventories(text: bytes, found: list[tuple[str, int]], tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(text)
    (tmp_path / "packed").write_bytes(gzip.compress(text))
    for name in ("plain", "packed"):
        assert [(one.name, one.size) for one in listed(Inventory(tmp_path / name))] == found


def test_the_manifest_of_an_s3_inventory(tmp_path: Path) -> None:
    rows = b'"lab","a.pkl","5"\n"lab","b.pkl","6"\n'
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.csv.gz").write_bytes(gzip.compress(rows))
    said = {
        "sourceBucket": "lab", "fileFormat": "CSV", "fileSchema": "Bucket, Key, Size",
        "files": [{"key": "inventory/data/1.csv.gz", "size": 1}],
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(said))
    found = list(listed(Inventory(tmp_path / "manifest.json")))
    assert [(one.name, one.size) for one in found] == [("s3://lab/a.pkl", 5), ("s3://lab/b.pkl", 6)]


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"bucket": ["lab"], "key": ["x/a.pkl"], "size": [7]})
    parquet.write_table(table, tmp_path / "list.parquet")
    (one,) = listed(Inventory(tmp_path / "list.parquet"))
    assert (one.name, one.size) == ("s3://lab/x/a.pkl", 7)


def test_an_inventory_without_paths(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("colour,size\nred,1\n")
    with pytest.raises(FormatError, match=r"column=, or --column"):
        list(listed(Inventory(tmp_path / "list.csv", "where")))
    assert [one.name for one in listed(Inventory(tmp_path / "list.csv", "colour"))] == ["red"]


def test_urls(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("a.pkl", "deep/b.pkl"):
        memory.pipe(f"/bulk_lab/{name}", b"\x80\x02K\x01.")
    found = list(items(["memory://bulk_lab"], Filters()))
    assert [(one.name, one.inside, one.size) for one in found] == [
        ("memory://bulk_lab/a.pkl", "a.pkl", 5), ("memory://bulk_lab/deep/b.pkl", "deep/b.pkl", 5),
    ]  # fmt: skip
    assert [one.inside for one in items(["memory://bulk_lab/*.pkl"], Filters())] == ["a.pkl"]
    events = persist.upgrade("memory://bulk_lab", to=tmp_path / "out")
    assert [event.status for event in events] == ["upgraded", "upgraded"]
    assert persist.load(tmp_path / "out" / "deep" / "b.pkl.persist") == 1
