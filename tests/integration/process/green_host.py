"""A host under gevent: ``python -m … TRANSPORT DIRECTORY ADDR CA_FILE``."""

import gevent.monkey

gevent.monkey.patch_all()

import io  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import gevent  # noqa: E402

from moby_plugins import (  # noqa: E402
    Client,
    PluginError,
    RetryPolicy,
    Settings,
    TLSOptions,
    new_client,
    new_local_registry,
)

# A system's buffers might take a smaller file whole, before the plugin's response comes. The
# connection would then be kept, and the plugin, which reads no more, hang up on the next call.
MORE_THAN_BUFFERS = bytes(64 << 20)


def outcome(do: Callable[[], object]) -> str:
    """What ``do`` comes to: its result, or its error."""
    try:
        return str(do())
    except PluginError as error:
        return f"{type(error).__name__}: {error}"


def calls(client: Client) -> None:
    """All that a client can do, with and without a time-out."""
    for timeout in (None, 20.0):
        print(*(client.call("M.x", {"A": 1}, timeout=timeout) for _ in range(3)))
        print(client.send_file("M.x", io.BytesIO(bytes(4 << 20)), timeout=timeout))
        with tempfile.TemporaryFile() as file:
            file.truncate(len(MORE_THAN_BUFFERS))
            print(client.send_file("M.x", file, timeout=timeout))
            file.seek(0)
            print(outcome(lambda: client.send_file("M.refuse", file, timeout=timeout)))  # noqa: B023
        print(outcome(lambda: client.send_file("M.refuse", MORE_THAN_BUFFERS, timeout=timeout)))  # noqa: B023
        with client.stream("M.x", timeout=timeout) as stream:
            print(b"".join(stream).decode())
    began = time.monotonic()
    print(outcome(lambda: client.call("M.hang", timeout=0.3)).partition(": ")[0])
    print("in time", time.monotonic() - began < 3)
    # Greenlets take turns: what one waits for stops no other.
    waiting = [gevent.spawn(client.call, "M.slow") for _ in range(10)]
    began = time.monotonic()
    print(sum(green.get() for green in waiting), time.monotonic() - began < 2.5)


def main(transport: str, directory: str, addr: str, ca_file: str) -> None:
    """A registry, and a client of each kind of socket."""
    settings = Settings(
        sockets_path=directory,
        specs_paths=(),
        transports=dict.fromkeys(("unix", "tcp", "https"), transport),
        retry=RetryPolicy.never(),
    )
    with new_local_registry(settings) as registry:
        print(registry.scan(), [plugin.name for plugin in registry.get_all(None)])
        calls(registry.get("p", None).client)
    options = TLSOptions(ca_file=ca_file) if addr.startswith("https:") else None
    with new_client(addr, options, settings=settings) as client:
        calls(client)


if __name__ == "__main__":
    main(*sys.argv[1:])
