"""A diagnosis of this machine's plugins."""

from moby_plugins.app.config import new_local_discovery, or_environment
from moby_plugins.app.settings import Settings
from moby_plugins.domain.diagnosis import Finding
from moby_plugins.domain.diagnosis import diagnose as decide


def diagnose(settings: Settings | None = None) -> tuple[Finding, ...]:
    """What is wrong with the plugins of this machine: what matters most first.

    Without ``settings`` those of the environment count. Looks as the user that runs it;
    connects to UNIX sockets for a moment, sends nothing, and changes nothing. Raises
    ``SettingsError``.
    """
    from moby_plugins.adapters.disk.survey import see

    settings = or_environment(settings)
    discovery = new_local_discovery(settings)
    return decide(see(discovery, settings.sockets_path, settings.specs_paths))
