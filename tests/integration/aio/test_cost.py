"""What a call on asyncio costs, counted in what does not depend on the machine.

As ``tests/integration/host/test_cost.py`` counts it for threads: times are measured by ``make
bench``, which pairs the call with the synchronous one.
"""

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import moby_plugins
from moby_plugins.aio import AsyncClient, new_client
from tests.dummy_plugin import DummyPlugin, keeps_answering
from tests.integration.loops import LoopFactory

OURS = str(Path(moby_plugins.__file__).parent)
CALLS = 20
# Functions of ours that begin, or go on after a wait, for one call over a connection that is open.
MOST = 50
# What is made for other attempts than the first, for answers that are not all there, and for
# responses that are no success.
FOR_OTHERS = {"retry", "delay_after", "pause", "Tries.__init__", "read_limited", "refuse"}


@frozen
class Mounted:
    """The JSON of a response to VolumeDriver.Mount."""

    mountpoint: str
    err: str = ""


async def counted(client: AsyncClient) -> Counter[str]:
    """The functions of ours for ``CALLS`` calls, by their names."""
    seen: Counter[str] = Counter()

    def count(frame: Any, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS):
            seen[code.co_qualname] += 1

    async def call() -> None:
        await client.call("VolumeDriver.Mount", {"Name": "books"}, Mounted)

    for _ in range(3):
        await call()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for _ in range(CALLS):
            await call()
    finally:
        sys.setprofile(before)
    return seen


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_a_call_runs_no_code_that_it_does_not_need(
    timeout: float | None, short_path: Path, new_loop: LoopFactory
) -> None:
    """A call takes at most 50 function calls, and none for retries or for bodies in parts."""
    answer = keeps_answering(b'{"Mountpoint":"/mnt/books","Err":""}')

    async def main() -> Counter[str]:
        async with new_client(plugin.addr, timeout=timeout) as client:
            return await counted(client)

    with (
        DummyPlugin.on_unix(short_path / "p.sock", answer) as plugin,
        asyncio.Runner(loop_factory=new_loop) as runner,
    ):
        seen = runner.run(main())

    assert 10 < seen.total() / CALLS <= MOST
    assert not FOR_OTHERS & set(seen)
