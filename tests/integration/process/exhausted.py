"""Processes that run out of something, each a program: ``python -m … STORY …``."""

import logging
import os
import resource
import sys
from collections.abc import Callable

from moby_plugins import (
    PluginError,
    RetryPolicy,
    Settings,
    TLSOptions,
    new_client,
    new_local_registry,
)
from moby_plugins.adapters.disk.discovery import FilesystemDiscovery
from moby_plugins.app.activation import ActivePlugin
from moby_plugins.serving import PluginApp, plugin_server_tcp, serve_unix
from tests.integration.descriptors import without_descriptors
from tests.integration.serving.plugins import Echoes

DESCRIPTORS = 48
# Of a disk that is made for the story; no more is written to any other.
MAX_PAGES = 16


def outcome(do: Callable[[], object]) -> str:
    """What ``do`` comes to: its result, or its error."""
    try:
        return str(do())
    except PluginError as error:
        return f"{type(error).__name__}: {error}"


def host(transport: str, addr: str, ca_file: str, directory: str) -> None:
    """A host without descriptors, and with some again."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    settings = Settings(
        sockets_path=directory,
        specs_paths=(directory,),
        transports=dict.fromkeys(("unix", "tcp", "https"), transport),
        retry=RetryPolicy.never(),
    )

    def call() -> object:
        with new_client(addr, TLSOptions(ca_file=ca_file), settings=settings) as client:
            return client.call("M.x")

    # A client without a reference would give its descriptor back.
    held: list[ActivePlugin] = []

    def get() -> str:
        registry.invalidate("p")
        held.append(registry.get("p", None))
        return held[-1].name

    with new_local_registry(settings) as registry:
        steps = (call, registry.scan, get)
        # What is loaded at its first use is loaded.
        print(outcome(call), outcome(registry.scan), outcome(get), sep="\n")
        held.pop().client.close()  # its idle connection would make room
        with without_descriptors():
            said = [outcome(step) for step in steps]
        print(*said, *map(outcome, steps), sep="\n")


def plugin(directory: str) -> None:
    """A plugin that can take few connections."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    serve_unix(PluginApp(Echoes()), "echo", sockets_path=directory)


def disk(directory: str) -> None:
    """A plugin whose spec finds no room on the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    server = plugin_server_tcp(PluginApp(Echoes()), "echo", specs_path=directory)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, before[1]))
    said = outcome(server.start)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    print(said)
    server.stop()
    print(*sorted(os.listdir(directory)))


def full(directory: str) -> None:
    """A plugin whose disk has not a byte left, and has room again."""
    filler = os.path.join(directory, "filler")
    print(outcome(lambda: fill(filler)))
    server = plugin_server_tcp(PluginApp(Echoes()), "echo", specs_path=directory)
    print(outcome(server.start), *sorted(os.listdir(directory)), sep="\n")
    os.unlink(filler)
    with plugin_server_tcp(PluginApp(Echoes()), "echo", specs_path=directory) as server:
        print(*sorted(os.listdir(directory)))
        print(FilesystemDiscovery("/nonexistent", (directory,)).lookup("echo").addr == server.addr)


def fill(path: str) -> str:
    """Write until there is no room; why there is none."""
    with open(path, "wb", buffering=0) as file:
        for _ in range(MAX_PAGES):
            try:
                file.write(bytes(4096))
            except OSError as error:
                return str(error.strerror)
    return "it has more room than it was given"


if __name__ == "__main__":
    if sys.argv[1] != "plugin":
        logging.disable()
    {story.__name__: story for story in (host, plugin, disk, full)}[sys.argv[1]](*sys.argv[2:])
