"""The servers, one of each for all tests here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `servers` is imported by its own name


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, object, Path]]:
    """A web server: its URL, what it was asked for, its folder."""
    pytest.importorskip("aiohttp")
    pytest.importorskip("fsspec")
    import servers

    folder = tmp_path_factory.mktemp("web")
    with servers.web(folder) as (url, count):
        yield url, count, folder


@pytest.fixture(scope="session")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An SFTP server: its URL with user and password, its folder."""
    pytest.importorskip("asyncssh")
    pytest.importorskip("paramiko")
    pytest.importorskip("fsspec")
    import servers

    folder = tmp_path_factory.mktemp("sftp")
    with servers.sftp(folder) as url:
        yield url, folder


@pytest.fixture(scope="session")
def s3() -> Iterator[tuple[dict[str, object], object]]:
    """An S3 server with the bucket "bucket": storage options, what it was asked for."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    import servers

    with servers.s3() as (options, count):
        yield options, count


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persist._wire.base.http._PAUSE", 0.0)
