"""A diagnosis of this machine's plugins, from their files and their responses."""

from collections.abc import Mapping
from contextlib import closing

from attrs import evolve, frozen

from moby_plugins.app.config import (
    new_client,
    new_local_discovery,
    or_environment,
    system_clock,
)
from moby_plugins.app.retrying import Attempt, Outcome, retry_side_by_side
from moby_plugins.app.settings import Settings
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.diagnosis import diagnose as decide
from moby_plugins.domain.errors import (
    PluginError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.domain.findings import Finding
from moby_plugins.domain.handshake import HandshakeOutcome
from moby_plugins.domain.plugin import Candidate, Manifest, Plugin
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.domain.text import shown
from moby_plugins.platforms import check_platform
from moby_plugins.ports import Clock

# Seconds that each plugin has to respond.
ASKING_TIMEOUT = 2.0
ACTIVATE = "Plugin.Activate"

# The scheme to try if an address fails, because its own scheme may be wrong.
_INSTEAD = {"tcp": "https", "http": "https", "https": "tcp"}
BAD_REQUEST = 400


def diagnose(
    settings: Settings | None = None, *, timeout: float | None = ASKING_TIMEOUT
) -> tuple[Finding, ...]:
    """Find out what is wrong with the plugins of this machine, without changing anything.

    Files are examined with the permissions of the current user. All plugins are asked concurrently
    what they implement.

    Args:
        settings: The settings; by default ``Settings.from_env()``.
        timeout: Seconds that each plugin has to respond; with ``None`` plugins are not asked, and
            UNIX sockets are only connected to.

    Returns:
        The findings, the most important first.

    Raises:
        SettingsError: If the settings are not valid.

    Examples:
        ```python
        from pathlib import Path

        from moby_plugins.diagnosis import PROBLEM, diagnose
        from moby_plugins.testing import PluginDirectory

        with PluginDirectory(Path("p")) as directory:
            directory.spec("shelf", "localhost:7000")  # no address: tcp:// is missing
            found = diagnose(directory.settings, timeout=None)
        assert [finding.severity for finding in found if "shelf" in finding.where] == [PROBLEM]
        ```
    """
    check_platform("diagnose")
    from moby_plugins.adapters.disk.survey import observe

    settings = or_environment(settings)
    # A plugin and an engine have the same time-out.
    discovery = new_local_discovery(evolve(settings, activation_timeout=timeout or ASKING_TIMEOUT))
    asking = _Handshakes(
        evolve(settings, retry=RetryPolicy.never()), timeout or 0.0, system_clock()
    )
    return decide(observe(discovery, settings.sockets_path, settings.specs_paths, asking))


def check_listens(address: Address) -> None:
    """Raise ``TransportError`` if ``address`` is a UNIX socket that refuses connections.

    Nothing is sent. This is for managed plugins, which have no handshake.
    """
    if address.scheme == "unix":
        from moby_plugins.adapters.http.errors import not_reached
        from moby_plugins.adapters.http.unix_socket import probe_socket

        refusal = probe_socket(address.path)
        if refusal is not None:
            raise not_reached(refusal, address) from refusal


@frozen
class _Handshakes:
    """A callable that asks plugins what they implement.

    Each plugin has ``seconds`` to respond; if that is 0, no plugin is asked.
    """

    settings: Settings
    seconds: float
    clock: Clock

    def __call__(self, candidates: Mapping[str, Candidate]) -> dict[str, HandshakeOutcome]:
        """Return the outcome of the handshake with each plugin that can be asked, by name."""
        names = [name for name, candidate in candidates.items() if _can_be_asked(candidate.plugin)]
        if not self.seconds or not names:
            return {}
        attempts = [self._attempt(candidates[name].plugin) for name in names]
        with self.clock.working():
            asking = retry_side_by_side(
                attempts, RetryPolicy.never(), self.clock, lambda _: False, self._settled
            )
            with closing(asking) as outcomes:
                return {names[index]: outcome for index, outcome in outcomes}

    def _settled(self, outcome: Outcome[HandshakeOutcome]) -> tuple[int, HandshakeOutcome]:
        if outcome.value is not None:
            return outcome.index, outcome.value
        # A third party's transport may raise anything.
        error = outcome.error
        failure = error if isinstance(error, PluginError) else PluginError(shown(error))
        return outcome.index, HandshakeOutcome(self.seconds, error=failure)

    def _attempt(self, plugin: Plugin | None) -> Attempt[HandshakeOutcome]:
        assert plugin is not None  # noqa: S101  for mypy: others are not asked

        def ask(_: int) -> HandshakeOutcome:
            ends = self.clock.now() + self.seconds
            try:
                manifest = self._manifest(plugin.addr, plugin.tls_config, self.seconds)
            except PluginError as error:
                left = ends - self.clock.now()
                return HandshakeOutcome(
                    self.seconds, error=error, instead=self._instead(plugin, error, left)
                )
            return HandshakeOutcome(self.seconds, manifest.implements)

        return ask

    def _manifest(self, addr: str, tls: TLSOptions | None, seconds: float) -> Manifest:
        with new_client(addr, tls, settings=self.settings) as client:
            return client.call(ACTIVATE, None, Manifest, timeout=seconds)

    def _instead(self, plugin: Plugin, error: PluginError, seconds: float) -> str:
        """Return another scheme with which the plugin's address works, "" if there is none."""
        address = plugin.address
        other = _INSTEAD.get(address.scheme, "")
        if not other or seconds <= 0 or not _may_be_another_protocol(error):
            return ""
        host = f"[{address.host}]" if ":" in address.host else address.host
        try:
            unverified = TLSOptions(insecure_skip_verify=True)
            self._manifest(f"{other}://{host}:{address.port}", unverified, seconds)
        except PluginError as second:
            return other if _was_understood(second) else ""
        return other


def _can_be_asked(plugin: Plugin | None) -> bool:
    # A managed plugin has no handshake. A relative path depends on each host's working directory.
    return (
        plugin is not None
        and plugin.is_v1
        and not (plugin.address.scheme == "unix" and not plugin.address.path.startswith("/"))
    )


def _may_be_another_protocol(error: PluginError) -> bool:
    if isinstance(error, StatusError):
        return error.status == BAD_REQUEST
    return isinstance(error, TransportError) and not isinstance(error, TransportTimeoutError)


def _was_understood(error: PluginError) -> bool:
    if isinstance(error, TransportError):
        # A TLS alert shows that the plugin speaks TLS, for example if it requires a certificate.
        return error.answered or "alert" in error.reason.lower()
    return isinstance(error, (StatusError, WireError))
