"""A headless Chromium driven over its debugging pipe: no network, no driver, no package."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

START = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
os.dup2(ends[0], 3), os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The browser reads commands on descriptor 3 and answers on 4."""


def find_chrome() -> str | None:
    """Path of Debian's Chromium, or of Chrome."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    return None


class Chrome:
    """One page of a headless browser.

    Attributes:
        complaints: Console errors, warnings, and exceptions of the page so far.
        requests: Addresses that the page asked for.
    """

    def __init__(self, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._count, self._buffer, self._loaded = 0, b"", False
        self._profile = tempfile.mkdtemp(prefix="ssl-skel-chrome-")
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        command = [str(find_chrome()), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                   f"--user-data-dir={self._profile}", "--no-first-run", "--disable-dev-shm-usage",
                   "--hide-scrollbars", "about:blank"]
        starter = [sys.executable, "-c", START, str(to_browser), str(from_browser)]
        self._process = subprocess.Popen([*starter, *command], pass_fds=(to_browser, from_browser),
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        target = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session: str | None = None
        self._session = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.resize(width, height)
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def __enter__(self) -> Chrome:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            self._session = None
            self._call("Browser.close")
        for handle in (self._in, self._out):
            os.close(handle)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self._loaded = False
        self._call("Page.navigate", url=path.absolute().as_uri())
        end = time.monotonic() + 30
        while not self._loaded:
            self._read(end)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page, in CSS pixels; a narrow one is a phone."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                   mobile=width < 600)

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page and return its value."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:500])
        return answer["result"].get("value")

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        """Press a key, as a user would."""
        extra = {"windowsVirtualKeyCode": code} if code else {}
        self._call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, **extra)
        self._call("Input.dispatchKeyEvent", type="keyUp", key=key, **extra)

    def accessibility(self) -> list[dict[str, Any]]:
        """Nodes of the accessibility tree, as a screen reader gets them."""
        return list(self._call("Accessibility.getFullAXTree")["nodes"])

    def screenshot(self, path: Path, full: bool = False) -> None:
        """Save what the page looks like."""
        data = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=full)["data"]
        path.write_bytes(base64.b64decode(data))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while True:
            answer = self._read(end)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def _read(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise RuntimeError("the browser has gone")
            self._buffer += data
        raw, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(raw)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, values: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(values["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(values["args"])[:500])
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.complaints.append(values["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
