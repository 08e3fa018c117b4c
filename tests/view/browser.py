"""A headless Chromium, driven by the DevTools protocol over a pipe: no other program is needed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe", "--window-size=1200,760"),
)


def program() -> str | None:
    """The browser of this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One tab of a browser."""

    def __init__(self, read: int, write: int) -> None:
        self._from = os.fdopen(read, "rb")
        self._to = os.fdopen(write, "wb")
        self._number = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", session=None, url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", session=None, targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._from.fileno(), 1 << 20)
            if not more:
                raise RuntimeError("the browser has ended")
            self._rest += more
        one, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(one)
        return found

    def ask(self, method: str, *, session: str | None = "", **params: Any) -> dict[str, Any]:
        """Send a command, and return its result; events in between are kept."""
        self._number += 1
        said: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            said["sessionId"] = session or self._session
        self._to.write(json.dumps(said).encode() + b"\0")
        self._to.flush()
        while True:
            found = self._message()
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                result: dict[str, Any] = found["result"]
                return result
            self.events.append(found)

    def open(self, page: Path, fragment: str = "") -> None:
        """Open a page, and wait until it is loaded and drawn."""
        self.ask("Page.navigate", url="about:blank")
        self.events.clear()
        url = page.as_uri() + fragment
        self.ask("Page.navigate", url=url)
        is_loaded = f"location.href === {json.dumps(url)} && document.readyState === 'complete'"
        for _ in range(600):  # the load event of the blank page may come late, so it is asked for
            if self.run(is_loaded):
                break
            time.sleep(0.1)
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, code: str) -> Any:
        """Evaluate an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def picture(self) -> bytes:
        """A picture of what is on the screen, as PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser with a new profile; it ends with the block."""
    found = program()
    assert found is not None
    read, their_write = os.pipe()
    their_read, write = os.pipe()
    words = shlex.join([found, *FLAGS, f"--user-data-dir={profile}"])
    process = subprocess.Popen(
        ["bash", "-c", f"exec {words} 3<&{their_read} 4>&{their_write}"],
        pass_fds=(their_read, their_write),
        stderr=subprocess.DEVNULL,
    )
    os.close(their_read)
    os.close(their_write)
    try:
        tab = Browser(read, write)
    except BaseException:
        process.kill()
        process.wait()
        raise
    try:
        yield tab
    finally:
        with contextlib.suppress(RuntimeError, BrokenPipeError):
            tab.ask("Browser.close", session=None)
        process.kill()
        process.wait()
        tab._from.close()
        with contextlib.suppress(BrokenPipeError):
            tab._to.close()
