"""No log, repr, error or traceback shows a passphrase or a key."""

import copy
import logging
import pickle
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from moby_plugins import Plugin, Settings, SpecError, TLSOptions, TransportError, new_client
from moby_plugins.app.config import connect_by_scheme
from moby_plugins.domain.address import Address
from moby_plugins.serving import PluginApp, ServerTLS, plugin_server_tcp
from tests.dummy_plugin import DummyPlugin, keeps_answering
from tests.integration.certificates import Certificates
from tests.integration.serving.plugins import Echoes

PASSPHRASE = "open sesame 4711"


class Secrets:
    """A key with a passphrase, and the parts of both that no text may show."""

    def __init__(self, directory: Path) -> None:
        self.certificates = Certificates(directory)
        self.cert_file, self.key_file = self.certificates.client(PASSPHRASE)
        self.options = TLSOptions(
            self.certificates.ca_file, self.cert_file, self.key_file, passphrase=PASSPHRASE
        )
        key = Path(self.key_file).read_text().splitlines()
        self._secrets = (PASSPHRASE, PASSPHRASE[5:11], key[1], key[2])

    def shown_in(self, text: str) -> list[str]:
        """The secrets that ``text`` gives away."""
        return [secret for secret in self._secrets if secret in text]


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    """A key and its passphrase."""
    return Secrets(tmp_path)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Whatever anybody logs, at any level."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def everything(log: pytest.LogCaptureFixture) -> str:
    """All that was logged, with what it was made of."""
    return "".join(f"{record.getMessage()} {record.args!r}" for record in log.records)


def told(error: BaseException) -> str:
    """An error in all the ways that errors are shown, the locals of each frame included."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    del shown.stack[0]  # the test's own, which knows it all
    plain = "".join(shown.format())
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    return f"{error!r} {error} {vars(error)!r} {again!r} {again} {copy.copy(error)!r} {plain}"


def test_objects_that_hold_a_passphrase_do_not_show_it(secrets: Secrets, once: Settings) -> None:
    """The texts of options, plugins, clients, transports and copies do not have the passphrase."""
    options = secrets.options
    plugin = Plugin("p", "https://localhost:1", options)
    server = ServerTLS(secrets.cert_file, secrets.key_file, passphrase=PASSPHRASE)
    again = pickle.loads(pickle.dumps([options, plugin, server]))  # noqa: S301  our own
    transport = connect_by_scheme(once)(Address("https://localhost:1"), options)

    with new_client(plugin.addr, options, settings=once) as client:
        holders = [options, plugin, server, *again, evolve(options), client, transport]
        shown = "".join(f"{one!r} {one} {one:}" for one in [*holders, once])
    transport.close()

    assert secrets.shown_in(shown) == []
    # It was there to be shown.
    assert again[0].passphrase == PASSPHRASE


def test_a_call_shows_no_passphrase(
    secrets: Secrets, once: Settings, log: pytest.LogCaptureFixture
) -> None:
    """Neither the log of a call nor the error of a refused one has the passphrase or the key."""
    context = secrets.certificates.server(asks_for_client=True)
    with DummyPlugin.on_tcp(keeps_answering(b"1"), context) as plugin:
        with new_client(plugin.addr, secrets.options, settings=once) as client:
            assert client.call("M.x", timeout=5.0) == 1
        other = TLSOptions("", secrets.cert_file, secrets.key_file, passphrase=PASSPHRASE)
        with (
            new_client(plugin.addr, other, settings=once) as client,
            pytest.raises(TransportError) as caught,
        ):
            client.call("M.x", timeout=5.0)

    assert secrets.shown_in(told(caught.value) + everything(log)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"passphrase": PASSPHRASE + "x"},
        {"ca_file": "/nonexistent/ca.pem"},
        {"cert_file": "/nonexistent/cert.pem"},
        {"key_file": ""},
    ],
    ids=str,
)
def test_options_that_cannot_be_used_show_no_passphrase(
    change: dict[str, Any], secrets: Secrets, once: Settings, log: pytest.LogCaptureFixture
) -> None:
    """The error names files and reasons; its traceback, with all local variables, has no secret."""
    with pytest.raises(SpecError) as caught:
        new_client("https://localhost:1", evolve(secrets.options, **change), settings=once)

    assert secrets.shown_in(told(caught.value) + everything(log)) == []


def test_a_served_plugin_shows_no_passphrase(
    secrets: Secrets, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """The spec, the log and the error of a wrong passphrase have neither passphrase nor key."""
    specs = tmp_path / "specs"
    with ExitStack() as stack:
        for passphrase in (PASSPHRASE, PASSPHRASE + "x"):
            tls = ServerTLS(secrets.cert_file, secrets.key_file, passphrase=passphrase)
            server = plugin_server_tcp(
                PluginApp(Echoes()), "p", "localhost:0", tls=tls, specs_path=str(specs)
            )
            if passphrase == PASSPHRASE:
                stack.enter_context(server)
                continue
            with pytest.raises(SpecError) as caught:
                server.start()
        spec = (specs / "p.json").read_text()

    assert secrets.shown_in(told(caught.value) + everything(log) + spec) == []
