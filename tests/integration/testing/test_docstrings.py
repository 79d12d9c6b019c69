"""The docstrings of public names: their arguments, and their examples, run as a reader would."""

import contextlib
import inspect
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.integration.testing.pytest_run import run_pytest
from website.build import DOORS, public_names

BLOCK = re.compile(r"^ *```python\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
# What a newcomer makes first, and so has an example each.
SHOWN = {
    "moby_plugins": {"Client", "Registry", "RetryPolicy", "Settings", "Stream", "TLSOptions"},
    "moby_plugins.aio": {"AsyncClient", "AsyncRegistry", "AsyncStream"},
    "moby_plugins.subsystems": {"Subsystem", "VolumeDriver"},
    "moby_plugins.serving": {"PluginApp", "ServerTLS", "serve_tcp", "serve_unix"},
    "moby_plugins.tracing": {"Trace"},
    "moby_plugins.diagnosis": {"diagnose"},
    "moby_plugins.checks": {"check"},
    "moby_plugins.testing": {
        "AsyncLivePlugin",
        "AsyncMemoryRegistry",
        "AsyncMemoryTransport",
        "Calls",
        "FakeClock",
        "FakeTimeLoop",
        "FaultServer",
        "MemoryRegistry",
        "MemoryTransport",
        "PluginDirectory",
    },
    "moby_plugins.testing.contracts": {
        "ClockContract",
        "DiscoveryContract",
        "SocketTransportContract",
        "TransportContract",
    },
    "moby_plugins.testing.pytest_plugin": {
        "async_live_plugin",
        "async_memory_transport",
        "async_registry",
        "default_registry",
        "fake_clock",
        "fake_loop",
        "live_plugin",
        "memory_transport",
        "plugin_dir",
        "plugin_registry",
    },
}


def examples() -> dict[str, str]:
    """Each example, by where it stands."""
    found: dict[str, str] = {}
    for door in DOORS:
        for name in public_names(door):
            it = getattr(import_module(door), name)
            members = vars(it).values() if inspect.isclass(it) else ()
            for each in (it, *members):
                text = inspect.cleandoc(getattr(each, "__doc__", None) or "")
                own = f"{door}.{getattr(each, '__qualname__', None) or name}"
                for number, block in enumerate(BLOCK.findall(text)):
                    found.setdefault(f"{own} {number}", textwrap.dedent(block))
    return found


EXAMPLES = examples()
_TEST = re.compile("^(def test_|class Test)", re.MULTILINE)
_SERVER = re.compile("^serve_", re.MULTILINE)
TESTS = {it: EXAMPLES[it] for it in EXAMPLES if _TEST.search(EXAMPLES[it])}
SERVERS = {it: EXAMPLES[it] for it in EXAMPLES if _SERVER.search(EXAMPLES[it])}
# A name may stand at two doors.
OTHERS = {EXAMPLES[it]: it for it in EXAMPLES if it not in TESTS and it not in SERVERS}


@pytest.mark.parametrize("door", SHOWN)
def test_each_name_that_a_newcomer_uses_first_has_an_example(door: str) -> None:
    """The example is in the docstring, which ``help`` prints and the reference shows."""
    assert [name for name in sorted(SHOWN[door]) if f"{door}.{name} 0" not in EXAMPLES] == []


# Made by what has the arguments: ``Client.stream``, ``FaultServer.unix`` and ``tcp``.
MADE_BY_OTHERS = {"AsyncStream", "Stream", "FaultServer"}


def told(it: Any) -> tuple[set[str], set[str]]:
    """The parameters of something public, and those of them that its docstring tells."""
    names = {
        name
        for name in inspect.signature(it).parameters
        if name not in {"self", "cls"} and not name.startswith("_")
    }
    text = inspect.getdoc(it) or ""
    return names, {name for name in names if re.search(rf"^ +{name}: ", text, re.MULTILINE)}


@pytest.mark.parametrize("door", [door for door in SHOWN if "contracts" not in door])
def test_each_name_that_a_newcomer_uses_first_documents_its_arguments(door: str) -> None:
    """The docstrings of a class and of its public methods list exactly their arguments."""
    for name in SHOWN[door]:
        it = getattr(import_module(door), name)
        public = {} if name in MADE_BY_OTHERS or "pytest_plugin" in door else {name: it}
        if inspect.isclass(it):
            public |= {
                f"{name}.{key}": getattr(it, key)
                for key, value in vars(it).items()
                if not key.startswith("_") and inspect.isfunction(getattr(value, "__func__", value))
            }
        for where, each in public.items():
            names, documented = told(each)
            assert names == documented, where


@pytest.mark.parametrize("example", OTHERS, ids=OTHERS.values())
def test_an_example_in_a_docstring_runs(example: str, tmp_path: Path) -> None:
    """The example runs by itself, in an empty directory."""
    with contextlib.chdir(tmp_path):
        exec(compile(example, OTHERS[example], "exec"), {})  # noqa: S102  our own


def test_the_tests_among_the_examples_pass(tmp_path: Path) -> None:
    """Each test is in a file of its own, with the imports that the example has."""
    for number, where in enumerate(TESTS):
        (tmp_path / f"test_{number}.py").write_text(TESTS[where], "utf-8")

    output = run_pytest(tmp_path, "-q")

    assert len(TESTS) >= 10
    assert re.search(r"^\d+ passed in", output, re.MULTILINE), output


@pytest.mark.parametrize("where", sorted(SERVERS))
def test_an_example_that_serves_a_plugin_runs_until_sigterm(where: str, tmp_path: Path) -> None:
    """Its socket or spec appears in the directory that it names, and is removed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVERS[where]],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ends = time.monotonic() + 20
        announced: list[str] = []
        while not announced and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.01)
            # Without the lock that is held while it is made ready.
            announced = [name for name in os.listdir(tmp_path) if not name.startswith(".")]
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()

    assert (process.returncode, said) == (0, "")
    assert announced in (["shelf.sock"], ["shelf.spec"])
    assert os.listdir(tmp_path) == []
