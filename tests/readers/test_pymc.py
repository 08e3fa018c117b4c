"""PyMC3's traces: chains as folders of npz, and as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import persist
from persist.errors import DamagedFileError, FormatError

TRACE = Path(__file__).parents[1] / "corpus" / "theano" / "pymc3-3.6-py36-trace-dir" / "trace"


def text(folder: Path, content: str, name: str = "chain-0.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    return folder


def test_chains_of_npz() -> None:
    with persist.open(TRACE) as file:
        assert file.format == "pymc3-trace"
        assert file.arrays["1/mu"].shape == (8, 2)
        assert file.structure["chains"] == ["0", "1"]
        assert set(file.structure["metadata"]["0"]) >= {"draws", "draw_idx"}


def test_columns_of_one_variable_are_one_array(tmp_path: Path) -> None:
    head = "mu,sd_log__,w__0_0,w__0_1,w__1_0,w__1_1,p_stick____0,p_stick____1,k,on"
    folder = text(
        tmp_path / "trace",
        f"{head}\n0.5,1.0,1,2,3,4,5.0,6,3,True\n1e-3,nan,5,6,7,8,5.5,inf,-4,False\n",
    )
    text(folder, f"{head}\n" + ",".join(["1"] * 9) + ",True\n", "chain-1.csv")
    with persist.open(folder) as file:
        assert {name: array.shape for name, array in file.arrays.items()} == {
            "0/mu": (2,),
            "0/sd_log__": (2,),
            "0/w": (2, 2, 2),
            "0/p_stick__": (2, 2),
            "0/k": (2,),
            "0/on": (2,),
            "1/mu": (1,),
            "1/sd_log__": (1,),
            "1/w": (1, 2, 2),
            "1/p_stick__": (1, 2),
            "1/k": (1,),
            "1/on": (1,),
        }
        assert file.arrays["0/w"].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
        assert file.arrays["0/w"].dtype == np.int64
        assert file.arrays["0/k"].tolist() == [3, -4]
        assert file.arrays["0/on"].tolist() == [True, False]
        assert np.isnan(file.arrays["0/sd_log__"][1])
        assert file.arrays["0/p_stick__"][1].tolist() == [5.5, np.inf]


def test_columns_that_fill_no_grid_keep_their_names(tmp_path: Path) -> None:
    with persist.open(text(tmp_path / "trace", "w__0,w__2,v,v__0\n1,2,3,4\n")) as file:
        assert list(file.arrays) == ["0/w__0", "0/w__2", "0/v", "0/v__0"]


def test_huge_indices_cost_nothing(tmp_path: Path) -> None:
    with persist.open(text(tmp_path / "trace", "w__0_0,w__999999999_999999999\n1,2\n")) as file:
        assert len(file.arrays) == 2


@pytest.mark.parametrize(
    "content", ["", "a,b\n1\n", "a,b\n1,x\n", "a,a\n1,2\n", '"a\n1', "a\n\xff\0\n"]
)
def test_text_that_is_no_table_is_refused(tmp_path: Path, content: str) -> None:
    folder = text(tmp_path / "trace", "")
    (folder / "chain-0.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(DamagedFileError, match="table of numbers"):
        persist.open(folder)


def test_a_broken_chain_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "samples.npz").write_bytes((TRACE / "0" / "samples.npz").read_bytes()[:200])
    with pytest.raises(FormatError):
        persist.open(tmp_path)
