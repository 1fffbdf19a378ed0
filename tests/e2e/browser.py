"""A real headless Chromium, driven through the DevTools protocol over a pipe. Standard library only."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

BINARIES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "headless_shell")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--remote-debugging-pipe",
)  # fmt: skip
# Chromium reads commands from descriptor 3 and writes answers to 4, whatever numbers the pipes have here.
LAUNCH = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"


def find_browser() -> str:
    """The Chromium of this machine: $CHROMIUM, else one on the path."""
    given = os.environ.get("CHROMIUM")
    found = next((path for path in map(shutil.which, [given] if given else BINARIES) if path), None)
    assert found, f"no Chromium on this machine: install one ({', '.join(BINARIES)}) or name it in $CHROMIUM"
    return found


class BrowserError(AssertionError):
    """The browser refused a command, or a script in the page threw."""


class Browser:
    """One browser with one page. Collects the addresses it asks for and what the console says."""

    def __init__(self, width: int = 1440, height: int = 1000) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="coverage-map-", ignore_cleanup_errors=True)
        ours, theirs = self._pipes()
        command = [find_browser(), *FLAGS, f"--user-data-dir={self._folder.name}", f"--window-size={width},{height}"]
        launch = [sys.executable, "-c", LAUNCH, str(theirs[0]), str(theirs[1]), *command, "about:blank"]
        self._process = subprocess.Popen(
            launch, pass_fds=theirs, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        for descriptor in theirs:
            os.close(descriptor)
        self._out, self._in = os.fdopen(ours[0], "wb", 0), os.fdopen(ours[1], "rb", 0)
        self._last = 0
        self._rest = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    @staticmethod
    def _pipes() -> tuple[tuple[int, int], tuple[int, int]]:
        to_browser, from_browser = os.pipe(), os.pipe()
        # Above 9, so that the launcher does not overwrite one while it moves the other.
        theirs = tuple(fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser[0], from_browser[1]))
        os.close(to_browser[0])
        os.close(from_browser[1])
        return (to_browser[1], from_browser[0]), (theirs[0], theirs[1])

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._out.close()
        self._in.close()
        self._folder.cleanup()

    # -- protocol ----------------------------------------------------------------------------------------------------

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = self._in.read(1 << 16)
            if not chunk:
                raise BrowserError("the browser ended")
            self._rest += chunk
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        assert isinstance(message, dict)
        return message

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer; events that come meanwhile are kept."""
        self._last += 1
        command: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        self._out.write(json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._last:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']}")
                result = message["result"]
                assert isinstance(result, dict)
                return result
            self.events.append(message)

    def of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of all events of that name so far."""
        self.run("0")
        return [event["params"] for event in self.events if event.get("method") == method]

    # -- what a person does ------------------------------------------------------------------------------------------

    def open(self, url: str) -> None:
        """Open a page and wait until it is loaded and two frames are painted."""
        self.events.clear()
        self.send("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())
        self.settle()

    def settle(self) -> None:
        """Wait until two frames are painted."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited when it is a promise."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str, *, control: bool = False) -> None:
        """Press and release a key."""
        code = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32}.get(key, 0)
        event = {"key": key, "code": key, "modifiers": 2 * control, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="rawKeyDown", **event)
        if len(key) == 1 and not control:
            self.send("Input.dispatchKeyEvent", type="char", text=key, **event)
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def point(self, x: float, y: float) -> None:
        """Move the pointer there."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Another window size, at one device pixel per pixel. The scroll bars of a mobile window take no room."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def prefer(self, scheme: str) -> None:
        """Prefer the `light` or `dark` colour scheme."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.settle()

    def screenshot(self, path: Path, height: int | None = None) -> None:
        """What the window shows, or the top of the page down to `height`."""
        width, inner = self.run("[innerWidth, innerHeight]")
        clip = {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}} if height else {}
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=(height or 0) > inner, **clip)
        path.write_bytes(base64.b64decode(answer["data"]))
