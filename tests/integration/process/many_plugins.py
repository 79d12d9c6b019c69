"""A host of many plugins with few descriptors: ``python -m … STORY TRANSPORT SPECS``."""

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import cast

from moby_plugins import (
    PluginError,
    Registry,
    RetryPolicy,
    Settings,
    TLSOptions,
    new_client,
    new_local_registry,
)
from moby_plugins.app.activation import ActivePlugin
from tests.integration.descriptors import descriptors, without_descriptors

# The arguments of a call that takes a while.
SLOW = {"Name": "slow"}


def all_of_them(registry: Registry, _: str) -> None:
    """Activate all, call each, and again by threads."""
    failures: list[str] = []
    active = registry.get_all(
        "VolumeDriver", on_failure=lambda _, error: failures.append(str(error))
    )
    print("active", len(active), "failed", failures[:3])
    print("open", descriptors())

    def call(number: int) -> int:
        return int(active[number].client.call("VolumeDriver.Get", {"Name": str(number)}))

    assert [call(number) for number in range(len(active))] == [1] * len(active)
    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(call, range(len(active)))) == [1] * len(active)
    print("open", descriptors())
    again = registry.get_all("VolumeDriver")
    print("again", len(again), [plugin.name for plugin in again] == [p.name for p in active])


def none_left(registry: Registry, _: str) -> None:
    """Activate all; then use all descriptors up, and call each nevertheless."""
    active = registry.get_all("VolumeDriver")
    taken: list[int] = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    before = len(taken)
    answers = [plugin.client.call("VolumeDriver.Get", {"Name": "x"}) for plugin in active]
    print("called", answers == [1] * len(active), "with", before > 0)
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    print("freed", len(taken) > before)


def opened_without_descriptors(registry: Registry, specs: str) -> None:
    """Use all descriptors up, and do each thing that opens something, over idle connections."""
    tls = TLSOptions(ca_file=os.path.join(specs, "ca.pem"))
    with new_local_registry(Settings(sockets_path=specs, specs_paths=(specs,))) as other:
        steps: dict[str, Callable[[], object]] = {
            "scan": lambda: len(registry.scan()) > 9,
            "lookup": lambda: registry.lookup("plugin-00000").name,
            "another registry's scan": lambda: len(other.scan()) > 9,
            "TLS files": lambda: new_client("https://127.0.0.1:1", tls).close(),
            "the system's roots": lambda: new_client("https://127.0.0.1:1").close(),
            "a name": lambda: refusal("tcp://localhost:1"),
            "a name under TLS": lambda: refusal("https://localhost:1"),
            "get": lambda: got_again(registry, "plugin-00001"),
        }
        for loaded in steps.values():
            loaded()  # what is imported at its first use is imported
        for name, step in steps.items():
            active = registry.get_all("VolumeDriver")
            for plugin in active:
                plugin.client.call("VolumeDriver.Get", {"Name": "x"})
            with without_descriptors():
                try:
                    print(name, step())
                except PluginError as error:
                    print(name, error)


def first_use(registry: Registry, specs: str) -> None:
    """Use all descriptors up, and do what imports modules at first use, over idle connections."""
    tls = TLSOptions(ca_file=os.path.join(specs, "ca.pem"))
    settings = Settings(sockets_path=specs, specs_paths=(specs,))
    active = registry.get_all("VolumeDriver")
    client = active[0].client
    steps: dict[str, Callable[[], object]] = {
        "a type": lambda: client.call("VolumeDriver.Get", into=cast("type[object]", int | None)),
        "TLS": lambda: new_client("https://127.0.0.1:1", tls).close(),
        "another registry": lambda: len(new_local_registry(settings).scan()) > 9,
    }
    for name, step in steps.items():
        for plugin in active:
            plugin.client.call("VolumeDriver.Get", {"Name": "x"})
        with without_descriptors():
            try:
                print(name, step())
            except Exception as error:  # whatever it is, it is printed
                print(name, repr(error))


def at_once(registry: Registry, specs: str, transport: str = "auto") -> None:
    """Call more plugins at once than there are descriptors, by threads and by tasks."""
    import asyncio  # here, as it loads what the other stories load at first use

    from moby_plugins import aio

    active = registry.get_all("VolumeDriver")
    ready = Barrier(len(active))

    def call(plugin: ActivePlugin) -> object:
        ready.wait()
        return plugin.client.call("VolumeDriver.Get", SLOW)

    with ThreadPoolExecutor(len(active)) as threads:
        print("threads", [*threads.map(call, active)] == [1] * len(active))

    async def call_all() -> list[object]:
        async with aio.new_local_registry(settings_of(transport, specs)) as plugins:
            found = await plugins.get_all("VolumeDriver")
            calls = (plugin.client.call("VolumeDriver.Get", SLOW) for plugin in found)
            answers: list[object] = await asyncio.gather(*calls)
            return answers

    registry.close()
    print("tasks", asyncio.run(call_all()) == [1] * len(active))


def got_again(registry: Registry, name: str) -> str:
    """Activate a plugin that is active."""
    registry.invalidate(name)
    return registry.get(name).name


def refusal(addr: str) -> str:
    """Why nothing can be called there."""
    with new_client(addr, settings=Settings(retry=RetryPolicy.never())) as client:
        try:
            client.call("M.x")
        except PluginError as error:
            return str(error)
    return "it was called"


STORIES: dict[str, Callable[[Registry, str], None]] = {
    "all": all_of_them,
    "none-left": none_left,
    "opened": opened_without_descriptors,
    "first-use": first_use,
    "at-once": at_once,
}


def main(story: str, transport: str, specs: str) -> None:
    """A registry that never tries again, with 256 descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    with new_local_registry(settings_of(transport, specs)) as registry:
        STORIES[story](registry, specs)


def settings_of(transport: str, specs: str) -> Settings:
    """Settings for the plugins of ``specs``, which never try again."""
    return Settings(
        sockets_path=os.path.join(specs, "none"),
        specs_paths=(specs,),
        transports=dict.fromkeys(("unix", "tcp"), transport),
        retry=RetryPolicy.never(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
