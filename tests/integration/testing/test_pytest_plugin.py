"""The pytest plugin in a project of its own: available, and without effect until it is used."""

import re
from pathlib import Path

import pytest

from tests.integration.testing.pytest_run import run_pytest, run_python

NAMES = (
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
)

USING_ALL = """
import moby_plugins
from moby_plugins import Response, new_local_registry
from moby_plugins.aio import AsyncVolumeDriver

def test_in_memory(fake_clock, memory_transport, default_registry):
    shelf = default_registry.add("shelf", {"VolumeDriver.List": {}})
    moby_plugins.get("shelf", "VolumeDriver").client.call("VolumeDriver.List", {})
    shelf.calls.assert_called("VolumeDriver.List", {}, times=1)

def test_on_sockets(fake_clock, plugin_dir, live_plugin):
    live_plugin(lambda _: Response(200, b'{"Implements": ["VolumeDriver"]}'), "shelf")
    plugin_dir.stale_socket("stale")
    with new_local_registry(plugin_dir.settings, clock=fake_clock) as registry:
        assert [plugin.name for plugin in registry.get_all("VolumeDriver")] == ["shelf"]

def test_in_tasks(fake_loop, async_registry, async_memory_transport):
    async_memory_transport({"VolumeDriver.List": {}})
    async_registry.add("shelf", {"VolumeDriver.List": {}})
    assert fake_loop.run(async_registry.get("shelf", "VolumeDriver")).name == "shelf"

class Shelf(AsyncVolumeDriver):
    async def list(self):
        return []

def test_in_a_loop_of_its_own(async_live_plugin):
    assert async_live_plugin(Shelf(), "books").addr.endswith("/books.sock")
"""

# What a test of each framework does, and how long it takes on the loop: 3 s, then 15 s.
TASKS = """
import asyncio, pytest
from moby_plugins import PluginNotFoundError
from moby_plugins.aio import new_client

async def waits(registry, loop, make):
    loop.at(3, lambda: registry.add("shelf", {"VolumeDriver.List": {}}))
    plugin = await registry.get("shelf", "VolumeDriver")
    assert (plugin.name, loop.time()) == ("shelf", 3)
    assert await plugin.client.call("VolumeDriver.List", {}) == {}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await registry.get("db")
    assert loop.time() == 8
    plugin = make.strict({"Shelf.List": ["books"]})
    async with new_client("unix:///a.sock", connect=plugin.connect) as client:
        assert await client.call("Shelf.List") == ["books"]
    assert await asyncio.to_thread(str, 1) == "1"
"""
PLAIN = """
def test_tasks(fake_loop, async_registry, async_memory_transport):
    fake_loop.run(waits(async_registry, fake_loop, async_memory_transport))

def test_one_line(fake_loop, async_registry):
    pytest.raises(PluginNotFoundError, fake_loop.run, async_registry.get("db")).match("in 15 s")

def test_a_second(fake_loop, async_registry):
    assert fake_loop.time() == 0 and fake_loop.run(async_registry.scan()) == []
"""
PYTEST_ASYNCIO = """
@pytest.mark.asyncio
async def test_tasks(async_registry, async_memory_transport):
    await waits(async_registry, asyncio.get_running_loop(), async_memory_transport)

@pytest.mark.asyncio
async def test_the_fixture_is_the_loop_of_the_test(fake_loop, async_registry):
    assert fake_loop is asyncio.get_running_loop()
    with pytest.raises(PluginNotFoundError, match="in 15 s"):
        await async_registry.get("db")
    assert fake_loop.time() == 15
"""
ASYNCIO_CONFTEST = """
from moby_plugins.testing import FakeTimeLoop

def pytest_asyncio_loop_factories(config, item):
    return {"fake": FakeTimeLoop}
"""
ANYIO = """
@pytest.fixture
def anyio_backend(fake_loop):
    return "asyncio", {"loop_factory": lambda: fake_loop}

@pytest.mark.anyio
async def test_tasks(fake_loop, async_registry, async_memory_transport):
    assert fake_loop is asyncio.get_running_loop()
    await waits(async_registry, fake_loop, async_memory_transport)

@pytest.mark.anyio
async def test_one_line(async_registry):
    with pytest.raises(PluginNotFoundError, match="in 15 s"):
        await async_registry.get("db")
    assert asyncio.get_running_loop().time() == 15
"""
ANYIO_CLASS = """
from moby_plugins.testing import FakeTimeLoop

@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": FakeTimeLoop}

@pytest.mark.anyio
async def test_tasks(async_registry, async_memory_transport):
    await waits(async_registry, asyncio.get_running_loop(), async_memory_transport)
"""
LIVE = """
import asyncio, pytest
from moby_plugins.aio import AsyncVolumeDriver, new_local_registry
from moby_plugins.subsystems import Volume

class Shelf(AsyncVolumeDriver):
    async def list(self):
        await asyncio.sleep(0.001)
        return [Volume("books")]

async def asks(make, directory):
    live = make(Shelf(), "shelf")
    assert await AsyncVolumeDriver(live.client).list() == (Volume("books"),)
    async with new_local_registry(directory.settings) as registry:
        assert (await registry.get("shelf", "VolumeDriver")).name == "shelf"
    live.stop()
    live.stop()
    assert list(directory.sockets.iterdir()) == []
    make(Shelf(), "another")  # stopped by the fixture

@pytest.fixture
def anyio_backend():
    return "asyncio"

def test_plain(async_live_plugin, plugin_dir):
    asyncio.run(asks(async_live_plugin, plugin_dir))

@pytest.mark.MARK
async def test_task(async_live_plugin, plugin_dir):
    await asks(async_live_plugin, plugin_dir)
"""
NOT_USED_UP = """
from moby_plugins.testing import script

def test_that_leaves_something(memory_transport):
    memory_transport.strict({"VolumeDriver.Mount": script(1)})
"""

LOADED = """
import sys, pytest
pytest.main(["-q", *sys.argv[1:]])
print("loaded", *sorted(sys.modules))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with one test that knows nothing of plugins."""
    (tmp_path / "test_plain.py").write_text("def test_plain(tmp_path):\n    assert 1 + 1 == 2\n")
    return tmp_path


def test_the_pytest_plugin_loads_few_modules_until_a_fixture_is_used(project: Path) -> None:
    """Without its fixtures a run loads packages' ``__init__`` and the fixtures' definitions."""
    (project / "run.py").write_text(LOADED)

    plain = run_python(project, "run.py", "-p", "no:moby_plugins").split("loaded ")[1]
    loaded = run_python(project, "run.py").split("loaded ")[1]

    assert set(loaded.split()) - set(plain.split()) == {
        "moby_plugins",
        "moby_plugins.deferred_names",
        "moby_plugins.domain",
        "moby_plugins.testing",
        "moby_plugins.testing.pytest_plugin",
    }


def test_the_pytest_plugin_changes_neither_collected_tests_nor_options(project: Path) -> None:
    """``--collect-only`` and ``--help`` print the same lines with and without the plugin."""
    for arguments in (("--collect-only", "-q"), ("--help",)):
        with_plugin = run_pytest(project, *arguments)
        without = run_pytest(project, *arguments, "-p", "no:moby_plugins")

        assert untimed(with_plugin) == untimed(without)
        assert len(with_plugin) > 50


def untimed(output: str) -> list[str]:
    """Lines, but for the one that says how long it took and those that name plugins."""
    return [line for line in output.splitlines() if " in " not in line and "plugins:" not in line]


def test_every_fixture_is_listed_with_a_line_that_says_what_it_is(project: Path) -> None:
    """``pytest --fixtures`` prints a sentence for each fixture."""
    lines = run_pytest(project, "--fixtures", "-q").splitlines()

    for name in NAMES:
        (place,) = [i for i, line in enumerate(lines) if line.startswith(f"{name} -- ")]
        assert lines[place + 1].strip().endswith((".", "``."))


def test_all_fixtures_work_where_nothing_is_configured(project: Path) -> None:
    """With the library installed, neither a conftest nor settings are needed."""
    (project / "test_all.py").write_text(USING_ALL)

    assert "5 passed" in run_pytest(project, "-q")


@pytest.mark.parametrize(
    ("tests", "conftest", "passed", "beside"),
    [
        (PLAIN, "", 3, ()),
        (PLAIN, "", 3, ("asyncio", "anyio")),
        (PYTEST_ASYNCIO, ASYNCIO_CONFTEST, 2, ("asyncio",)),
        (ANYIO, "", 2, ("anyio",)),
        (ANYIO_CLASS, "", 1, ("anyio",)),
    ],
    ids=["plain", "plain beside others", "pytest-asyncio", "anyio", "anyio with a class"],
)
def test_asynchronous_tests_have_fake_time_in_every_framework(
    project: Path, tests: str, conftest: str, passed: int, beside: tuple[str, ...]
) -> None:
    """``fake_loop`` runs a coroutine in a plain test, and is the loop of an asynchronous one."""
    (project / "test_tasks.py").write_text(TASKS + tests)
    (project / "conftest.py").write_text(conftest)
    if "asyncio" in beside:
        scope = "asyncio_default_fixture_loop_scope = function"
        (project / "pytest.ini").write_text(f"[pytest]\n{scope}\n")

    output = run_pytest(project, "-q", "test_tasks.py", beside=beside)

    assert f"{passed} passed" in output, output


def test_an_unused_reply_of_a_strict_asynchronous_transport_fails_the_test(project: Path) -> None:
    """The error at the end of the test names the reply."""
    (project / "test_left.py").write_text(
        NOT_USED_UP.replace("memory_transport", "async_memory_transport")
    )

    output = run_pytest(project, "-q", "test_left.py")

    assert "1 passed, 1 error" in output
    assert "VolumeDriver.Mount, step 1 of 1: 1" in output


def test_tests_may_run_in_parallel_processes(project: Path) -> None:
    """Each test has directories and sockets of its own."""
    for number in range(3):
        (project / f"test_all{number}.py").write_text(USING_ALL)

    assert "13 passed" in run_pytest(project, "-q", "-n", "2")


def test_an_unused_reply_of_a_strict_transport_fails_the_test(project: Path) -> None:
    """The error names the reply, and shows no line of the library."""
    (project / "test_left.py").write_text(NOT_USED_UP)

    output = run_pytest(project, "-q", "test_left.py")

    assert "1 passed, 1 error" in output
    assert "VolumeDriver.Mount, step 1 of 1: 1" in output
    assert "memory_registry.py" not in output


def test_a_failed_assertion_about_calls_shows_the_line_of_the_test(project: Path) -> None:
    """The library's own lines are hidden, and its report of the calls is shown."""
    (project / "test_asked.py").write_text(
        "def test_asked(memory_transport):\n"
        "    memory_transport({}).calls.assert_called('M.x', {'a': 1})\n"
    )

    output = run_pytest(project, "-q", "test_asked.py")

    assert re.search(r"^> +memory_transport\(", output, re.MULTILINE)
    assert 'M.x {"a": 1}: was not called' in output
    assert "calls.py" not in output


def test_coverage_counts_every_line_of_the_pytest_plugin(project: Path) -> None:
    """The plugin is not loaded before ``coverage run -m pytest`` begins to count."""
    (project / "test_all.py").write_text(USING_ALL)
    (project / ".coveragerc").write_text(
        "[run]\ninclude = */testing/pytest_plugin.py, */deferred_names.py\n"
        "[report]\nexclude_also = if TYPE_CHECKING:\n"
    )

    assert "5 passed" in run_python(project, "-m", "coverage", "run", "-m", "pytest", "-q")
    report = run_python(project, "-m", "coverage", "report").splitlines()

    assert [line.split()[-1] for line in report if "pytest_plugin" in line] == ["100%"]


@pytest.mark.parametrize("framework", ["asyncio", "anyio"])
def test_async_live_plugin_works_in_every_framework(project: Path, framework: str) -> None:
    """The plugin has a loop of its own, and its client is used in the loop of the test."""
    (project / "test_live.py").write_text(LIVE.replace("MARK", framework))
    if framework == "asyncio":
        scope = "asyncio_default_fixture_loop_scope = function"
        (project / "pytest.ini").write_text(f"[pytest]\n{scope}\n")

    output = run_pytest(project, "-q", "test_live.py", beside=(framework,))

    assert "2 passed" in output, output
