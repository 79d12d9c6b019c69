"""The engine of a test does as engines do."""

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


def test_a_plugin_is_found_as_by_an_engine(engine: FakeEngine) -> None:
    """By name, with and without a tag, quoted or not, and by any beginning of its id."""
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


def test_what_is_installed_again_has_another_id(engine: FakeEngine) -> None:
    """Enabling and disabling keep it; what is not there is no plugin."""
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


def test_it_does_as_it_is_told_and_then_as_it_should(engine: FakeEngine) -> None:
    """Whatever a plugin of a test can do."""
    engine.answer_with(refused())
    with pytest.raises(TransportError):
        engine.discovery().scan()
    engine.answer_with()

    assert engine.discovery().scan() == ["shelf:latest"]


def test_several_answers_in_turn_are_a_script(engine: FakeEngine) -> None:
    """Given side by side they are refused, as only one of them would be used."""
    with pytest.raises(TypeError, match=r"takes one reply, not 2: join them by script\(\)$"):
        engine.answer_with(refused(), [])
    engine.answer_with(script(refused(), refused()))
    with pytest.raises(TransportError):
        engine.discovery().scan()


def test_it_says_what_it_has(engine: FakeEngine) -> None:
    """In a message of a test that fails."""
    assert repr(engine) == "<FakeEngine of mp/shelf:v1, shelf:latest>"
    assert repr(FakeEngine()) == "<FakeEngine of no plugins>"
