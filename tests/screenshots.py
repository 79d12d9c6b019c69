"""Pictures of the command line at work: ``python -m tests.screenshots`` writes ``docs/images``.

The installed command runs at a terminal, among the example plugins. What differs each
time is made the same: directories are as long as those that they are shown as, for
columns have the width of a path; times are one time.
"""

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from html import unescape
from pathlib import Path

from rich.console import Console
from rich.text import Text

from moby_plugins import RetryPolicy, Settings, StatusError, new_client
from tests.integration.cli.machine import EXAMPLES, appear, stale_socket
from tests.integration.cli.terminal import Terminal, at_terminal

IMAGES = Path(__file__).parents[1] / "docs" / "images"
COLUMNS = 132

# Below a temporary directory that has sixteen letters, each as long as what it is shown as.
SOCKETS, SPECS, VOLUMES = "sk", "et", "volumes"
SHOWN = {SOCKETS: "/run/docker/plugins", SPECS: "/etc/docker/plugins", VOLUMES: "/srv/shelf"}

_SAME = {re.compile(r"\d\d:\d\d:\d\d\.\d{3}"): "10:30:00.000", re.compile(r"[\d.]+ ms"): "1.0 ms"}
# A viewer of a picture fetches no fonts for it.
_FONTS = re.compile(r"@font-face \{[^}]*\}\s*")
_TEXT = re.compile(r"<text[^>]*>([^<]*)</text>")


class Stage:
    """A machine with plugins to be shown, good and bad, below ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.sockets, self.specs = root / SOCKETS, root / SPECS
        self.environment = os.environ | {
            "MOBY_PLUGINS_SOCKETS_PATH": str(self.sockets),
            "MOBY_PLUGINS_SPECS_PATHS": str(self.specs),
            "NO_COLOR": "",
        }

    @contextmanager
    def plugins(self) -> Iterator[None]:
        """Two that live, one that was killed, one with a mistake in its spec."""
        for name in SHOWN:
            (self._root / name).mkdir()
        stale_socket(self.sockets / "old.sock")
        (self.specs / "far.spec").write_text("10.0.0.7:9000")
        with ExitStack() as stack:
            stack.enter_context(self._plugin("authz_plugin.py", "doorman", "policy.toml"))
            stack.enter_context(self._plugin("volume_plugin.py", "shelf", VOLUMES))
            yield

    @contextmanager
    def _plugin(self, program: str, name: str, argument: str) -> Iterator[None]:
        path = self.sockets / f"{name}.sock"
        arguments = [str(EXAMPLES / program), str(path), str(self._root / argument)]
        with subprocess.Popen([sys.executable, *arguments], stderr=subprocess.DEVNULL) as process:
            try:
                appear(path)
                yield
            finally:
                process.terminate()

    @contextmanager
    def command(self, *arguments: str) -> Iterator[Terminal]:
        """``moby-plugins`` at a terminal."""
        command = [sys.executable, "-m", "moby_plugins", *arguments]
        with at_terminal(command, self.environment, COLUMNS) as terminal:
            yield terminal

    def shown(self, written: str) -> str:
        """What was written, the same each time."""
        for name, path in SHOWN.items():
            written = written.replace(str(self._root / name), path)
        for pattern, same in _SAME.items():
            written = pattern.sub(same, written)
        return written.replace("\r\n", "\n")


def pictures() -> dict[str, str]:
    """The SVG of each command."""
    # Its name has sixteen letters, whatever the machine calls its temporary directory.
    with tempfile.TemporaryDirectory(prefix="mp-", dir="/tmp") as root:
        stage = Stage(Path(root))
        with stage.plugins():
            written = {
                "ls": _output(stage, "ls"),
                "doctor": _output(stage, "doctor"),
                "check": _output(stage, "check", "shelf", "--check", "*mount*"),
                "trace": _traced(stage),
            }
    return {name: _svg(name, stage.shown(text)) for name, text in written.items()}


def _output(stage: Stage, *arguments: str) -> str:
    with stage.command(*arguments) as terminal:
        terminal.end()
        return _prompt(*arguments) + terminal.written


def _traced(stage: Stage) -> str:
    settings = Settings(retry=RetryPolicy.never(), timeout=10)
    with stage.command("trace", "shelf") as terminal:
        terminal.wait_for("Ctrl-C")
        with new_client(f"unix://{stage.sockets}/shelf.sock", settings=settings) as client:
            client.call("Plugin.Activate")
            with suppress(StatusError):
                client.call("VolumeDriver.Create", {"Name": "books", "Opts": {"token": "abc"}})
            client.call("VolumeDriver.Create", {"Name": "books", "Opts": {"size": "10M"}})
            client.call("VolumeDriver.Mount", {"Name": "books", "ID": "reader"})
        terminal.wait_for('{"Mountpoint"')
        terminal.type(b"\x03")
        terminal.end()
        return _prompt("trace", "shelf") + terminal.written.replace("^C", "")


def _prompt(*arguments: str) -> str:
    return f"$ moby-plugins {shlex.join(arguments)}\n"


def _svg(name: str, written: str) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(written.rstrip()), soft_wrap=False)
    svg = console.export_svg(title=f"moby-plugins {name}", unique_id=f"moby-plugins-{name}")
    return _FONTS.sub("", svg) + "\n"


def text_of(svg: str) -> list[str]:
    """What a picture says, whichever way it is drawn."""
    texts = (unescape(text).replace("\N{NO-BREAK SPACE}", " ") for text in _TEXT.findall(svg))
    return [text for text in texts if text.strip()]


def main() -> None:
    """Write the pictures."""
    IMAGES.mkdir(exist_ok=True)
    for name, svg in pictures().items():
        (IMAGES / f"{name}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
