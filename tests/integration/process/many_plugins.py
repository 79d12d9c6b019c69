"""A host of many plugins with few descriptors: ``python -m … STORY TRANSPORT SPECS``."""

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from moby_plugins import Registry, RetryPolicy, Settings, new_local_registry


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def all_of_them(registry: Registry) -> None:
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


def none_left(registry: Registry) -> None:
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


STORIES: dict[str, Callable[[Registry], None]] = {"all": all_of_them, "none-left": none_left}


def main(story: str, transport: str, specs: str) -> None:
    """A registry that never tries again, with 256 descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    settings = Settings(
        sockets_path=os.path.join(specs, "none"),
        specs_paths=(specs,),
        transports=dict.fromkeys(("unix", "tcp"), transport),
        retry=RetryPolicy.never(),
    )
    with new_local_registry(settings) as registry:
        STORIES[story](registry)


if __name__ == "__main__":
    main(*sys.argv[1:])
