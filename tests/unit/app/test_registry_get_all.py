"""``get_all``: everything that can be found, side by side, and what becomes of the failures."""

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


def test_all_that_implement_it_come_sorted(new_host: NewHost) -> None:
    """Whatever the order in which they answer; others are activated and left out."""
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


def test_what_is_active_already_is_taken_as_it_is(new_host: NewHost) -> None:
    """A second time costs one scan, and ``get`` gives the same plugins."""
    host = new_host({"a": ["A"], "b": ["A"]})
    first = host.registry.get("a", "A")
    everything = host.registry.get_all("A")
    host.crossings.clear()

    again = host.registry.get_all("A")

    assert everything[0] is first
    assert [id(plugin) for plugin in again] == [id(plugin) for plugin in everything]
    assert host.crossings == ["scan"]


def test_no_plugins_are_an_empty_list(new_host: NewHost) -> None:
    """Nothing found is nothing wrong."""
    host = new_host()

    assert names(host) == []
    assert host.crossings == ["scan"]


def test_a_plugin_that_is_active_and_gone_is_not_among_all(new_host: NewHost) -> None:
    """All that can be found *now* is what counts."""
    host = new_host({"a": ["A"], "b": ["A"]})
    names(host)

    host.discovery.remove("a")

    assert names(host) == ["b"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(status(500, "no"), StatusError), (not_json(), WireError), (b"[]", WireError)],
)
def test_what_fails_is_left_out_and_told(
    new_host: NewHost, reply: Any, kind: type[PluginError], caplog: pytest.LogCaptureFixture
) -> None:
    """A failure is one warning and one call of ``on_failure``, and is forgotten afterwards."""
    host = new_host({"bad": script(reply, {"Implements": ["A"]}), "good": ["A"]})
    failures = Failures()

    assert names(host, on_failure=failures) == ["good"]

    assert {name: type(error) for name, error in failures.items()} == {"bad": kind}
    assert caplog.messages == [f"left out plugin 'bad': {in_full(failures['bad'])}"]
    assert (host.clock.now(), sum(host.closed())) == (0.0, 1)
    assert names(host) == ["bad", "good"]


def test_a_failure_without_anybody_to_tell_is_logged(new_host: NewHost) -> None:
    """``on_failure`` may be left away."""
    assert names(new_host({"bad": status(500), "good": ["A"]})) == ["good"]


def test_a_failure_tells_its_cause(new_host: NewHost) -> None:
    """The error is the one that ``get`` would raise, with what the system said."""
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


def test_a_plugin_whose_file_is_gone_is_not_waited_for(new_host: NewHost) -> None:
    """It was there when the directory was read, and is not any more."""
    host = new_host({"a": ["A"]}, discovery=Forgetful(["a"]))
    failures = Failures()

    assert names(host, on_failure=failures) == ["a"]

    assert isinstance(failures["ghost"], PluginNotFoundError)
    assert failures["ghost"].attempts == 1
    assert (host.clock.now(), host.clock.sleeps) == (0.0, [])


def test_dead_plugins_are_tried_side_by_side(new_host: NewHost) -> None:
    """Forty dead ones take fifteen seconds together, five attempts each."""
    host = new_host({f"dead{i}": refused() for i in range(40)} | {"live": ["A"]})
    failures = Failures()

    assert names(host, on_failure=failures) == ["live"]

    assert (len(failures), host.clock.now()) == (40, 15.0)
    assert {len(line.requests) for line in host.lines} == {1, 5}
    assert {error.attempts for error in failures.values()} == {5}


def test_a_hung_plugin_does_not_use_up_the_budget_of_others(new_host: NewHost) -> None:
    """The dead one gets its five attempts on time; one that comes late is there."""
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
    """Four retries of a dead plugin are four warnings, and that it is left out is another."""
    names(new_host({"dead": refused(), "live": ["A"]}))

    assert len(caplog.records) == 5
    assert caplog.messages[4].startswith("left out plugin 'dead': plugin 'dead' at memory://dead: ")


def test_a_directory_that_cannot_be_read_is_an_error(new_host: NewHost) -> None:
    """Nothing can be left out of what is not known."""

    class Unreadable(MemoryDiscovery):
        def scan(self) -> list[str]:
            raise SpecError("permission denied", "/etc/docker/plugins")

    host = new_host(discovery=Unreadable())

    with pytest.raises(SpecError, match=r"^/etc/docker/plugins: permission denied$"):
        host.registry.get_all("A")


class StopTestError(BaseException):
    """What a test's framework raises to end a test: no ``Exception``."""


@pytest.mark.parametrize("error", [UnexpectedCallError("mine"), StopTestError("mine")])
def test_an_error_that_is_no_plugins_is_raised(new_host: NewHost, error: BaseException) -> None:
    """A mistake in a test's plugin is not a plugin to be left out."""
    host = new_host({"a": ["A"], "bad": script(error, {"Implements": ["A"]}), "c": ["A"]})

    with pytest.raises(type(error), match=r"^mine$"):
        host.registry.get_all("A")

    assert names(host) == ["a", "bad", "c"]


def test_what_on_failure_raises_ends_it_and_leaves_nothing_running() -> None:
    """Those that were still loading are not activated by it any more, and can be got."""
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


def test_a_transport_that_cannot_be_closed_holds_up_nothing() -> None:
    """It is another package's; what failed is told as ever, and the rest is found."""
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
