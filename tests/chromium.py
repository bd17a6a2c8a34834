"""Debian's Chromium without a window, spoken to over its DevTools pipe: JSON messages, each ended by a NUL."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MISSING = "these tests need a real browser. Install Debian's: apt-get install chromium"
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_SECONDS = 60


def find_chromium() -> str:
    """Its path; a machine without it fails the test, and says what to install."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    assert found is not None, MISSING
    return found


@dataclass
class Page:
    """A tab, and what happened in it since it was opened."""

    browser: Browser
    session: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.call(method, session=self.session, **parameters)

    def value(self, script: str) -> Any:
        """The JSON value of an expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    @property
    def requests(self) -> list[str]:
        return [event["params"]["request"]["url"] for event in self.of("Network.requestWillBeSent")]

    @property
    def problems(self) -> list[Any]:
        """Errors and warnings of the console, refused requests among them."""
        logged = [event["params"]["entry"] for event in self.of("Log.entryAdded")]
        called = [event["params"] for event in self.of("Runtime.consoleAPICalled")]
        thrown = [event["params"] for event in self.of("Runtime.exceptionThrown")]
        dialogs = [event["params"] for event in self.of("Page.javascriptDialogOpening")]
        return [*logged, *called, *thrown, *dialogs]

    def of(self, method: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["method"] == method]

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


class Browser:
    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._buffer = b""
        self._calls = 0
        self._pages: dict[str, Page] = {}

    def call(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._calls += 1
        number = self._calls
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str, *, width: int = 1000, height: int = 800, scheme: str = "light") -> Page:
        """The page at this address, loaded, in a window of this size that prefers light or dark."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.events.clear()
        page.call("Page.navigate", url=url)
        while not page.of("Page.loadEventFired"):
            self._next()
        page.value("document.documentElement.getBoundingClientRect().height")  # laid out
        return page

    def _next(self) -> dict[str, Any]:
        """The next message; an event is kept with its page."""
        end = time.monotonic() + _SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._reading], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            content = os.read(self._reading, 1 << 20)
            assert content, "the browser has ended"
            self._buffer += content
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message and (page := self._pages.get(message.get("sessionId", ""))) is not None:
            page.events.append(message)
        return message


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile in this folder."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # Chromium reads from descriptor 3 and writes to 4.
    spare = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in (theirs_in, theirs_out)]
    os.close(theirs_in)
    os.close(theirs_out)

    def place_pipes() -> None:
        os.dup2(spare[0], 3)
        os.dup2(spare[1], 4)

    arguments = [find_chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    arguments += ["--hide-scrollbars", "--no-first-run", f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    process = subprocess.Popen(
        arguments,
        close_fds=False,
        preexec_fn=place_pipes,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for descriptor in spare:
        os.close(descriptor)
    try:
        yield Browser(ours_in, ours_out)
    finally:
        process.terminate()
        process.wait(timeout=30)
        os.close(ours_in)
        os.close(ours_out)
