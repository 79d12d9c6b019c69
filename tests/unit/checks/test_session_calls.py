"""The session through which a check calls a plugin."""

import re
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.checks import NotPassedError, Options, Session, Target
from moby_plugins.domain.address import Address
from moby_plugins.testing import FakeClock, MemoryTransport, status


def probe_of(plugin: Any) -> Session:
    """A session with a plugin in memory."""
    clock = FakeClock()
    transport = MemoryTransport(plugin, clock=clock)
    options = Options(tag="0123abcd", timeout=2)
    return Session(Target(transport, Address("unix:///x.sock"), clock=clock, options=options))


def test_names_and_ids_made_for_checks_are_unique_and_recognizable() -> None:
    """Each name and id contains moby-plugins-check, the id in hexadecimal."""
    session = probe_of({})
    names, ids = [session.name() for _ in range(50)], [session.id() for _ in range(50)]

    assert names[0] == "moby-plugins-check-0123abcd-1"
    assert len({*names, *ids}) == 100
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in ids)
    assert all(each.endswith(b"moby-plugins-check".hex()) for each in ids)


def test_a_directory_made_for_a_check_is_removed_with_its_files() -> None:
    """The directory is removed when the check ends."""
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
def test_an_error_is_read_under_the_key_that_engines_read(
    method: str, answer: Any, error: str
) -> None:
    """With status 200 the key depends on the subsystem; with any other status it is Err."""
    assert probe_of({method: answer}).send(method, {}).error == error


def test_a_response_with_an_error_status_is_an_error_even_without_a_text() -> None:
    """A status such as 404 alone makes the response an error."""
    answer = probe_of({"M.x": status(404, "")}).send("M.x")

    assert answer.error
    assert answer.text("err") == ""


@pytest.mark.parametrize("answer", [b"", b"no", [1], "x", {"Err": "no"}, status(500, "no")])
def test_a_call_that_does_not_succeed_fails_the_check(answer: Any) -> None:
    """A success is a JSON object with status 200 and without an error."""
    with pytest.raises(NotPassedError, match=r"^M\.x answered (200|500)"):
        probe_of({"M.x": answer}).call("M.x", {})


def test_the_case_of_keys_in_a_response_does_not_matter() -> None:
    """Engines ignore the case of keys, too; null is read as an object without keys."""
    assert probe_of({"M.x": {"VOLUME": 1}}).call("M.x") == {"volume": 1}
    assert probe_of({"M.x": b"null"}).call("M.x") == {}


def test_a_call_that_must_be_refused_fails_the_check_if_it_succeeds() -> None:
    """``refused`` is the opposite of ``call``: it returns the plugin's error."""
    assert probe_of({"M.x": {"Err": "no"}}).refused("M.x").error == "no"
    with pytest.raises(NotPassedError, match="answered 200"):
        probe_of({"M.x": {}}).refused("M.x")


def test_waiting_for_a_condition_ends_after_the_time_out_of_one_call() -> None:
    """``until`` returns whether the condition became true."""
    session = probe_of({})

    assert not session.until(lambda: False)
    assert session.target.clock.now() == pytest.approx(2, abs=0.1)
    assert session.until(lambda: True)
