"""Known failures of other hosts, by the number of the report; tested in memory.

Those that need a real connection are in tests/integration/hostile.
"""

from itertools import permutations
from typing import Any

import pytest

from moby_plugins.app import wire
from moby_plugins.domain.errors import TransportError, WireError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    AuthZPlugin,
    AuthZRequest,
    IpamDriver,
    NetworkDriver,
    Verdict,
    VolumeDriver,
)
from moby_plugins.testing import hangs, refused
from tests.unit.app.in_memory import MemoryHost
from tests.unit.app.subsystems.exchanges import asked, replying

ACTIVE = {"Implements": ["A"]}
SLOW = hangs(2, then=ACTIVE)


def test_moby_21446_a_plugin_is_not_returned_before_it_is_activated() -> None:
    """A host listed a plugin that had no manifest yet, and crashed; here callers wait."""
    host = MemoryHost({"p": SLOW})

    futures = host.clock.run(
        lambda: [host.registry.get("p", "A")],
        lambda: [host.registry.get("p", "A")],
        lambda: host.registry.get_all("A"),
    )

    plugins = [plugin for future in futures for plugin in future.result()]
    assert [plugin.manifest.implements for plugin in plugins] == [("A",)] * 3
    assert len({id(plugin) for plugin in plugins}) == 1


def test_moby_21446_a_plugin_whose_activation_fails_is_not_returned() -> None:
    """All callers get the error, and ``get_all`` leaves the plugin out."""
    host = MemoryHost({"p": refused()})

    one, every = host.clock.run(
        lambda: host.registry.get("p", "A"), lambda: host.registry.get_all("A")
    )

    assert isinstance(one.exception(), TransportError)
    assert every.result() == []


def test_moby_29733_adding_a_handler_for_an_active_plugin_blocks_no_caller() -> None:
    """A host then marked the plugin as not activated, and waited for it for ever."""
    host = MemoryHost({"p": ACTIVE})
    met: list[str] = []
    plugin = host.registry.get("p", "A")

    host.registry.handle("A", lambda name, _: met.append(name))

    assert host.registry.get("p", "A") is plugin
    assert host.registry.get_all("A") == [plugin]
    assert met == ["p"]


def test_moby_29893_get_and_get_all_at_once_share_one_activation() -> None:
    """A host read its table of plugins without the lock, and activated a plugin twice."""
    for order in permutations(range(3)):
        host = MemoryHost({"p": SLOW, "q": SLOW})
        tasks = [
            lambda host=host: host.registry.get_all("A"),
            lambda host=host: [host.registry.get("p", "A")],
            lambda host=host: [host.registry.get("q", "A")],
        ]

        done = [future.result() for future in host.clock.run(*(tasks[i] for i in order))]

        assert len({id(plugin) for plugins in done for plugin in plugins}) == 2
        sent = [crossing for crossing in host.crossings if crossing.startswith("send")]
        assert sorted(sent) == ["send p Plugin.Activate", "send q Plugin.Activate"]


def test_moby_30408_each_caller_that_waits_for_a_failing_activation_gets_its_error() -> None:
    """A host's callers waited only for a manifest, which never comes after an error."""
    host = MemoryHost({"p": refused()})

    futures = host.clock.run(*[lambda: host.registry.get("p", "A")] * 4)

    assert all(isinstance(future.exception(), TransportError) for future in futures)
    assert host.clock.now() == 15


def test_moby_40905_handle_and_activation_do_not_deadlock() -> None:
    """In a host the two took the locks of handlers and of a plugin in opposite orders."""
    for order in permutations(range(4)):
        host = MemoryHost({"p": SLOW, "q": SLOW})
        met: list[str] = []

        def handler(name: str, _: object, host: MemoryHost = host) -> None:
            met.append(name)  # noqa: B023  this round's own
            host.registry.get("q" if name == "p" else "p", "A")

        tasks: list[Any] = [
            lambda host=host: host.registry.get("p", "A"),
            lambda host=host: host.registry.get("q", "A"),
            lambda host=host, handler=handler: host.registry.handle("A", handler),
            lambda host=host: host.registry.get_all("A"),
        ]

        futures = host.clock.run(*(tasks[i] for i in order))

        assert [future.exception() for future in futures] == [None] * 4
        assert sorted(met) == ["p", "q"]


NULLS: list[tuple[Any, str, Any, str, tuple[Any, ...]]] = [
    (VolumeDriver, "Get", None, "get", ("v",)),
    (VolumeDriver, "Get", {"Volume": None}, "get", ("v",)),
    (VolumeDriver, "List", None, "list", ()),
    (VolumeDriver, "List", {"Volumes": None}, "list", ()),
    (VolumeDriver, "List", {"Volumes": [None]}, "list", ()),
    (VolumeDriver, "Mount", None, "mount", ("v", "id")),
    (VolumeDriver, "Capabilities", {"Capabilities": None}, "capabilities", ()),
    (NetworkDriver, "GetCapabilities", None, "get_capabilities", ()),
    (IpamDriver, "GetDefaultAddressSpaces", None, "get_default_address_spaces", ()),
    (AuthZPlugin, "AuthZReq", None, "authorize_request", (AuthZRequest(),)),
]


@pytest.mark.parametrize(("kind", "method", "reply", "call", "arguments"), NULLS)
def test_moby_28630_null_in_a_response_is_a_zero_value_or_a_wire_error(
    kind: Any, method: str, reply: Any, call: str, arguments: tuple[Any, ...]
) -> None:
    """A response with null in place of an object crashed a host."""
    proxy = replying(kind, method, reply)
    try:
        answer = getattr(proxy, call)(*arguments)
    except WireError:
        answer = ()

    # Zero values: never a null within, and for a verdict never a yes.
    assert not isinstance(answer, tuple) or None not in answer
    assert not getattr(answer, "allow", False)


class Inspector(AuthZPlugin):
    """A policy that looks for what is forbidden, and allows where it finds nothing."""

    def authorize_request(self, request: AuthZRequest) -> Verdict:
        return Verdict(b"Privileged" not in request.request_body)


def allowed(request: AuthZRequest) -> bool:
    """What such a policy comes to, served by this library."""
    _, answer = asked(PluginApp(Inspector()), "AuthZPlugin.AuthZReq", wire.encode(request))
    verdict: Verdict = wire.decode(answer.encode(), Verdict)
    return verdict.allow


def test_cve_2024_41110_a_request_with_a_chunked_body_that_was_not_shown_is_denied() -> None:
    """An engine showed neither the body nor its length, nor that there were chunks."""
    request = AuthZRequest(
        request_method="POST",
        request_uri="/v1.46/containers/create",
        request_headers={"Content-Type": "application/json"},
    )

    assert not allowed(request)


def test_cve_2026_34040_a_request_with_a_body_too_large_to_be_shown_is_denied() -> None:
    """An engine passed a request on without its body if that was over a megabyte."""
    request = AuthZRequest(
        request_method="POST",
        request_uri="/v1.54/containers/create",
        request_headers={"Content-Type": "application/json", "Content-Length": str(2 << 20)},
    )

    assert not allowed(request)
