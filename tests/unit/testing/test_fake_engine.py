"""``FakeEngine`` behaves as a Docker engine that has managed plugins."""

import json

import pytest

from moby_plugins import TransportError
from moby_plugins.testing import FakeEngine, Request, refused, script


@pytest.fixture
def engine() -> FakeEngine:
    """One with two plugins."""
    engine = FakeEngine(version="1.47", root="/d")
    engine.install("shelf")
    engine.install("mp/shelf:v1", enabled=False)
    return engine


def asked(engine: FakeEngine, path: str) -> tuple[int, object]:
    """The status and the JSON of an answer in memory."""
    discovery = engine.discovery()
    transport = discovery.connect(discovery.address, None)
    response = transport.send(Request(path), None)
    return response.status, json.loads(response.body.read(1 << 20))


def test_a_plugin_is_found_by_the_names_and_ids_that_an_engine_accepts(engine: FakeEngine) -> None:
    """A name may lack its tag and may be quoted; the beginning of an id is enough."""
    listed = asked(engine, "v1.47/plugins")[1]
    assert isinstance(listed, list)
    identity = {each["Name"]: each["Id"] for each in listed}["shelf:latest"]

    names = ("shelf", "shelf:latest", "shelf%3Alatest", identity, identity[:4])
    for name in names:
        status, told = asked(engine, f"plugins/{name}/json")
        assert isinstance(told, dict)
        assert (status, told["Name"]) == (200, "shelf:latest")
    assert asked(engine, "plugins/mp%2Fshelf:v1/json")[0] == 200
    assert asked(engine, "plugins/none/json") == (404, {"message": 'plugin "none" not found'})
    assert asked(engine, "plugins//json") == (400, {"message": 'multiple plugins found for ""'})
    assert asked(engine, "containers/json")[0] == 404
    assert asked(engine, "info") == (200, {"DockerRootDir": "/d"})
    assert engine.requests[0] == "/v1.47/plugins"


def test_a_plugin_that_is_installed_again_has_another_id(engine: FakeEngine) -> None:
    """Disabling and enabling a plugin keep its id; a change of a missing plugin is a KeyError."""
    before = engine.discovery().lookup("shelf")
    engine.disable("shelf")
    engine.enable("shelf")
    assert engine.discovery().lookup("shelf") == before

    engine.remove("shelf")
    engine.install("shelf")
    assert engine.discovery().lookup("shelf").addr != before.addr
    for change in (engine.enable, engine.disable, engine.remove):
        with pytest.raises(KeyError):
            change("none")


def test_answer_with_makes_an_engine_fail_until_called_without_a_reply(engine: FakeEngine) -> None:
    """Here each request is refused at first; then the engine lists its plugins again."""
    engine.answer_with(refused())
    with pytest.raises(TransportError):
        engine.discovery().scan()
    engine.answer_with()

    assert engine.discovery().scan() == ["shelf:latest"]


def test_several_replies_of_an_engine_are_given_as_one_script(engine: FakeEngine) -> None:
    """Replies given side by side are a TypeError, as only one of them would be used."""
    with pytest.raises(TypeError, match=r"takes one reply, not 2: join them by script\(\)$"):
        engine.answer_with(refused(), [])
    engine.answer_with(script(refused(), refused()))
    with pytest.raises(TransportError):
        engine.discovery().scan()


def test_the_repr_of_an_engine_lists_its_plugins(engine: FakeEngine) -> None:
    """The message of a failed test thus shows which plugins the engine had."""
    assert repr(engine) == "<FakeEngine of mp/shelf:v1, shelf:latest>"
    assert repr(FakeEngine()) == "<FakeEngine of no plugins>"
