"""What a check is given."""

import re
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.checks import NotPassedError, Options, Session, Target
from moby_plugins.domain.address import Address
from moby_plugins.testing import FakeClock, MemoryTransport, status


def probe_of(plugin: Any) -> Session:
    """A hold on a plugin in memory."""
    clock = FakeClock()
    transport = MemoryTransport(plugin, clock=clock)
    options = Options(tag="0123abcd", timeout=2)
    return Session(Target(transport, Address("unix:///x.sock"), clock=clock, options=options))


def test_names_and_ids_are_unmistakable() -> None:
    """They say where they come from, and never come twice."""
    session = probe_of({})
    names, ids = [session.name() for _ in range(50)], [session.id() for _ in range(50)]

    assert names[0] == "moby-plugins-check-0123abcd-1"
    assert len({*names, *ids}) == 100
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in ids)
    assert all(each.endswith(b"moby-plugins-check".hex()) for each in ids)


def test_a_directory_goes_away_with_what_is_in_it() -> None:
    """It is removed when the check ends."""
    session = probe_of({})
    path = session.directory()
    (path / "file").write_text("x")

    session.close()

    assert isinstance(path, Path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("method", "answer", "error"),
    [
        ("VolumeDriver.Create", {}, ""),
        ("VolumeDriver.Create", {"Err": ""}, ""),
        ("VolumeDriver.Create", {"Err": None}, ""),
        ("VolumeDriver.Create", {"err": "no"}, "no"),
        ("VolumeDriver.Create", {"Error": "no"}, ""),
        ("VolumeDriver.Create", status(500, "no"), "no"),
        ("VolumeDriver.Create", b"no", ""),
        ("IpamDriver.RequestPool", {"Error": "no"}, "no"),
        ("IpamDriver.RequestPool", {"Err": "no"}, ""),
        ("AuthZPlugin.AuthZReq", {"Err": "no"}, ""),
        ("MetricsCollector.StartMetrics", {"Err": "no"}, ""),
        ("MetricsCollector.StartMetrics", status(500, "no"), "no"),
        ("IpamDriver.RequestPool", status(500, "no"), "no"),
    ],
)
def test_an_error_is_what_an_engine_takes_for_one(method: str, answer: Any, error: str) -> None:
    """By the subsystem's own key in a 200, by Err in any other."""
    assert probe_of({method: answer}).send(method, {}).error == error


def test_an_error_without_a_text_is_one_nonetheless() -> None:
    """The status alone decides."""
    answer = probe_of({"M.x": status(404, "")}).send("M.x")

    assert answer.error
    assert answer.text("err") == ""


@pytest.mark.parametrize("answer", [b"", b"no", [1], "x", {"Err": "no"}, status(500, "no")])
def test_a_call_is_a_success_or_a_finding(answer: Any) -> None:
    """Whatever is not an object with a status of 200 and without an error."""
    with pytest.raises(NotPassedError, match=r"^M\.x answered (200|500)"):
        probe_of({"M.x": answer}).call("M.x", {})


def test_keys_are_read_in_any_case() -> None:
    """As engines do; null is an object without keys."""
    assert probe_of({"M.x": {"VOLUME": 1}}).call("M.x") == {"volume": 1}
    assert probe_of({"M.x": b"null"}).call("M.x") == {}


def test_what_must_be_refused_may_not_succeed() -> None:
    """``refused`` is the opposite of ``call``."""
    assert probe_of({"M.x": {"Err": "no"}}).refused("M.x").error == "no"
    with pytest.raises(NotPassedError, match="answered 200"):
        probe_of({"M.x": {}}).refused("M.x")


def test_waiting_has_an_end() -> None:
    """As long as one call may take."""
    session = probe_of({})

    assert not session.until(lambda: False)
    assert session.target.clock.now() == pytest.approx(2, abs=0.1)
    assert session.until(lambda: True)
