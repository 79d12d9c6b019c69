"""The command ``moby-plugins inspect``, which shows one plugin as a host understands it."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import click
from attrs import evolve, frozen

from moby_plugins import (
    Candidate,
    Client,
    Manifest,
    Plugin,
    PluginError,
    RetryPolicy,
    Settings,
    connect_by_scheme,
    new_client,
    new_local_discovery,
)
from moby_plugins.cli.errors import ACTIVATE, error_as_json, exit_code, in_brief
from moby_plugins.cli.options import (
    example,
    is_address,
    plugin_at,
    with_json,
    with_settings,
    with_target,
    with_timeout,
)
from moby_plugins.cli.output import BAD, DOUBTFUL, FAINT, GOOD, Cell, show_fields, show_json
from moby_plugins.domain.plugin import ManagedPlugin, check_protocol
from moby_plugins.domain.text import listed, shown
from moby_plugins.subsystems import ENGINE_SUBSYSTEMS


@frozen
class Greeting:
    """A plugin's responses: its manifest, the handshake's duration, and its capabilities.

    ``seconds`` is ``None`` for a managed plugin, which has no handshake. ``capabilities`` has for
    each subsystem the response as a host interprets it, or the error.
    """

    manifest: Manifest
    seconds: float | None
    capabilities: Mapping[str, Any]


@click.command(
    epilog=example("moby-plugins inspect shelf", "moby-plugins inspect unix:///tmp/x.sock")
)
@with_target
@with_timeout(5.0, "Seconds to wait for each response.")
@with_settings
@with_json
def inspect(target: str, timeout: float, settings: Settings, as_json: bool) -> None:
    """Show one plugin: where it was found, and what it implements.

    This prints the file that describes it and those that this file hides, its
    address, TLS, what it implements, how long the handshake took, and its
    capabilities; for a managed plugin also its mounts and environment. If it does
    not respond, the rest is printed, and the exit status says why.
    """
    name, candidates = _candidates(target, settings)
    outcome = _greet(candidates[0], evolve(settings, retry=RetryPolicy.never()), timeout)
    transport = _transport(candidates[0], settings)
    if as_json:
        show_json(_as_json(name, candidates, transport, outcome))
    else:
        show_fields(_fields(name, candidates, transport, outcome))
    if isinstance(outcome, PluginError):
        sys.exit(exit_code(outcome))


def _candidates(target: str, settings: Settings) -> tuple[str, list[Candidate]]:
    if is_address(target):
        # An address given directly has no file.
        return "", [Candidate("", plugin_at(target))]
    discovery = new_local_discovery(settings)
    candidates = discovery.candidates(target)
    if not candidates:
        discovery.lookup(target)  # raises an error with the searched places
    return target, candidates


def _greet(candidate: Candidate, settings: Settings, timeout: float) -> Greeting | PluginError:
    if candidate.error is not None:
        return candidate.error
    plugin = candidate.plugin
    assert plugin is not None  # noqa: S101  for mypy: a candidate has the one or the other
    try:
        check_protocol(plugin)
        with new_client(plugin.addr, plugin.tls_config, settings=settings) as client:
            manifest = plugin.manifest if not plugin.is_v1 else _handshake(client, timeout)[0]
            capabilities = dict(_capabilities(manifest, client, timeout))
        if not plugin.is_v1:
            return Greeting(manifest, None, capabilities)
        # Timed over a new connection, after all modules were imported.
        with new_client(plugin.addr, plugin.tls_config, settings=settings) as client:
            return Greeting(*_handshake(client, timeout), capabilities)
    except PluginError as error:
        return error


def _transport(candidate: Candidate, settings: Settings) -> str:
    plugin = candidate.plugin
    return connect_by_scheme(settings).name(plugin.address.scheme) if plugin else ""


def _handshake(client: Client, timeout: float) -> tuple[Manifest, float]:
    began = time.perf_counter()
    manifest = client.call(ACTIVATE, None, Manifest, timeout=timeout)
    return manifest, time.perf_counter() - began


def _capabilities(
    manifest: Manifest, client: Client, timeout: float
) -> Iterator[tuple[str, Any | PluginError]]:
    for kind in ENGINE_SUBSYSTEMS:
        for remote in kind.remotes.values() if kind.implements in manifest.implements else ():
            if remote.name in {"capabilities", "get_capabilities"}:
                proxy = kind(client, timeouts={remote.name: timeout})
                try:
                    yield kind.implements, getattr(proxy, remote.name)()
                except PluginError as error:
                    yield kind.implements, error


def _fields(
    name: str, candidates: list[Candidate], transport: str, outcome: Greeting | PluginError
) -> Iterator[tuple[str, str | Cell]]:
    first, *hidden = candidates
    if name:
        yield "name", shown(name)
        yield "found", shown(first.path)
    if hidden:
        yield "hides", Cell("\n".join(map(_described, hidden)), DOUBTFUL)
    if first.managed is not None:
        yield from _managed_fields(first.managed)
    if first.plugin is not None:
        yield "address", f"{shown(first.plugin.addr)} ({_understood(first.plugin)})"
        yield "tls", _tls(first.plugin)
        yield "transport", transport
    if isinstance(outcome, PluginError):
        yield "error", Cell(in_brief(outcome), BAD)
        return
    yield "implements", Cell(listed(outcome.manifest.implements), GOOD)
    if outcome.seconds is not None:
        yield "handshake", f"{outcome.seconds * 1e3:.1f} ms"
    for subsystem, capabilities in outcome.capabilities.items():
        yield "capabilities", _capabilities_cell(subsystem, capabilities)


def _managed_fields(managed: ManagedPlugin) -> Iterator[tuple[str, str | Cell]]:
    yield "id", shown(managed.id)
    yield "socket", shown(managed.socket)
    for each in managed.mounts:
        options = f" ({listed(each.options)})" if each.options else ""
        yield "mount", f"{shown(each.source)} at {shown(each.destination)}{options}"
    if managed.propagated_mount:
        yield "propagated", shown(managed.propagated_mount)
    for text in managed.environment:
        yield "environment", shown(text)


def _described(candidate: Candidate) -> str:
    plugin = candidate.plugin
    says = shown(plugin.addr) if plugin else in_brief(candidate.error or PluginError())
    return f"{shown(candidate.path)} ({says})"


def _understood(plugin: Plugin) -> str:
    address = plugin.address
    if address.scheme == "unix":
        return f"the UNIX socket {shown(address.path)}"
    if not address.host:
        return f"the transport for {shown(address.scheme)}"
    return f"host {shown(address.host)}, port {address.port}"


def _tls(plugin: Plugin) -> Cell:
    tls, encrypted = plugin.tls_config, plugin.address.encrypted
    concern = tls.concerns(encrypted=encrypted) if tls else ""
    if concern:
        return Cell(concern, DOUBTFUL)
    if not encrypted:
        return Cell("none: plain text", FAINT)
    roots = shown(tls.ca_file if tls else "") or "the system's certificates"
    identity = f"; shows {shown(tls.cert_file)}" if tls and tls.cert_file else ""
    return Cell(f"verified by {roots}{identity}", GOOD)


def _capabilities_cell(subsystem: str, capabilities: Any) -> Cell:
    if isinstance(capabilities, PluginError):
        return Cell(f"{subsystem}: error: {in_brief(capabilities)}", BAD)
    values = attrs.asdict(capabilities).items()
    return Cell(f"{subsystem}: " + listed(f"{key}={value}" for key, value in values))


def _managed_as_json(managed: ManagedPlugin) -> dict[str, Any]:
    return {
        "id": managed.id,
        "enabled": managed.enabled,
        "types": managed.types,
        "socket": managed.socket,
        "propagated_mount": managed.propagated_mount or None,
        "mounts": [attrs.asdict(each) for each in managed.mounts],
        "environment": managed.environment,
    }


def _as_json(
    name: str, candidates: list[Candidate], transport: str, outcome: Greeting | PluginError
) -> dict[str, Any]:
    first = candidates[0]
    fields: dict[str, Any] = {"name": name or None, "found": first.path or None}
    fields["hides"] = [candidate.path for candidate in candidates[1:]]
    fields["address"] = first.plugin.addr if first.plugin else None
    fields["transport"] = transport or None
    fields["tls"] = _tls(first.plugin).text if first.plugin else None
    if first.managed is not None:
        fields |= _managed_as_json(first.managed)
    if isinstance(outcome, PluginError):
        return fields | {"error": error_as_json(outcome)}
    capabilities = {
        subsystem: error_as_json(fields)
        if isinstance(fields, PluginError)
        else attrs.asdict(fields)
        for subsystem, fields in outcome.capabilities.items()
    }
    return fields | {
        "error": None,
        "implements": outcome.manifest.implements,
        "handshake_seconds": outcome.seconds,
        "capabilities": capabilities,
    }
