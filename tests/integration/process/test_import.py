"""Which modules an import or a command loads, seen in an interpreter of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from moby_plugins.serving import PluginApp, plugin_server_unix
from tests.integration.serving.plugins import Volumes

# The libraries behind the adapters and the wire, and the heavy parts of the standard library.
HEAVY = {"urllib3", "cattrs", "ssl", "requests", "http.client", "asyncio"}
LOADED = "import sys; print(*sys.modules, sep='\\n')"


def modules_after(statement: str, **environ: str) -> set[str]:
    """The modules that are loaded once a fresh interpreter has run ``statement``.

    Coverage is not measured there: it loads modules of its own.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{LOADED}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env=environ | {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")},
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import moby_plugins",
        "import moby_plugins; moby_plugins.new_local_registry().close()",
        "import moby_plugins; moby_plugins.Plugin.local('a', 'unix:///a.sock')",
        "import moby_plugins.testing; moby_plugins.testing.FakeClock()",
    ],
)
def test_heavy_modules_are_loaded_when_first_needed(statement: str) -> None:
    """Importing the library, and making values and registries, loads no HTTP, TLS or cattrs."""
    assert modules_after(statement) & HEAVY == set()


# Names of ``moby_plugins.testing`` that are for tasks.
FOR_TASKS = {
    "AsyncLivePlugin", "AsyncLivePlugins", "AsyncMemoryRegistry", "AsyncMemoryTransport",
    "AsyncMemoryTransports", "FakeTimeLoop",
    "LoopStuckError",
}  # fmt: skip
ALL_NAMES = """
import moby_plugins.aio, {door} as door
for name in set(door.__all__) - {but}:
    getattr(door, name)
"""


@pytest.mark.parametrize(
    "door",
    [
        "moby_plugins",
        "moby_plugins.ports",
        "moby_plugins.subsystems",
        "moby_plugins.serving",
        "moby_plugins.tracing",
        "moby_plugins.diagnosis",
        "moby_plugins.testing",
    ],
)
def test_public_names_load_asyncio_only_if_they_are_for_asyncio(door: str) -> None:
    """Importing ``moby_plugins.aio`` does not load asyncio until one of its names is used."""
    loaded = modules_after(ALL_NAMES.format(door=door, but=FOR_TASKS))

    assert "asyncio" not in loaded
    assert "moby_plugins.app.aio.client" not in loaded


# What commands have no use for: each would cost them more than the command itself does.
NEEDLESS = {
    "cattrs", "typing_extensions", "urllib3", "requests", "rich", "asyncio", "cheroot", "tomllib",
    "pathlib", "difflib", "dataclasses", "importlib.metadata",
    "moby_plugins.app.subsystem", "moby_plugins.app.parts",
    "moby_plugins.testing", "moby_plugins.checks", "moby_plugins.subsystems", "http.client",
    "email", "ssl", "_ssl", "http", "ipaddress", "urllib", "subprocess", "tempfile", "shutil",
    "concurrent", "decimal", "fractions", "random", "moby_plugins.adapters.http.tls",
    "moby_plugins.adapters.observing", "moby_plugins.adapters.engine", "moby_plugins.app.aio",
    "moby_plugins.app.observed", "moby_plugins.app.observed_client",
    "moby_plugins.cli.progress", "moby_plugins.domain.async_http",
    "moby_plugins.domain.observing",
}  # fmt: skip
RUN = """
import sys
from moby_plugins.cli import main
sys.argv[1:] = [{!r}]
try:
    main()
except SystemExit:
    pass
"""


# Values of ``attrs`` take half a millisecond to define: each compiles its methods.
MOST_MODULES, MOST_VALUES = 57, 25
COUNT_VALUES = """
import attr._next_gen
made = []
attrs = attr._next_gen.attrs
def counted(maybe_cls=None, **options):
    made.append(maybe_cls)
    return attrs(maybe_cls, **options)
attr._next_gen.attrs = counted
"""


def test_the_command_ls_loads_only_what_it_needs(short_path: Path) -> None:
    """``ls`` loads the HTTP library that makes its calls, and no module of other commands."""
    with plugin_server_unix(PluginApp(Volumes()), "one", sockets_path=str(short_path)):
        loaded = modules_after(RUN.format("ls"), MOBY_PLUGINS_SOCKETS_PATH=str(short_path))

    assert "moby_plugins.adapters.http.httptools" in loaded
    assert loaded & NEEDLESS == set()
    assert len([name for name in loaded if name.startswith("moby_plugins")]) <= MOST_MODULES


def test_the_command_ls_defines_few_classes_with_attrs(short_path: Path) -> None:
    """No class with attrs is defined for other commands, or for records that need no attrs."""
    program = COUNT_VALUES + RUN.format("ls") + "print('values:', len([*filter(None, made)]))"
    with plugin_server_unix(PluginApp(Volumes()), "one", sockets_path=str(short_path)):
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
            env={"MOBY_PLUGINS_SOCKETS_PATH": str(short_path)},
        )

    count = int(done.stdout.rpartition("values:")[2])
    assert 10 < count <= MOST_VALUES


def test_the_option_version_loads_neither_click_nor_attrs() -> None:
    """The option also loads no part of the library that finds or calls plugins."""
    loaded = modules_after(RUN.format("--version"))

    needless = NEEDLESS | HEAVY | {"click", "attrs", "logging", "moby_plugins.app"}
    assert "moby_plugins.cli.streams" in loaded
    assert loaded & needless == set()


def test_a_client_loads_ssl_only_for_an_https_address() -> None:
    """This also proves that the checks above would notice a module that is loaded."""
    statement = "import moby_plugins; moby_plugins.new_client({!r}).close()"
    plain = modules_after(statement.format("unix:///none.sock"))
    encrypted = modules_after(statement.format("https://none:1"))

    assert "moby_plugins.adapters.http.httptools" in plain
    assert "ssl" not in plain
    assert {"moby_plugins.adapters.http.tls", "ssl"} <= encrypted


def test_a_call_raises_its_own_error_while_another_thread_imports_ssl() -> None:
    """A half-imported ``ssl`` that lacks names does not replace the error of the call."""
    program = """
import sys, types
from moby_plugins import RetryPolicy, Settings, TransportError, new_client
settings = Settings(transports={"unix": "httptools"}, retry=RetryPolicy.never())
with new_client("unix:///none.sock", settings=settings) as client:
    assert "ssl" not in sys.modules
    sys.modules["ssl"] = types.ModuleType("ssl")
    try:
        client.call("M.x")
    except TransportError as error:
        print(error.reason)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30
    )

    assert (done.stdout, done.stderr) == ("no socket there; is the plugin running?\n", "")


@pytest.mark.parametrize(
    ("room", "library"), [("contracts", "pytest"), ("strategies", "hypothesis")]
)
def test_a_testing_module_whose_library_is_missing_says_what_to_install(
    room: str, library: str
) -> None:
    """The contract suites need pytest, the strategies hypothesis; no other module needs more."""
    program = f"import sys; sys.modules[{library!r}] = None; import moby_plugins.testing.{room}"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ModuleNotFoundError: moby_plugins.testing.{room} needs {library}: "
        "pip install 'moby-plugins[testing]'"
    )


def test_connect_by_requests_says_what_to_install_if_requests_is_missing() -> None:
    """All names of ``moby_plugins`` can be imported without requests."""
    program = """
import sys
sys.modules["requests"] = None
from moby_plugins import *
connect_by_requests(None)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 1
    assert "connect_by_requests needs requests: pip install 'moby-plugins[requests]'" in done.stderr


@pytest.mark.parametrize(
    ("made", "library", "extra"),
    [
        ("OpenTelemetryObserver()", "opentelemetry", "otel"),
        ("PrometheusObserver(None)", "prometheus_client", "prometheus"),
        ("Settings(observers=['prometheus'])", "prometheus_client", "prometheus"),
        ("Settings(observers=['opentelemetry'])", "opentelemetry", "otel"),
        ("serving.MetricsServer('0')", "prometheus_client", "prometheus"),
    ],
)
def test_an_observer_whose_library_is_missing_says_what_to_install(
    made: str, library: str, extra: str
) -> None:
    """All public names can be imported without the library; making the observer is the error."""
    program = f"""
import sys
sys.modules[{library!r}] = None
from moby_plugins import *
from moby_plugins.serving import *
from moby_plugins import serving
made = {made}
new_client("unix:///a", settings=made)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30
    )

    told = done.stderr.splitlines()[-1]
    assert told.startswith("moby_plugins.SettingsError: ")
    assert f"needs {library}: pip install 'moby-plugins[{extra}]'" in told


@pytest.mark.parametrize("setup", ["", "logging.basicConfig()"])
def test_a_program_that_sets_up_no_logging_gets_no_output_of_the_library(setup: str) -> None:
    """The library prints nothing to standard error unless the program sets up logging."""
    program = f"""
import logging
{setup}
from moby_plugins import LoggingObserver, RetryPolicy, Settings, StatusError, new_client
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import FakeClock, MemoryTransport, refused, script

class Shelf(VolumeDriver):
    def list(self):
        raise ZeroDivisionError

for plugin in (PluginApp(Shelf()), {{"VolumeDriver.List": script(refused(), {{}})}}):
    clock = FakeClock()
    transport = MemoryTransport(plugin, clock=clock)
    settings = Settings(transports={{"unix": transport.connect}}, observers=["logging"])
    with new_client("unix:///a", settings=settings, clock=clock) as client:
        try:
            client.call("VolumeDriver.List", {{}})
        except StatusError:
            pass
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30
    )

    assert done.stdout == ""
    assert ("ZeroDivisionError" in done.stderr) == bool(setup)
    assert ("trying again in 1 s" in done.stderr) == bool(setup)
    assert bool(done.stderr) == bool(setup)


@pytest.mark.parametrize("broken", ["= None", ".X", "another"])
def test_without_httptools_the_transport_is_urllib3(broken: str, tmp_path: Path) -> None:
    """If httptools cannot be imported, the transport ``"auto"`` is urllib3, and logs the reason."""
    source = "raise OSError('a library of another machine')\n"
    if broken == "another":  # of that name, without the parser
        source = "__version__ = '9.0'\n"
    (tmp_path / "httptools.py").write_text(source)
    program = f"""
import logging, sys
if {broken!r} == "= None":
    sys.modules["httptools"] = None
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
from moby_plugins import Settings, new_client
print(new_client("unix:///a", settings=Settings()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": str(tmp_path)},
    )

    log, said = done.stdout.splitlines()
    assert log.startswith(
        "DEBUG:moby_plugins:the transport 'auto' is urllib3: httptools cannot be imported: "
    )
    assert said == "<Client of unix:///a over urllib3>"


def test_the_fakes_need_no_test_library() -> None:
    """All of ``moby_plugins.testing`` works without pytest and hypothesis, and loads neither."""
    everything = "from moby_plugins.testing import *; FaultServer, MemoryTransport"

    assert modules_after(everything) & {"pytest", "_pytest", "hypothesis"} == set()


def test_importing_the_library_reads_no_settings() -> None:
    """The environment is read when first needed, so a mistake there does not break the import."""
    done = subprocess.run(
        [sys.executable, "-c", "import moby_plugins"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={"MOBY_PLUGINS_NONSENSE": "1"},
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_transport_whose_library_is_missing_says_what_to_install() -> None:
    """Choosing ``httptools`` without the extra is an error that names the extra."""
    program = """
import sys
sys.modules["httptools"] = None
from moby_plugins import Settings, new_client
new_client("unix:///a", settings=Settings(transports={"unix": "httptools"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30
    )

    told = "the transport 'httptools' needs httptools: pip install 'moby-plugins[speed]'"
    assert done.returncode == 1
    assert told in done.stderr


@pytest.mark.parametrize("optimized", [(), ("-O",)])
@pytest.mark.parametrize(
    "seam",
    [
        "HTTPResponse._read_status",
        "HTTPResponse._read_next_chunk_size",
        "HTTPResponse._read_and_discard_trailer",
        "HTTPResponse._safe_read",
        "HTTPConnection._output",
    ],
)
def test_a_python_whose_http_client_lacks_an_overridden_method_is_refused(
    seam: str, optimized: tuple[str, ...]
) -> None:
    """The methods that the strict reader overrides are checked at import, also under ``-O``."""
    program = (
        "import http.client, urllib3.connection\n"
        f"del http.client.{seam}\n"
        "import moby_plugins.adapters.http.urllib3\n"
    )
    done = subprocess.run(
        [sys.executable, *optimized, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.stderr.splitlines()[-1].startswith("ImportError: ")
    assert seam in done.stderr
