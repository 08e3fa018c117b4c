"""Servers on the loopback that tests and benchmarks/remote.py read from and write to; they count requests.

The web server and the SFTP server are those of aiohttp and asyncssh, the S3 server is moto's. Each runs in a
thread and ends with its `with` block.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Count:
    """What a server was asked for: a line a request, and the bytes of bodies that it sent."""

    requests: list[str] = field(default_factory=list)
    sent: int = 0

    def clear(self) -> None:
        self.requests.clear()
        self.sent = 0


@contextlib.contextmanager
def _running(
    start: Callable[[], Awaitable[tuple[Any, Callable[[], Awaitable[None]]]]],
) -> Iterator[Any]:
    """Run an event loop in a thread, with what `start` began and how it ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    given, stop = asyncio.run_coroutine_threadsafe(start(), loop).result(30)  # type: ignore[arg-type]
    try:
        yield given
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(30)  # type: ignore[arg-type]
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def web(folder: Path) -> Iterator[tuple[str, Count]]:
    """Serve a folder over HTTP, with ranges; yields the URL and what was asked for.

    Prefixes change what is served: ``/plain/`` has no ranges, ``/gzip/`` is compressed on its way,
    ``/moved/`` redirects, ``/refused/`` is 403, ``/secret/`` wants the user "me" with "hidden-pass",
    ``/cut/`` ends every body early, ``/flaky/`` fails every other request, ``/changing/`` has a new
    ETag each time, ``/short/`` sends half of each range. PUT writes a file, under ``/put/``.
    """
    from aiohttp import web as server

    count = Count()
    number = 0

    async def get(request: Any) -> Any:
        nonlocal number
        number += 1
        how, _, name = request.match_info["path"].partition("/")
        path = folder / name
        if how == "refused":
            return server.Response(status=403)
        if how == "flaky" and number % 2:
            return server.Response(status=503)
        if how == "secret" and request.headers.get("Authorization") != "Basic bWU6aGlkZGVuLXBhc3M=":
            return server.Response(status=401)
        if how == "moved":
            raise server.HTTPFound(f"/files/{name}")
        if not path.is_file():
            return server.Response(status=404)
        if how in ("files", "secret"):
            return server.FileResponse(path)
        data = path.read_bytes()
        if how == "gzip":
            packed = gzip.compress(data)
            return server.Response(body=packed, headers={"Content-Encoding": "gzip"})
        if how == "plain":
            return server.Response(body=data)
        start, stop = map(int, re.findall(r"\d+", request.headers["Range"]))
        part = data[start : stop + 1]
        if how == "short":
            part = part[: max(1, len(part) // 2)]
        headers = {
            "Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(data)}",
            "ETag": f'"{number if how == "changing" else 0}"',
        }
        if how == "cut":
            response = server.StreamResponse(status=206, headers=headers)
            response.content_length = len(part)
            await response.prepare(request)
            await response.write(part[: len(part) // 2])
            request.transport.close()
            return response
        return server.Response(status=206, body=part, headers=headers)

    async def put(request: Any) -> Any:
        how, _, name = request.match_info["path"].partition("/")
        if how != "put":
            return server.Response(status=405 if how == "files" else 403)
        data = await request.read()
        (folder / name).write_bytes(data)
        return server.Response(status=201)

    @server.middleware
    async def counting(request: Any, handler: Any) -> Any:
        count.requests.append(f"{request.method} {request.path} {request.headers.get('Range', '')}")
        return await handler(request)

    class Counted(server.FileResponse):
        async def prepare(self, request: Any) -> Any:
            writer = await super().prepare(request)
            count.sent += self.content_length or 0
            return writer

    server.FileResponse = Counted

    async def start() -> Any:
        app = server.Application(middlewares=[counting], client_max_size=1 << 32)
        app.router.add_get("/{path:.*}", get)
        app.router.add_put("/{path:.*}", put)
        runner = server.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = server.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        return f"http://127.0.0.1:{port}", runner.cleanup

    with _running(start) as url:
        yield url, count


@contextlib.contextmanager
def sftp(folder: Path) -> Iterator[str]:
    """Serve a folder over SFTP to the user "me" with the password "hidden-pass"; yields the URL."""
    import asyncssh

    connections: list[Any] = []

    class Server(asyncssh.SSHServer):
        def connection_made(self, connection: Any) -> None:
            connections.append(connection)

        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("me", "hidden-pass")

    async def start() -> Any:
        def files(channel: Any) -> Any:
            return asyncssh.SFTPServer(channel, chroot=str(folder))

        listener = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            sftp_factory=files,
        )

        async def stop() -> None:
            listener.close()
            for connection in connections:
                connection.abort()
                await connection.wait_closed()
            await listener.wait_closed()

        return listener.get_port(), stop

    with _running(start) as port:
        yield f"sftp://me:hidden-pass@127.0.0.1:{port}"
        from fsspec.implementations.sftp import SFTPFileSystem

        for files in SFTPFileSystem._cache.values():
            files.client.close()
        SFTPFileSystem.clear_instance_cache()


@contextlib.contextmanager
def s3(bucket: str = "bucket") -> Iterator[tuple[dict[str, object], Count]]:
    """Run an S3 server with one bucket; yields the storage options, and what was asked for."""
    import logging

    import fsspec
    import moto.server
    from werkzeug.serving import make_server

    count = Count()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = moto.server.DomainDispatcherApplication(moto.server.create_backend_app)

    def counting(environ: dict[str, Any], start: Any) -> Any:
        path = f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}".rstrip("?")
        count.requests.append(f"{environ['REQUEST_METHOD']} {path} {environ.get('HTTP_RANGE', '')}")
        for part in app(environ, start):
            if environ["REQUEST_METHOD"] == "GET":
                count.sent += len(part)
            yield part

    server = make_server("127.0.0.1", 0, counting, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    options: dict[str, object] = {
        "key": "AKIAHIDDENKEY",
        "secret": "hidden-secret",
        "endpoint_url": f"http://127.0.0.1:{server.server_port}",
        "client_kwargs": {"region_name": "eu-west-1"},
    }
    try:
        fsspec.filesystem("s3", **options).mkdir(bucket)
        count.clear()
        yield options, count
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
