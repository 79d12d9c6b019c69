"""What ``AsyncRegistry`` does beyond the tests that it shares with ``Registry``."""

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


def test_closing_the_registry_ends_every_waiting_get_and_get_all(loop: FakeTimeLoop) -> None:
    """Each raises ``WaitCancelledError`` at once; no task is left, and the clients are closed."""
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


def test_get_all_of_a_closed_registry_raises_even_if_there_are_no_plugins(
    loop: FakeTimeLoop,
) -> None:
    """An empty list would say that the host has no plugins."""
    host = TasksHost({})

    async def main() -> None:
        await host.registry.aclose()
        with pytest.raises(RuntimeError, match=r"^this registry is closed$"):
            await host.registry.get_all()

    loop.run(main())


def test_the_error_of_a_get_that_aclose_ended_has_the_plugin_and_the_seconds(
    loop: FakeTimeLoop,
) -> None:
    """The reason of the error is the same as in the synchronous registry."""
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


def test_leaving_async_with_closes_the_clients_of_active_plugins(loop: FakeTimeLoop) -> None:
    """A call of such a client then raises ``RuntimeError``."""
    host = TasksHost({"p": ACTIVE})

    async def main() -> None:
        async with host.registry as registry:
            plugin = await registry.get("p")
            assert host.closed == []
        with pytest.raises(RuntimeError, match="this client is closed"):
            await plugin.client.call("M.x")

    loop.run(main())
    assert host.closed == ["p"]


def test_an_aclose_that_is_cancelled_has_already_closed_the_clients(loop: FakeTimeLoop) -> None:
    """Only a handler's clean-up is left, which a second ``aclose`` waits for."""
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
    """Handlers may be coroutine functions, and are called as plain functions are."""

    def test_plain_and_coroutine_handlers_are_called_once_for_each_plugin(
        self, loop: FakeTimeLoop
    ) -> None:
        """Handlers run in the order of registration, and at once for an active plugin."""
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

    def test_only_the_first_caller_of_get_waits_for_the_handlers(self, loop: FakeTimeLoop) -> None:
        """The other callers get the plugin as soon as it is active."""
        host = TasksHost({"p": SLOW})

        async def timed() -> float:
            await host.registry.get("p")
            return loop.time()

        async def main() -> tuple[float, float, float]:
            await host.registry.handle("A", lambda *_: asyncio.sleep(5))
            return await asyncio.gather(timed(), timed(), timed())

        assert [*loop.run(main())] == [7.0, 2.0, 2.0]

    def test_handlers_run_on_when_the_first_caller_of_get_is_cancelled(
        self, loop: FakeTimeLoop
    ) -> None:
        """The handler is called once for the plugin, and runs to its end."""
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

    def test_a_handler_may_get_its_own_plugin_and_others(self, loop: FakeTimeLoop) -> None:
        """A handler may call ``get_all``, too, and register another handler."""
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

    def test_a_handler_may_close_the_registry(self, loop: FakeTimeLoop) -> None:
        """``aclose`` does not wait for that handler; ``get`` raises, as the client is closed."""
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
    def test_a_handler_that_fails_is_logged_and_the_others_run(
        self, loop: FakeTimeLoop, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The handler may raise any exception, before or after its first ``await``."""
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

    def test_aclose_cancels_a_running_handler_and_waits_for_it(self, loop: FakeTimeLoop) -> None:
        """The handler's clean-up has ended when ``aclose`` returns."""
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
    """One registry in several event loops: each activates for itself and shares the result."""

    def test_a_second_event_loop_finds_the_plugin_active(self) -> None:
        """``asyncio.run`` twice gives the same plugin, by one activation."""
        host = TasksHost({"p": ACTIVE})

        plugins = [asyncio.run(host.registry.get("p")) for _ in range(2)]
        asyncio.run(host.registry.aclose())

        assert plugins[0] is plugins[1]
        assert (host.made, host.closed) == (["p"], ["p"])

    def test_an_activation_of_a_loop_that_has_ended_is_begun_again_by_the_next(self) -> None:
        """The first client is closed."""
        host = TasksHost({"p": script(hangs(), ACTIVE)})

        async def leaves() -> None:
            asker = asyncio.create_task(host.registry.get("p"))
            await turns(5)
            assert not asker.done()

        asyncio.run(leaves())

        assert asyncio.run(host.registry.get("p")).name == "p"
        assert host.closed == ["p"]

    def test_two_loops_at_once_both_activate_and_share_the_first_plugin(self) -> None:
        """The client of the slower activation is closed, and the handler is called once."""
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

    def test_closing_the_registry_in_one_loop_ends_a_get_in_another(self) -> None:
        """``get`` raises in its own thread, and the client is closed."""
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

    def test_all_names_of_a_managed_plugin_give_the_same_plugin(self, loop: FakeTimeLoop) -> None:
        """A handler is called once for the plugin, and no handshake is sent."""
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

    def test_a_plugin_whose_socket_is_gone_is_looked_up_again(self, loop: FakeTimeLoop) -> None:
        """After a failed call, ``get`` finds the plugin that was installed again."""
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

    def test_get_of_a_disabled_plugin_raises_at_once(self, loop: FakeTimeLoop) -> None:
        """Waiting would not enable the plugin, so there is no retry."""
        engine = FakeEngine()
        engine.install("shelf", ("docker.volumedriver/1.0",))
        engine.disable("shelf")
        registry = self.registry(engine, {}, [])

        with pytest.raises(PluginDisabledError):
            loop.run(registry.get("shelf"))
        assert loop.time() == 0.0


def test_get_and_get_all_by_a_subsystem_class_return_typed_proxies(loop: FakeTimeLoop) -> None:
    """What is not a proxy class is refused with a ``TypeError``."""
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


def test_asynchronous_methods_have_the_parameters_of_the_synchronous_ones() -> None:
    """Names, kinds and defaults are equal, except what only threads or only tasks need."""

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


def test_lookup_returns_a_plain_plugin_and_get_one_with_a_client(loop: FakeTimeLoop) -> None:
    """The ``repr`` of the registry shows its discovery and the number of active plugins."""
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
def test_a_registry_refuses_wrong_arguments_when_it_is_made(
    wrong: dict[str, Any], why: str
) -> None:
    """The ``TypeError`` names the argument."""
    connect = AsyncMemoryTransport({}).connect
    settings: dict[str, Any] = {"discovery": MemoryDiscovery(), "connect": connect, **wrong}

    with pytest.raises(TypeError, match=why):
        AsyncRegistry(**settings)
