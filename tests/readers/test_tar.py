"""Tar archives: sparse members, links, broken headers, long names, against `tarfile`."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._wire.archives import tar
from persist._wire.base.source import open_source

CASE = Path(__file__).parents[1] / "cases" / "tar_sparse_member"
FORMS = sorted(CASE.glob("*.tar.gz"))


def array(value: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, value)
    return out.getvalue()


def packed(*members: tuple[str, bytes, str]) -> bytes:
    """Return a tar of (name, bytes, target of a link with its type in front)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as file:
        for name, data, link in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if link:
                info.type = tarfile.SYMTYPE if link[0] == "s" else tarfile.LNKTYPE
                info.linkname = link[1:]
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_sparse_members_are_expanded_and_what_is_behind_them_is_read(path: Path) -> None:
    with persist.open(path) as file:
        assert sorted(file.tree) == ["a.npy", "best.npy", "m.npy", "z.npy", "zz.npy"]
        assert file.damage == []
        values = np.asarray(file.arrays["m.npy"])
        assert values.shape == (50_000,)
        assert np.flatnonzero(values).tolist() == [part * 6250 for part in range(8)]
        assert values[::6250].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
        assert file.arrays["z.npy"].tolist() == [0, 1, 2, 3]


def test_there_is_a_case_of_each_form() -> None:
    assert [path.name.partition(".tar")[0] for path in FORMS] == [
        "gnu", "posix-0.0", "posix-0.1", "posix-1.0",
    ]  # fmt: skip


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_the_bytes_are_those_of_the_standard_library(path: Path) -> None:
    with tarfile.open(path) as genuine:
        expected = {
            info.name: genuine.extractfile(info).read()  # type: ignore[union-attr]
            for info in genuine
            if info.isreg()
        }
    import gzip

    source = open_source(gzip.decompress(path.read_bytes()))
    damage: list[str] = []
    found = {}
    for member in tar.members(source, 100, damage):
        if not member.link:
            part = tar.whole(source, member)
            found[member.name] = part.read(0, part.size)
    assert found == expected
    assert damage == []


def test_a_link_is_what_it_points_to() -> None:
    data = packed(
        ("run/epoch9.npy", array([9]), ""),
        ("run/best.npy", b"", "sepoch9.npy"),
        ("last.npy", b"", "srun/best.npy"),
        ("hard.npy", b"", "hrun/epoch9.npy"),
        ("up/there.npy", b"", "s../run/epoch9.npy"),
    )
    with persist.open(data) as file:
        for name in ("run/best.npy", "last.npy", "hard.npy", "up/there.npy"):
            assert file.tree[name] is file.tree["run/epoch9.npy"]
        assert file.structure["links"]["last.npy"] == "run/best.npy"
        assert file.damage == []


@pytest.mark.parametrize("target", ["s/etc/passwd", "s../../x", "sa.npy", "hgone.npy"])
def test_a_link_out_of_the_archive_or_to_nothing_is_reported(target: str) -> None:
    with persist.open(packed(("w.npy", array([1]), ""), ("a.npy", b"", target))) as file:
        assert list(file.tree) == ["w.npy"]
        assert "a.npy is a link to" in file.damage[0]


def test_a_broken_header_is_reported_and_the_rest_is_read() -> None:
    data = bytearray(packed(*((f"{name}.npy", array([ord(name)]), "") for name in "abc")))
    at, last = data.index(b"b.npy"), data.index(b"c.npy")
    data[at] ^= 1
    with persist.open(bytes(data)) as file:
        assert list(file.tree) == ["a.npy", "c.npy"]
        assert f"header at offset {at:,} is damaged" in file.damage[0]
    data[last] ^= 1
    with persist.open(bytes(data)) as file:
        assert list(file.tree) == ["a.npy"]
        assert "nothing behind it is read" in " ".join(file.damage)


def test_an_archive_behind_the_end_is_reported() -> None:
    first, second = (packed((name, array([1]), "")) for name in ("a.npy", "b.npy"))
    with persist.open(first + second) as file:
        assert list(file.tree) == ["a.npy"]
        assert "another tar follows the end" in file.damage[0]


def test_an_archive_without_its_end_is_reported() -> None:
    data = packed(("a.npy", array([1]), ""), ("b.npy", array([2]), ""))
    with persist.open(data[: data.index(b"b.npy")]) as file:
        assert list(file.tree) == ["a.npy"]
        assert "cut short" in file.damage[0]


def test_a_sparse_member_that_claims_too_much_is_refused_or_reported() -> None:
    import gzip

    data = bytearray(gzip.decompress((CASE / "gnu.tar.gz").read_bytes()))
    at = data.index(b"m.npy")

    def with_size(size: bytes) -> bytes:
        data[at + 483 : at + 495] = size
        head = data[at : at + 512]
        total = sum(head[:148]) + 256 + sum(head[156:])
        data[at + 148 : at + 156] = b"%06o\0 " % total
        return bytes(data)

    with persist.open(with_size(b"00000000100\0")) as file:  # less than its parts
        assert "m.npy" not in file.tree
        assert "m.npy in the tar cannot be read" in file.damage[0]
        assert "z.npy" in file.tree
    with pytest.raises(persist.errors.LimitError):
        persist.open(with_size(b"\x80\0\0\0\0\0\x40\0\0\0\0\0"))
