"""A headless Chromium that is driven through its debugging port, with the standard library alone.

with browser(folder) as page:
    page.open("file:///tmp/page.html")
    page.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 120.0  # seconds until a wait fails
KEYS = {  # what a key event of the name needs besides its name: text, and Windows' code of the key
    "Enter": ("\r", 13),
    " ": (" ", 32),
    "Tab": ("", 9),
    "Escape": ("", 27),
    "ArrowLeft": ("", 37),
    "ArrowUp": ("", 38),
    "ArrowRight": ("", 39),
    "ArrowDown": ("", 40),
    "Home": ("", 36),
    "End": ("", 35),
    "PageUp": ("", 33),
    "PageDown": ("", 34),
    ",": (",", 188),
    ".": (".", 190),
}


class WebSocket:
    """A client's side of a WebSocket (RFC 6455) that exchanges texts with a server on this machine."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._stream = self._socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert b" 101 " in self._stream.readline()
        while self._stream.readline().strip():
            pass

    def send(self, text: str) -> None:
        data, mask = text.encode(), os.urandom(4)
        size = len(data)
        head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
        if size >= 1 << 16:
            head = struct.pack("!BBQ", 0x81, 0xFF, size)
        repeated = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
        self._socket.sendall(head + mask + masked)

    def receive(self) -> str:
        """The next text; pings are passed over, which a debugging port does not send."""
        whole = b""
        while True:
            first, second = self._stream.read(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(self._stream.read(2 if size == 126 else 8), "big")
            part = self._stream.read(size)
            if first & 0xF in (0, 1):
                whole += part
                if first & 0x80:
                    return whole.decode()

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


class Page:
    """One page of the browser. `errors` are its exceptions, logged errors, and requests that it refused."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = WebSocket(port, path)
        self._last = 0
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol; returns its result."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.receive())
            if message.get("id") == self._last:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        about = message.get("params", {})
        if message["method"] == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif message["method"] == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.errors.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, of a promise what it resolves to."""
        answer = self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait_for(self, script: str, patience: float = PATIENCE) -> Any:
        """Wait until the expression is true; returns its value."""
        end = time.monotonic() + patience
        while not (value := self.evaluate(script)):
            assert time.monotonic() < end, f"not true in {patience:g} s: {script}\n{self.errors}\n{self.text()[:1500]}"
            time.sleep(0.03)
        return value

    def open(self, address: str) -> None:
        """Open an address, and wait until the page is ready."""
        self.command("Page.navigate", url="about:blank")
        self.command("Page.navigate", url=address)
        self.wait_for("document.documentElement?.dataset.ready === '' && location.href !== 'about:blank'")

    def leave(self) -> None:
        """Show nothing, and let go of the server."""
        self.command("Page.navigate", url="about:blank")

    @contextlib.contextmanager
    def _until_heard(self, kind: str) -> Iterator[None]:
        """At the end, wait until the page has got an event of this kind, and done what it does about it.

        The browser may confirm an input before the page knows of it.
        """
        listen = f"addEventListener('{kind}', () => done(), {{capture: true, once: true}})"
        self.evaluate(f"void (window.heard = new Promise((done) => {listen}))")
        yield
        self.evaluate("window.heard")

    def text(self) -> str:
        return self.evaluate("document.body.innerText")

    def press(self, key: str, times: int = 1, shift: bool = False) -> None:
        """Press and release a key, as a user does."""
        text, code = KEYS.get(key, (key, ord(key.upper()[0])))
        for _ in range(times):
            common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
            kind = "keyDown" if text else "rawKeyDown"
            with self._until_heard("keyup"):
                self.command("Input.dispatchKeyEvent", type=kind, **common, **({"text": text} if text else {}))
                self.command("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, text: str) -> None:
        """Put a text where the cursor is, as pasting does."""
        with self._until_heard("input"):
            self.command("Input.insertText", text=text)

    def click(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Click on an element with the mouse, at a place given as fractions of its width and height."""
        x, y = self._place(selector, at)
        with self._until_heard("mouseup"):  # the click itself follows at once
            for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
                pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
                self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    def _place(self, selector: str, at: tuple[float, float]) -> tuple[float, float]:
        find = f"document.querySelector({json.dumps(selector)})"
        self.wait_for(f"{find} && {find}.checkVisibility()")
        look = (
            f"(one => {{ one.scrollIntoView({{block: 'center'}}); const {{left, top, width, height}} = "
            f"one.getBoundingClientRect(); return [left, top, width, height]; }})({find})"
        )
        box, before = self.evaluate(look), None
        while box != before:  # what is drawn above it may still move it
            self.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            box, before = self.evaluate(look), box
        return box[0] + at[0] * box[2], box[1] + at[1] * box[3]

    def resize(self, width: int, height: int = 900) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def prefer(self, **features: str) -> None:
        """Emulate media features, such as prefers_color_scheme="dark"."""
        chosen = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.command("Emulation.setEmulatedMedia", features=chosen)

    def screenshot(self, file: Path, whole: bool = True) -> None:
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A headless Chromium with its profile in `folder`, and its one page."""
    assert CHROMIUM is not None
    profile = folder / "profile"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    process = subprocess.Popen(
        [CHROMIUM, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    page = None
    try:
        port = _port(profile / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
            (target,) = [one for one in json.load(answer) if one["type"] == "page"]
        page = Page(port, target["webSocketDebuggerUrl"].partition(str(port))[2])
        yield page
    finally:
        if page is not None:
            page._socket.close()
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(file: Path) -> int:
    """The debugging port, which Chromium writes to a file when it listens."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            return int(file.read_text().split("\n")[0])
        time.sleep(0.02)
    raise AssertionError("Chromium opened no debugging port")
