"""``get_all`` activates all plugins that can be found, side by side, and leaves out failures."""

from typing import Any

import pytest

from moby_plugins.app.registry import Registry
from moby_plugins.domain.errors import (
    PluginError,
    PluginNotFoundError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
    in_full,
)
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.ports import Transport
from moby_plugins.testing import (
    MemoryDiscovery,
    UnexpectedCallError,
    hangs,
    not_json,
    refused,
    script,
    status,
)
from tests.unit.app.hosts import NewHost
from tests.unit.app.in_memory import MemoryHost


def names(host: Any, implements: str = "A", **options: Any) -> list[str]:
    """The names that ``get_all`` gives."""
    return [plugin.name for plugin in host.registry.get_all(implements, **options)]


class Failures(dict[str, PluginError]):
    """What ``on_failure`` was told, by name."""

    def __call__(self, name: str, error: PluginError) -> None:
        assert name not in self
        self[name] = error


def test_get_all_returns_the_plugins_of_a_subsystem_sorted_by_name(new_host: NewHost) -> None:
    """The order of responses does not matter, and plugins of other subsystems are left out."""
    host = new_host(
        {
            "c": ["A"],
            "a": hangs(2, then={"Implements": ["B", "A"]}),
            "other": ["B"],
            "b": hangs(1, then={"Implements": ["A"]}),
        }
    )

    assert names(host) == ["a", "b", "c"]
    assert host.clock.now() == 2.0
    assert sorted(host.crossings) == sorted(
        ["scan"]
        + [f"look up {name}" for name in ("a", "b", "c", "other")]
        + [f"send {name} Plugin.Activate" for name in ("a", "b", "c", "other")]
    )


def test_get_all_returns_already_active_plugins_without_a_new_handshake(new_host: NewHost) -> None:
    """A second ``get_all`` makes only a scan, and returns the same objects."""
    host = new_host({"a": ["A"], "b": ["A"]})
    first = host.registry.get("a", "A")
    everything = host.registry.get_all("A")
    host.crossings.clear()

    again = host.registry.get_all("A")

    assert everything[0] is first
    assert [id(plugin) for plugin in again] == [id(plugin) for plugin in everything]
    assert host.crossings == ["scan"]


def test_get_all_without_any_plugin_returns_an_empty_list(new_host: NewHost) -> None:
    """Finding no plugin is not an error."""
    host = new_host()

    assert names(host) == []
    assert host.crossings == ["scan"]


def test_get_all_leaves_out_an_active_plugin_that_discovery_no_longer_finds(
    new_host: NewHost,
) -> None:
    """``get_all`` returns what can be found now, not what was active before."""
    host = new_host({"a": ["A"], "b": ["A"]})
    names(host)

    host.discovery.remove("a")

    assert names(host) == ["b"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(status(500, "no"), StatusError), (not_json(), WireError), (b"[]", WireError)],
)
def test_get_all_leaves_out_a_plugin_that_fails_and_reports_it(
    new_host: NewHost, reply: Any, kind: type[PluginError], caplog: pytest.LogCaptureFixture
) -> None:
    """A failure is one warning and one call of ``on_failure``; the next ``get_all`` tries again."""
    host = new_host({"bad": script(reply, {"Implements": ["A"]}), "good": ["A"]})
    failures = Failures()

    assert names(host, on_failure=failures) == ["good"]

    assert {name: type(error) for name, error in failures.items()} == {"bad": kind}
    assert caplog.messages == [f"left out plugin 'bad': {in_full(failures['bad'])}"]
    assert (host.clock.now(), sum(host.closed())) == (0.0, 1)
    assert names(host) == ["bad", "good"]


def test_get_all_without_on_failure_leaves_out_a_plugin_that_fails(new_host: NewHost) -> None:
    """``on_failure`` is optional, and the other plugins are returned."""
    assert names(new_host({"bad": status(500), "good": ["A"]})) == ["good"]


def test_on_failure_gets_the_error_that_get_would_raise(new_host: NewHost) -> None:
    """The error has its attempts, its seconds, and the system's error as its cause."""
    host = new_host({"bad": refused()})
    failures = Failures()

    names(host, on_failure=failures)

    error = failures["bad"]
    assert isinstance(error, TransportError)
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert (error.attempts, error.elapsed) == (5, 15.0)


class Forgetful(MemoryDiscovery):
    """A discovery whose scan lists a plugin that no look-up finds."""

    def scan(self) -> list[str]:
        return sorted([*super().scan(), "ghost"])


def test_get_all_does_not_wait_for_a_plugin_that_vanished_after_the_scan(new_host: NewHost) -> None:
    """The scan lists the plugin, but its look-up finds nothing: it fails after one attempt."""
    host = new_host({"a": ["A"]}, discovery=Forgetful(["a"]))
    failures = Failures()

    assert names(host, on_failure=failures) == ["a"]

    assert isinstance(failures["ghost"], PluginNotFoundError)
    assert failures["ghost"].attempts == 1
    assert (host.clock.now(), host.clock.sleeps) == (0.0, [])


def test_get_all_tries_plugins_that_refuse_connections_side_by_side(new_host: NewHost) -> None:
    """Forty such plugins take 15 seconds together, with five attempts each."""
    host = new_host({f"dead{i}": refused() for i in range(40)} | {"live": ["A"]})
    failures = Failures()

    assert names(host, on_failure=failures) == ["live"]

    assert (len(failures), host.clock.now()) == (40, 15.0)
    assert {len(line.requests) for line in host.lines} == {1, 5}
    assert {error.attempts for error in failures.values()} == {5}


def test_a_hung_plugin_does_not_use_up_the_budget_of_others(new_host: NewHost) -> None:
    """A plugin that refuses still gets five attempts on time, and one that starts late is found."""
    host = new_host(
        {
            "hung": hangs(),
            "dead": refused(),
            "late": script(refused(), refused(), {"Implements": ["A"]}),
            "live": ["A"],
        }
    )
    told: list[tuple[str, float, type[PluginError], int]] = []

    def tell(name: str, error: PluginError) -> None:
        told.append((name, host.clock.now(), type(error), error.attempts))

    assert names(host, on_failure=tell) == ["late", "live"]
    assert told == [
        ("dead", 15.0, TransportError, 5),
        ("hung", 30.0, TransportTimeoutError, 1),
    ]


def test_each_retry_is_one_warning(new_host: NewHost, caplog: pytest.LogCaptureFixture) -> None:
    """A plugin that refuses five times logs four warnings, and a fifth when it is left out."""
    names(new_host({"dead": refused(), "live": ["A"]}))

    assert len(caplog.records) == 5
    assert caplog.messages[4].startswith("left out plugin 'dead': plugin 'dead' at memory://dead: ")


def test_a_directory_that_cannot_be_read_is_an_error(new_host: NewHost) -> None:
    """Without a scan it is not known which plugins would be left out, so the error is raised."""

    class Unreadable(MemoryDiscovery):
        def scan(self) -> list[str]:
            raise SpecError("permission denied", "/etc/docker/plugins")

    host = new_host(discovery=Unreadable())

    with pytest.raises(SpecError, match=r"^/etc/docker/plugins: permission denied$"):
        host.registry.get_all("A")


class StopTestError(BaseException):
    """What a test's framework raises to end a test: no ``Exception``."""


@pytest.mark.parametrize("error", [UnexpectedCallError("mine"), StopTestError("mine")])
def test_get_all_raises_an_error_that_is_not_a_plugin_error(
    new_host: NewHost, error: BaseException
) -> None:
    """A mistake in a test's fake plugin is raised, not reported as a plugin that failed."""
    host = new_host({"a": ["A"], "bad": script(error, {"Implements": ["A"]}), "c": ["A"]})

    with pytest.raises(type(error), match=r"^mine$"):
        host.registry.get_all("A")

    assert names(host) == ["a", "bad", "c"]


def test_an_exception_of_on_failure_ends_get_all_and_its_activations() -> None:
    """Plugins that were still loading are not tried again, and a later ``get`` can load them."""
    host = MemoryHost({"bad": status(500), "slow": script(refused(), {"Implements": ["A"]})})

    def give_up(_: str, error: PluginError) -> None:
        host.clock.advance(0.5)
        raise error

    with pytest.raises(StatusError):
        host.registry.get_all("A", on_failure=give_up)
    assert host.clock.now() == 0.5
    host.clock.advance(60)
    assert [c for c in host.crossings if c.startswith("send slow")] == ["send slow Plugin.Activate"]

    assert host.registry.get("slow", "A").name == "slow"


def test_get_all_goes_on_when_the_transport_of_a_failed_plugin_cannot_be_closed() -> None:
    """The failure is reported as usual, and the other plugins are returned."""
    plugins = MemoryHost({"bad": status(500), "good": ["A"]})

    class Sticky:
        def __init__(self, transport: Transport) -> None:
            self.send = transport.send

        def close(self) -> None:
            raise SystemExit("it cannot be closed")

    failures = Failures()
    registry = Registry(
        discovery=plugins.discovery,
        connect=lambda address, tls: Sticky(plugins.connect(address, tls)),
        clock=plugins.clock,
    )

    assert [plugin.name for plugin in registry.get_all("A", on_failure=failures)] == ["good"]
    assert set(failures) == {"bad"}
    with pytest.raises(StatusError):
        registry.get("bad", None, retry=RetryPolicy.never())
