"""Arguments of a wrong type, where no type checker looks: the error names the argument."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moby_plugins import (
    Client,
    FirstOf,
    InvalidPluginNameError,
    Plugin,
    Registry,
    Settings,
    SettingsError,
    StaticDiscovery,
    TLSOptions,
    connect_by_requests,
    connect_by_scheme,
    new_client,
    new_local_discovery,
    new_local_registry,
    using_registry,
)
from moby_plugins.diagnosis import diagnose
from moby_plugins.ports import Address
from moby_plugins.serving import (
    PluginApp,
    ServerTLS,
    plugin_server_tcp,
    plugin_server_unix,
    wsgi,
)
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    FaultServer,
    MemoryDiscovery,
    MemoryRegistry,
    MemoryTransport,
    MemoryTransports,
)
from moby_plugins.testing.strategies import method_calls
from tests.cases import every

ADDRESS = Address("tcp://h:1")
# What is given is what a type checker would refuse.
WRONG: Any = {"ca_file": "/ca.pem", "passphrase": "secret"}
FIVE: Any = 5
WHERE: Any = Path("x")
EMPTY: Any = {}
NOTHING: Any = None
A_LIST: Any = ["x"]
A_CLASS: Any = VolumeDriver


def registry(**given: Any) -> Registry:
    """A registry of what is given in place of something right."""
    right: dict[str, Any] = {
        "discovery": MemoryDiscovery(),
        "connect": MemoryTransport({}).connect,
        "clock": FakeClock(),
    }
    return Registry(**(right | given))


CASES: dict[str, tuple[Callable[[], object], str]] = {
    "tls of a client": (
        lambda: new_client("https://h", WRONG, settings=Settings()),
        "tls_config takes TLSOptions, not a dict",
    ),
    "tls of a plugin": (
        lambda: Plugin("a", "https://h", WRONG),
        "tls_config takes TLSOptions, not a dict",
    ),
    "address of a client": (
        lambda: new_client(FIVE, settings=Settings()),
        "an address must be a string, not 5",
    ),
    "address of a plugin": (lambda: Plugin("a", NOTHING), "an address must be a string, not None"),
    "settings of a client": (
        lambda: new_client("tcp://h:1", settings=WRONG),
        "settings takes Settings, not a dict",
    ),
    "settings of a registry": (
        lambda: new_local_registry(WRONG),
        "settings takes Settings, not a dict",
    ),
    "settings of a discovery": (
        lambda: new_local_discovery(WRONG),
        "settings takes Settings, not a dict",
    ),
    "settings of a transport": (
        lambda: connect_by_scheme(WRONG),
        "settings takes Settings, not a dict",
    ),
    "settings of a diagnosis": (lambda: diagnose(WRONG), "settings takes Settings, not a dict"),
    "discovery of the machine": (
        lambda: new_local_registry(Settings(), discovery=FIVE),
        "discovery must be an object with scan(), lookup(), not 5",
    ),
    "discovery": (
        lambda: registry(discovery=5),
        "discovery must be an object with scan(), lookup(), not 5",
    ),
    "a class of discoveries": (
        lambda: registry(discovery=StaticDiscovery),
        "discovery must be an object with scan(), lookup(), not <class",
    ),
    "connect": (
        lambda: registry(connect=None),
        "connect must be a function of an address, not None",
    ),
    "clock": (
        lambda: registry(clock=5),
        "clock must be an object with now(), sleep(), wait(), working(), not 5",
    ),
    "clock of a client": (
        lambda: new_client("tcp://h:1", settings=Settings(), clock=FIVE),
        "clock must be an object with now(), sleep(), wait(), working(), not 5",
    ),
    "transport": (
        lambda: Client(FIVE, ADDRESS, clock=FakeClock()),
        "transport must be an object with send(), close(), not 5",
    ),
    "address": (
        lambda: Client(MemoryTransport({}), FIVE, clock=FakeClock()),
        "address must be an Address, not 5",
    ),
    "a discovery that is false": (
        lambda: new_local_registry(Settings(), discovery=EMPTY),
        "discovery must be an object with scan(), lookup(), not {}",
    ),
    "a clock that is false": (
        lambda: new_local_registry(Settings(), clock=EMPTY),
        "clock must be an object with now(), sleep(), wait(), working(), not {}",
    ),
    "a client's clock that is false": (
        lambda: new_client("tcp://h:1", settings=Settings(), clock=EMPTY),
        "clock must be an object with now(), sleep(), wait(), working(), not {}",
    ),
    "clock of a transport": (
        lambda: MemoryTransport({}, clock=FIVE),
        "clock must be an object with now(), sleep(), wait(), working(), not 5",
    ),
    "clock of a server": (
        lambda: FaultServer.tcp({}, clock=FIVE),
        "clock must be an object with now(), sleep(), wait(), working(), not 5",
    ),
    "the first of two": (
        lambda: FirstOf(FIVE, MemoryDiscovery()),
        "first must be an object with scan(), lookup(), not 5",
    ),
    "policy of a registry": (lambda: registry(retry=5), "retry must be a RetryPolicy, not 5"),
    "policy of fakes": (
        lambda: MemoryRegistry(retry=FIVE),
        "retry must be a RetryPolicy, not 5",
    ),
    "policy of a client": (
        lambda: Client(MemoryTransport({}), ADDRESS, clock=FakeClock(), retry=EMPTY),
        "retry must be a RetryPolicy, not {}",
    ),
    "policy of a call": (
        lambda: Client(MemoryTransport({}), ADDRESS, clock=FakeClock()).call("A.B", retry=EMPTY),
        "retry must be a RetryPolicy, not {}",
    ),
    "policy of a wait": (
        lambda: registry().get("z", retry=EMPTY),
        "retry must be a RetryPolicy, not {}",
    ),
    "who is told of retries": (
        lambda: registry().get("z", on_retry=FIVE),
        "on_retry must be a function, not 5",
    ),
    "who is told of failures": (
        lambda: registry().get_all(on_failure=FIVE),
        "on_failure must be a function, not 5",
    ),
    "selector": (lambda: registry(selector=5), "selector must be a function, not 5"),
    "bytes of a registry": (
        lambda: registry(max_response_bytes="5"),
        "max_response_bytes must be a positive whole number, not '5'",
    ),
    "bytes of a client": (
        lambda: Client(MemoryTransport({}), ADDRESS, clock=FakeClock(), max_response_bytes=NOTHING),
        "max_response_bytes must be a positive whole number, not None",
    ),
    "bytes of a request": (
        lambda: plugin_server_unix(PluginApp(), "a", max_request_bytes=NOTHING),
        "max_request_bytes must be a positive whole number, not None",
    ),
    "bytes of all requests": (
        lambda: plugin_server_tcp(PluginApp(), "a", max_inflight_bytes=A_LIST),
        "max_inflight_bytes must be a positive whole number, not ['x']",
    ),
    "bytes of an application": (
        lambda: PluginApp(max_request_bytes=A_LIST),
        "max_request_bytes must be a positive whole number, not ['x']",
    ),
    "bytes of a WSGI application": (
        lambda: wsgi(PluginApp(), max_request_bytes=A_LIST),
        "max_request_bytes must be a positive whole number, not ['x']",
    ),
    "where a server listens": (
        lambda: plugin_server_tcp(PluginApp(), "a", FIVE),
        "addr must be a string, not 5",
    ),
    "a path where a server listens": (
        lambda: plugin_server_tcp(PluginApp(), "a", WHERE),
        "addr must be a string, not PosixPath('x')",
    ),
    "where a server has its socket": (
        lambda: plugin_server_unix(PluginApp(), "a", sockets_path=FIVE),
        "sockets_path must be a string, not 5",
    ),
    "where a server has its spec": (
        lambda: plugin_server_tcp(PluginApp(), "a", specs_path=FIVE),
        "specs_path must be a string, not 5",
    ),
    "a method": (
        lambda: Client(MemoryTransport({}), ADDRESS, clock=FakeClock()).call(FIVE),
        "a method must be a string, not 5",
    ),
    "interface": (
        lambda: registry().handle(A_CLASS, print),
        "interface must be a subsystem's name, not <class",
    ),
    "handler": (
        lambda: registry().handle("VolumeDriver", FIVE),
        "handler must be a function of a name and a client, not 5",
    ),
    "a default registry": (
        lambda: using_registry(FIVE).__enter__(),
        "registry must be a Registry, not 5",
    ),
    "a host's certificates": (
        lambda: TLSOptions(ca_file=FIVE),
        "ca_file must be a str, not a int",
    ),
    "a plugin's certificate": (
        lambda: ServerTLS(FIVE, "/key.pem"),
        "cert_file must be a str, not a int",
    ),
    "a plugin's passphrase": (
        lambda: ServerTLS("/cert.pem", "/key.pem", passphrase=WRONG),
        "passphrase must be a str, not a dict",
    ),
    "tls of a server": (
        lambda: plugin_server_tcp(PluginApp(), "z", "127.0.0.1:0", tls=WRONG),
        "tls takes ServerTLS, not a dict",
    ),
    "what is served": (
        lambda: plugin_server_unix(FIVE, "z"),
        "app must be a PluginApp or a function, not 5",
    ),
    "a client of a proxy": (lambda: VolumeDriver(FIVE), "client must be a Client, not 5"),
    "a session": (lambda: connect_by_requests(FIVE), "session must be a requests.Session, not 5"),
    "a plugin in memory": (
        lambda: MemoryTransport(A_LIST),
        (
            "plugin must be a subsystem's implementation, a function of a Request, a table from "
            'method to reply, a script or a fault, not ["x"]'
        ),
    ),
    "no plugin in memory": (
        lambda: MemoryRegistry().add("z", NOTHING),
        "plugin must be a subsystem's implementation, ",
    ),
    "a class in memory": (
        lambda: MemoryRegistry().add("z", A_CLASS),
        "plugin is the class VolumeDriver, not an instance",
    ),
    "a plugin of transports": (
        lambda: MemoryTransports(FakeClock())(FIVE),
        "plugin must be a subsystem's implementation, ",
    ),
    "a plugin of a server": (
        lambda: FaultServer.tcp(FIVE),
        "plugin must be a subsystem's implementation, ",
    ),
    "a plugin to be found": (
        lambda: MemoryDiscovery().add(FIVE),
        "plugin must be a name or a Plugin, not 5",
    ),
    "an address to be found": (
        lambda: MemoryDiscovery().add("z", NOTHING),
        "addr must be an address, not None",
    ),
    "a part": (lambda: PluginApp(NOTHING), "None is not an implementation of a subsystem"),
    "a subsystem": (
        lambda: method_calls(FIVE, "create"),
        "kind must be a subsystem's class, not 5",
    ),
}


@every(("make", "message"), CASES.values(), ids=CASES)
def test_the_error_for_an_argument_of_a_wrong_type_names_the_argument(
    make: Callable[[], object], message: str
) -> None:
    """The TypeError says what is expected and what was given, without secrets."""
    with pytest.raises(TypeError) as caught:
        make()

    assert str(caught.value).startswith(message)
    assert "secret" not in str(caught.value)


def test_the_error_for_a_strategy_of_an_unknown_method_lists_the_known_methods() -> None:
    """Methods are named as in Python, ``create``, not as on the wire, ``Create``."""
    with pytest.raises(ValueError, match=r"^method: VolumeDriver has no 'Create'; it has create, "):
        method_calls(VolumeDriver, "Create")


def test_a_settings_file_with_a_number_as_a_plugins_address_is_an_error(tmp_path: Path) -> None:
    """The error names the file, the table and the plugin."""
    file = tmp_path / "settings.toml"
    file.write_text("[plugins]\nshelf = 5\n")

    with pytest.raises(SettingsError) as caught:
        Settings.load(file)

    assert (
        str(caught.value) == f"{file}: plugins: 'shelf': an address or a Plugin is expected, not 5"
    )


def test_a_plugin_name_that_is_not_hashable_is_refused() -> None:
    """A list as a name raises an InvalidPluginNameError, as any other invalid name does."""
    with pytest.raises(InvalidPluginNameError, match="is not a plugin name"):
        registry().get(A_LIST)


def test_the_repr_of_a_server_says_that_it_is_not_started() -> None:
    """A server has no address that could be shown before it is started."""
    server = plugin_server_unix(PluginApp(), "shelf")

    assert repr(server).startswith("<PluginServer of ")
    assert repr(server).endswith(": not started>")
