"""The composition root: which transport a client uses, and what is logged about it."""

import logging
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.app.config import connect_by_scheme, new_client
from moby_plugins.app.settings import Settings
from moby_plugins.domain.address import CREDENTIALS, Address, TLSOptions
from moby_plugins.domain.errors import SettingsError, SpecError
from moby_plugins.ports import Transport
from tests.cases import every
from tests.transports import (
    RecordingConnect,
    install_async_transport,
    install_observer,
    install_transport,
)

PLAIN_TEXT = "TLS options are given, but only https:// is encrypted: this is plain text"
UNVERIFIED = "TLS without verification of the plugin"


@pytest.fixture
def recorder() -> RecordingConnect:
    """A transport in memory that notes who connects."""
    return RecordingConnect()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that packages can be installed into."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@every("addr", ["unix:///run/x.sock", "tcp://h:1", "http://h", "https://h", "UNIX:///run/x.sock"])
def test_the_default_transport_of_each_built_in_scheme_is_httptools(addr: str) -> None:
    """The setting ``auto`` chooses httptools here; making a transport opens no connection."""
    transport = connect_by_scheme(Settings())(Address(addr), None)
    transport.close()

    assert repr(transport) == "httptools"


def test_a_callable_in_the_settings_makes_the_transports_of_its_scheme(
    recorder: RecordingConnect,
) -> None:
    """The callable gets the address and the TLS options unchanged."""
    tls = TLSOptions(ca_file="/ca.pem")
    connect = connect_by_scheme(Settings(transports={"https": recorder}))

    transport = connect(Address("HTTPS://h:1"), tls)

    assert transport is recorder.transport
    assert recorder.asked == [("HTTPS://h:1", tls)]


def test_an_installed_package_makes_the_transports_of_the_scheme_that_names_it(site: Path) -> None:
    """Settings name a transport of another package by its entry point."""
    install_transport(
        site, "echo", "def connect(address, tls, /):\n    return ('made for', address.text, tls)\n"
    )
    connect = connect_by_scheme(Settings(transports={"ssh": "echo"}))

    made = connect(Address("ssh://h/x"), None)

    assert made == ("made for", "ssh://h/x", None)  # type: ignore[comparison-overlap]  # it says what it likes


def test_a_package_that_cannot_be_loaded_is_an_error_in_the_settings(site: Path) -> None:
    """The SettingsError names the transport, and has the ImportError as its cause."""
    install_transport(site, "echo", "raise ImportError('no such library')\n")
    connect = connect_by_scheme(Settings(transports={"ssh": "echo"}))

    with pytest.raises(SettingsError, match="the transport 'echo' cannot be loaded") as caught:
        connect(Address("ssh://h"), None)

    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize("source", ["raise SystemExit(3)", "def make():\n    raise SystemExit(3)"])
def test_a_package_that_raises_system_exit_is_an_error_in_the_settings(
    site: Path, source: str
) -> None:
    """The program does not end, be it at the import or when the observer is made."""
    name = "exits" if "def" in source else "ends"
    install_observer(site, name, source)

    with pytest.raises(SettingsError, match=f"the observer '{name}' cannot be") as caught:
        new_client("unix:///s.sock", settings=Settings(observers=[name]))

    assert isinstance(caught.value.__cause__, SystemExit)


def test_a_package_cannot_replace_a_built_in_transport(site: Path) -> None:
    """A package whose transport has the name of a built-in one is not loaded."""
    install_transport(site, "urllib3", "raise RuntimeError('nobody asked for this')\n")

    connect_by_scheme(Settings())(Address("tcp://h:1"), None).close()


def test_the_error_for_an_unknown_transport_lists_those_for_threads_and_for_asyncio(
    site: Path,
) -> None:
    """The same settings are for synchronous and for asynchronous clients."""
    install_transport(site, "echo", "")
    install_async_transport(site, "later", "")

    with pytest.raises(SettingsError, match=r"there are: auto, echo, httptools, later, urllib3$"):
        Settings(transports={"unix": "nosuch"})


def test_the_error_for_an_address_of_an_unknown_scheme_lists_the_known_schemes(
    recorder: RecordingConnect,
) -> None:
    """A transport can be made only for the schemes that are built in or set."""
    connect = connect_by_scheme(Settings(transports={"memory": recorder}))

    with pytest.raises(SpecError) as caught:
        connect(Address("npipe:////./pipe/x"), None)

    assert str(caught.value) == (
        "no transport for npipe:// (npipe:////./pipe/x);"
        " there is one for: http, https, memory, tcp, unix"
    )


def test_the_error_for_an_unknown_transport_lists_the_known_transports(site: Path) -> None:
    """A name that is neither built in nor installed is an error in the settings."""
    install_transport(site, "echo", "connect = None\n")

    with pytest.raises(SettingsError) as caught:
        Settings(transports={"tcp": "urlib3"})

    message = str(caught.value)
    assert message.startswith("no transport is called 'urlib3'; there are: ")
    known = message.partition("there are: ")[2].split(", ")
    assert known == sorted({"echo", "urllib3", *known})


@pytest.mark.parametrize(
    ("addr", "tls", "warnings"),
    [
        ("tcp://h:1", TLSOptions(ca_file="/ca.pem"), [f"tcp://h:1: {PLAIN_TEXT}"]),
        ("unix:///x", TLSOptions(min_version=772), [f"unix:///x: {PLAIN_TEXT}"]),
        ("http://h", TLSOptions(exclusive_root_pools=True), [f"http://h: {PLAIN_TEXT}"]),
        ("https://h", TLSOptions(insecure_skip_verify=True), [f"https://h: {UNVERIFIED}"]),
        ("unix:///x", TLSOptions(insecure_skip_verify=True), []),
        ("https://h", TLSOptions(ca_file="/ca.pem"), []),
        ("https://h", None, []),
        ("tcp://h:1", None, []),
        ("tcp://me:secret@h:1", None, [f"tcp://h:1: {CREDENTIALS}"]),
        ("tcp://@h", None, [f"tcp://h: {CREDENTIALS}"]),
    ],
)
def test_ineffective_or_unverified_tls_and_user_names_are_logged(
    addr: str,
    tls: TLSOptions | None,
    warnings: list[str],
    recorder: RecordingConnect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """TLS options without TLS, TLS without verification, and a user name, are a warning each."""
    transports = dict.fromkeys(["unix", "tcp", "http", "https"], recorder)

    connect_by_scheme(Settings(transports=transports))(Address(addr), tls)

    assert caplog.record_tuples == [("moby_plugins", logging.WARNING, text) for text in warnings]


def test_prompt_schemes_are_those_whose_transports_are_made_without_waiting() -> None:
    """Built-in schemes without TLS are, and those of callables with a true ``is_prompt``."""

    class Prompt:
        is_prompt = True

        def __call__(self, address: Address, tls: TLSOptions | None) -> Transport:
            raise NotImplementedError

    class Slow(Prompt):
        is_prompt = False

    others: Any = {
        "prompt": Prompt(),
        "slow": Slow(),
        "unix": Prompt().__call__,
        "named": "urllib3",
    }
    settings = Settings(transports=others)

    assert connect_by_scheme(settings).prompt_schemes == {"tcp", "http", "prompt"}
    assert connect_by_scheme(Settings()).prompt_schemes == {"unix", "tcp", "http"}
