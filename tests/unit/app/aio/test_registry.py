"""What a registry of tasks does beyond the table that it shares with that of threads."""

import asyncio
import inspect
import threading
from typing import Any

import pytest

from moby_plugins import Client, EngineDiscovery, PluginDisabledError, Registry, WaitCancelledError
from moby_plugins.aio import (
    AsyncClient,
    AsyncRegistry,
    AsyncVolumeDriver,
    new_client,
    new_local_registry,
)
from moby_plugins.app import config
from moby_plugins.app.aio import lead
from moby_plugins.domain.plugin import Plugin
from moby_plugins.testing import (
    AsyncMemoryTransport,
    FakeEngine,
    FakeTimeLoop,
    MemoryDiscovery,
    hangs,
    missing_socket,
    script,
)
from tests.unit.app.aio.in_tasks import ACTIVE, TasksHost, others, turns

SLOW = hangs(2, then=ACTIVE)


def test_what_waits_ends_when_it_is_closed(loop: FakeTimeLoop) -> None:
    """Each that waits gets the error at once; the tasks have ended, the clients are closed."""
    host = TasksHost({"p": hangs(), "q": hangs()})

    async def main() -> None:
        calls = [host.registry.get("p"), host.registry.get("p"), host.registry.get_all()]
        tasks = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(1)
        await host.registry.aclose()
        assert sorted(host.closed) == ["p", "q"]
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(error, WaitCancelledError)
            assert str(error).startswith("this registry is closed")
        assert (others(), loop.time()) == ([], 1.0)
        with pytest.raises(RuntimeError, match=r"^this registry is closed$"):
            await host.registry.get("p")
        await host.registry.aclose()

    loop.run(main())


def test_the_error_of_what_waited_says_how_long(loop: FakeTimeLoop) -> None:
    """Its text is that of the synchronous one, and names the plugin."""
    host = TasksHost()

    async def main() -> WaitCancelledError:
        task = asyncio.create_task(host.registry.get("p"))
        await asyncio.sleep(2)
        await host.registry.aclose()
        with pytest.raises(WaitCancelledError) as caught:
            await task
        return caught.value

    error = loop.run(main())
    assert (error.reason, error.plugin, error.elapsed) == ("this registry is closed", "p", 2.0)


def test_leaving_the_block_closes_it(loop: FakeTimeLoop) -> None:
    """``async with`` closes the clients of what is active."""
    host = TasksHost({"p": ACTIVE})

    async def main() -> None:
        async with host.registry as registry:
            plugin = await registry.get("p")
            assert host.closed == []
        with pytest.raises(RuntimeError, match="this client is closed"):
            await plugin.client.call("M.x")

    loop.run(main())
    assert host.closed == ["p"]


def test_a_closing_that_is_cancelled_has_ended_the_leads(loop: FakeTimeLoop) -> None:
    """What is left to wait for is a handler that takes its time to clean up."""
    host = TasksHost({"p": ACTIVE})

    async def slow(*_: object) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(5)

    async def main() -> None:
        await host.registry.handle("A", slow)
        asker = asyncio.create_task(host.registry.get("p"))
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await host.registry.aclose()
        assert host.closed == ["p"]
        await host.registry.aclose()
        with pytest.raises(WaitCancelledError):
            await asker
        assert (loop.time(), others()) == (6.0, [])

    loop.run(main())


class TestHandlers:
    """Handlers may be coroutine functions, and are met as the synchronous ones are."""

    def test_both_kinds_meet_each_plugin_once(self, loop: FakeTimeLoop) -> None:
        """In the order in which they came; at once where it is active already."""
        host = TasksHost({"p": ACTIVE, "q": ACTIVE})
        met: list[str] = []

        async def awaited(name: str, client: AsyncClient) -> None:
            assert await client.call("M.x") == "hello"
            await asyncio.sleep(1)
            met.append(f"awaited {name}")

        async def main() -> None:
            await host.registry.get("p")
            await host.registry.handle("A", awaited)
            assert (met, loop.time()) == (["awaited p"], 1.0)
            await host.registry.handle("A", lambda name, _: met.append(f"plain {name}"))
            await host.registry.get("q")
            await host.registry.get("q")

        loop.run(main())
        assert met == ["awaited p", "plain p", "awaited q", "plain q"]

    def test_the_one_that_began_waits_for_them_and_no_other(self, loop: FakeTimeLoop) -> None:
        """The others have the plugin once it is active."""
        host = TasksHost({"p": SLOW})

        async def timed() -> float:
            await host.registry.get("p")
            return loop.time()

        async def main() -> tuple[float, float, float]:
            await host.registry.handle("A", lambda *_: asyncio.sleep(5))
            return await asyncio.gather(timed(), timed(), timed())

        assert [*loop.run(main())] == [7.0, 2.0, 2.0]

    def test_they_run_on_where_the_one_that_began_has_left(self, loop: FakeTimeLoop) -> None:
        """Each plugin is met once, and wholly."""
        host = TasksHost({"p": ACTIVE})
        met: list[str] = []

        async def slow(name: str, _: AsyncClient) -> None:
            await asyncio.sleep(5)
            met.append(name)

        async def main() -> None:
            await host.registry.handle("A", slow)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await host.registry.get("p")
            assert (await host.registry.get("p")).name == "p"
            await asyncio.sleep(10)

        loop.run(main())
        assert met == ["p"]

    def test_one_may_ask_for_its_own_plugin_and_for_others(self, loop: FakeTimeLoop) -> None:
        """And for all of them, and register another."""
        host = TasksHost({"p": ACTIVE, "q": ["B"]})
        met: list[Any] = []

        async def asks(name: str, _: AsyncClient) -> None:
            own = await host.registry.get(name)
            other = await host.registry.get("q")
            everything = await host.registry.get_all("A")
            met.append((own.name, other.name, [plugin.name for plugin in everything]))
            await host.registry.handle("A", lambda name, _: met.append(name))

        async def main() -> None:
            await host.registry.handle("A", asks)
            await host.registry.get("p")

        loop.run(main())
        assert met == [("p", "q", ["p"]), "p"]

    def test_one_may_close_the_registry(self, loop: FakeTimeLoop) -> None:
        """It does not wait for itself; who asked is told, since the plugin's client is closed."""
        host = TasksHost({"p": ACTIVE})

        async def main() -> None:
            await host.registry.handle("A", lambda *_: host.registry.aclose())
            with pytest.raises(WaitCancelledError, match=r"^this registry is closed"):
                await host.registry.get("p")
            with pytest.raises(RuntimeError):
                await host.registry.get("p")

        loop.run(main())

    @pytest.mark.parametrize(
        "error", [ZeroDivisionError("mine"), SystemExit("mine"), asyncio.CancelledError("mine")]
    )
    def test_one_that_fails_is_logged_and_the_others_run(
        self, loop: FakeTimeLoop, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever it raises, before it waits or afterwards."""
        host = TasksHost({"p": ACTIVE, "q": ACTIVE})
        met: list[str] = []

        def fails(*_: object) -> None:
            raise error

        async def fails_later(*_: object) -> None:
            await asyncio.sleep(1)
            raise error

        async def main() -> None:
            await host.registry.get("q")
            for handler in (fails, fails_later, lambda name, _: met.append(name)):
                await host.registry.handle("A", handler)
            await host.registry.get("p")

        loop.run(main())
        assert met == ["q", "p"]
        assert caplog.text.count("failed for plugin") == 4

    def test_what_they_wait_for_ends_when_it_is_closed(self, loop: FakeTimeLoop) -> None:
        """A handler of a plugin that was activated is cancelled, and waited for."""
        host = TasksHost({"p": ACTIVE})
        ended: list[float] = []

        async def hanging(*_: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(1)
                ended.append(loop.time())

        async def main() -> None:
            await host.registry.handle("A", hanging)
            asker = asyncio.create_task(host.registry.get("p"))
            await asyncio.sleep(1)
            await host.registry.aclose()
            assert ended == [2.0]
            with pytest.raises(WaitCancelledError):
                await asker

        loop.run(main())


class TestLoops:
    """One registry in several loops: each leads for itself, and what is active is shared."""

    def test_one_after_the_other(self) -> None:
        """``asyncio.run`` twice: the second finds the plugin active."""
        host = TasksHost({"p": ACTIVE})

        plugins = [asyncio.run(host.registry.get("p")) for _ in range(2)]
        asyncio.run(host.registry.aclose())

        assert plugins[0] is plugins[1]
        assert (host.made, host.closed) == (["p"], ["p"])

    def test_one_that_was_left_in_the_middle(self) -> None:
        """What a loop that has ended was activating is begun again by the next."""
        host = TasksHost({"p": script(hangs(), ACTIVE)})

        async def leaves() -> None:
            asker = asyncio.create_task(host.registry.get("p"))
            await turns(5)
            assert not asker.done()

        asyncio.run(leaves())

        assert asyncio.run(host.registry.get("p")).name == "p"
        assert host.closed == ["p"]

    def test_two_at_once(self) -> None:
        """Both lead, the first to end is shared; the client of the other is closed."""
        began = threading.Barrier(2)

        def reply(_: object) -> Any:
            began.wait(10)
            return ACTIVE

        host = TasksHost({"p": reply})
        met: list[str] = []
        found: list[Any] = []
        asyncio.run(host.registry.handle("A", lambda name, _: met.append(name)))
        threads = [
            threading.Thread(target=lambda: found.append(asyncio.run(host.registry.get("p"))))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert found[0] is found[1]
        assert (host.made, host.closed, met) == (["p", "p"], ["p"], ["p"])
        assert asyncio.run(found[0].client.call("M.x")) == "hello"

    def test_one_that_is_closed_by_another(self) -> None:
        """What waits in any loop ends, in its own thread."""
        host = TasksHost({"p": hangs()})
        began = threading.Event()
        errors: list[BaseException] = []

        async def asks() -> None:
            asyncio.get_running_loop().call_later(0, began.set)
            try:
                await host.registry.get("p")
            except WaitCancelledError as error:
                errors.append(error)

        thread = threading.Thread(target=lambda: asyncio.run(asks()))
        thread.start()
        assert began.wait(10)
        asyncio.run(host.registry.aclose())
        thread.join(10)

        assert [str(error)[:23] for error in errors] == ["this registry is closed"]
        assert host.closed == ["p"]


class TestManaged:
    """Plugins of an engine: several names, one client, looked up again once the socket is gone."""

    @staticmethod
    def registry(engine: FakeEngine, plugins: dict[str, Any], made: list[str]) -> AsyncRegistry:
        """A registry of an engine's plugins, by their addresses."""

        def connect(address: Any, _: Any, /) -> AsyncMemoryTransport:
            made.append(address.text)
            table = plugins.get(address.text, missing_socket())
            return AsyncMemoryTransport(table, addr=address.text)

        return AsyncRegistry(discovery=engine.discovery(), connect=connect)

    def test_all_names_are_one_plugin(self, loop: FakeTimeLoop) -> None:
        """It is met once, and asked for nothing."""
        engine = FakeEngine()
        identity = engine.install("shelf", ("docker.volumedriver/1.0",))
        made: list[str] = []
        met: list[str] = []
        registry = self.registry(engine, {}, made)

        async def main() -> None:
            await registry.handle("VolumeDriver", lambda name, _: met.append(name))
            names = ["shelf", "shelf:latest", identity]
            plugins = [await registry.get(name, "VolumeDriver") for name in names]
            assert plugins[0] is plugins[1] is plugins[2]
            everything = await registry.get_all("VolumeDriver")
            assert everything == [plugins[0]]
            await registry.aclose()

        loop.run(main())
        assert (len(made), met) == (1, ["shelf:latest"])

    def test_one_whose_socket_is_gone_is_looked_up_again(self, loop: FakeTimeLoop) -> None:
        """It was installed again: the next ``get`` finds the new one."""
        engine = FakeEngine()
        engine.install("shelf", ("docker.volumedriver/1.0",))
        made: list[str] = []
        registry = self.registry(engine, {}, made)

        async def main() -> None:
            old = await registry.get("shelf")
            engine.remove("shelf")
            engine.install("shelf", ("docker.volumedriver/1.0",))
            assert await registry.get("shelf") is old
            with pytest.raises(Exception, match="no socket there"):
                await old.client.call("VolumeDriver.List")
            new = await registry.get("shelf")
            assert new is not old
            await registry.aclose()

        loop.run(main())
        assert len({*made}) == 2

    def test_one_that_is_disabled_is_told_at_once(self, loop: FakeTimeLoop) -> None:
        """There is no use in waiting."""
        engine = FakeEngine()
        engine.install("shelf", ("docker.volumedriver/1.0",))
        engine.disable("shelf")
        registry = self.registry(engine, {}, [])

        with pytest.raises(PluginDisabledError):
            loop.run(registry.get("shelf"))
        assert loop.time() == 0.0


def test_a_class_gives_a_typed_proxy(loop: FakeTimeLoop) -> None:
    """Of ``get``, and of ``get_all``; a class that is none is refused."""
    table = {
        "Plugin.Activate": {"Implements": ["VolumeDriver"]},
        "VolumeDriver.List": {"Volumes": [{"Name": "books"}]},
    }
    host = TasksHost({"p": table})

    class Shelf(AsyncVolumeDriver):
        async def list(self) -> Any:
            raise NotImplementedError

    async def main() -> None:
        proxy = await host.registry.get("p", AsyncVolumeDriver)
        assert [volume.name for volume in await proxy.list()] == ["books"]
        [again] = await host.registry.get_all(AsyncVolumeDriver)
        assert again.client is proxy.client
        for wrong, why in [(Shelf, "plugin's implementation"), (int, "AsyncVolumeDriver")]:
            with pytest.raises(TypeError, match=why):
                await host.registry.get("p", wrong)
            with pytest.raises(TypeError, match=why):
                await host.registry.get_all(wrong)

    loop.run(main())


def test_arguments_are_those_of_the_synchronous_ones() -> None:
    """Names, kinds and defaults of parameters; but what only threads, or only tasks, need."""

    def parameters(function: Any) -> dict[str, tuple[Any, Any]]:
        found = inspect.signature(function).parameters.values()
        return {each.name: (each.kind, each.default) for each in found}

    def public(kind: type) -> dict[str, Any]:
        members = inspect.getmembers(kind, inspect.isfunction)
        return {name: member for name, member in members if not name.startswith("_")}

    assert {*public(AsyncClient)} == {*public(Client)} - {"begin"}
    assert {*public(AsyncRegistry)} == {*public(Registry)} - {"close"} | {"aclose"}
    pairs = [(public(Client)[name], made) for name, made in public(AsyncClient).items()]
    pairs += [
        (public(Registry)["close" if name == "aclose" else name], made)
        for name, made in public(AsyncRegistry).items()
    ]
    pairs += [(Client, AsyncClient), (Registry, AsyncRegistry)]
    pairs += [(config.new_client, new_client), (config.new_local_registry, new_local_registry)]
    for plain, made in pairs:
        threads_only = {"cancel", "clock", "pending", "prompt_schemes", "selector"}
        expected = {k: v for k, v in parameters(plain).items() if k not in threads_only}
        actual = {k: v for k, v in parameters(made).items() if k in expected or k != "connect"}
        assert actual == expected, made


def test_a_plugin_that_is_found_is_what_it_says(loop: FakeTimeLoop) -> None:
    """``lookup`` gives a plain plugin, and ``get`` one with a client; both have a short repr."""
    host = TasksHost({"p": ACTIVE})

    async def main() -> None:
        assert type(await host.registry.lookup("p")) is Plugin
        assert type(await host.registry.get("p")) is lead.AsyncActivePlugin

    loop.run(main())
    assert repr(host.registry).startswith("<AsyncRegistry of MemoryDiscovery('p'): 1 active; ")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"discovery": EngineDiscovery}, "discovery must be an object with scan"),
        ({"connect": 5}, "connect must be a function"),
        ({"retry": 5}, "retry must be a RetryPolicy"),
        ({"max_response_bytes": "0"}, "max_response_bytes"),
    ],
)
def test_wrong_arguments_are_told(wrong: dict[str, Any], why: str) -> None:
    """Before anything is looked for."""
    connect = AsyncMemoryTransport({}).connect
    settings: dict[str, Any] = {"discovery": MemoryDiscovery(), "connect": connect, **wrong}

    with pytest.raises(TypeError, match=why):
        AsyncRegistry(**settings)
