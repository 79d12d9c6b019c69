"""The example transport of docs/extending.md passes the contract tests of all transports."""

import errno
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.domain.address import Address
from moby_plugins.testing.contracts import Behaviour, PluginThat, TransportContract
from moby_plugins.testing.contracts.transport import ANSWER, FAILURE, MUCH, PAGE

DOCUMENT = Path(__file__).parents[3] / "docs" / "extending.md"

# What a program does that behaves like this; it has ``say``, ``method``, ``headers`` and ``body``.
PROGRAMS: dict[Behaviour, str] = {
    "answers": f"say(200, {ANSWER!r})",
    "answers nothing": "say(200, b'')",
    "echoes": "say(200, body)",
    "tells": """
import json
names = {name.lower(): value for name, _, value in (header.partition(": ") for header in headers)}
say(200, json.dumps({"method": method, "headers": names, "body": body.decode()}).encode())
""",
    "fails": f"say(500, {FAILURE!r})",
    "sends a page": f"say(200, {PAGE!r})",
    "sends much": f"say(200, bytes({MUCH}))",
    "hangs": "time.sleep(60)",
    "drops": "sys.exit(1)",
    "drops mid-body": "say(200, b'{'); sys.exit(1)",
    "drips": f"""
say(200, b"")
for byte in {ANSWER!r}:
    time.sleep(0.1)
    os.write(1, bytes([byte]))
""",
    "is malformed": "print('220 mail.example ESMTP ready')",
}
PROGRAM = """#!{python} -SE
import os, sys, time

def say(status, answer):
    sys.stdout.buffer.write(b"%d\\n%b" % (status, answer))
    sys.stdout.flush()

_, method, *headers = sys.argv
body = sys.stdin.buffer.read()
{code}
"""


def documented() -> Any:
    """The class, as the document's first piece of code makes it."""
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(compile(code[1], str(DOCUMENT), "exec"), names)  # noqa: S102  our own document
    return names["CommandTransport"]


def program_that(behaviour: Behaviour, directory: Path) -> Address:
    """The address of a program that behaves like this; of none for one that refuses."""
    path = directory / "program"
    if behaviour != "refuses":
        path.write_text(PROGRAM.format(python=sys.executable, code=PROGRAMS[behaviour]))
        path.chmod(0o755)
    return Address(f"exec://{path}")


class TestCommandTransport(TransportContract):
    REFUSED = "the command cannot be run: No such file or directory"
    REFUSED_ERRNO = errno.ENOENT

    @pytest.fixture
    def plugin_that(self, tmp_path: Path) -> PluginThat:
        """Transports that run a program."""
        transport = documented()
        return lambda behaviour: transport(program_that(behaviour, tmp_path), None)
