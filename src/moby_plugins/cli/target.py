"""The plugin that a command is about: by its name, or by its address."""

import click

from moby_plugins import Client, Settings, new_client, new_local_discovery
from moby_plugins.cli.options import Decorator, plugin_names

with_target: Decorator = click.argument(
    "target", metavar="NAME|ADDRESS", shell_complete=plugin_names
)


def client_of(target: str, settings: Settings) -> Client:
    """A client of ``target``, to be closed by the caller; no name holds a slash, no address none.

    Raises what the look-up of a name raises, and ``SpecError``.
    """
    if "/" in target:
        return new_client(target, settings=settings)
    plugin = new_local_discovery(settings).lookup(target)
    return new_client(plugin.addr, plugin.tls_config, settings=settings)
