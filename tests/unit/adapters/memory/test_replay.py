"""A recording that takes the place of a plugin."""

from collections.abc import Callable
from pathlib import Path

import pytest

from moby_plugins.domain.errors import RecordingError, TransportError, WireError
from moby_plugins.domain.http import Request
from moby_plugins.domain.recording import RecordedBody, RecordedCall, Recording
from moby_plugins.testing import MemoryTransport, UnexpectedCallError, any_body
from moby_plugins.tracing import masked_call, open_recording

Play = Callable[..., MemoryTransport]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """A transport that plays these calls, written down and read again."""

    def replay(*calls: RecordedCall, match: object = None, masked: bool = True) -> MemoryTransport:
        path = tmp_path / "calls.jsonl"
        with open_recording(path, Recording(plugin="shelf", masked=masked)) as file:
            for call in calls:
                file.add(call)
        return MemoryTransport.replay(path, *(() if match is None else (match,)))

    return replay


def recorded(
    method: str, body: bytes = b"", answer: bytes = b"{}", status: int = 200, at: float = 0
) -> RecordedCall:
    """A call as it was recorded."""
    return RecordedCall(method, RecordedBody([body]), status, RecordedBody([answer]), at=at)


def answer(plugin: MemoryTransport, method: str, body: bytes = b"") -> tuple[int, bytes]:
    """What the plugin answers now."""
    response = plugin.send(Request(method, body), None)
    return response.status, b"".join(iter(lambda: response.body.read(100), b""))


def test_a_call_gets_the_response_that_was_recorded_for_it(play: Play) -> None:
    """It is found by method and body, however its JSON is written; status and body are the same."""
    plugin = play(
        recorded("M.get", b'{"Name":"a","ID":1}\n', b"[1]"),
        recorded("M.get", b'{"Name":"b","ID":1}\n', b"[2]", status=404),
        recorded("M.none", b"", b""),
    )

    assert answer(plugin, "M.get", b'{"ID": 1, "Name": "b"}') == (404, b"[2]")
    assert answer(plugin, "M.get", b'{"ID": 1, "Name": "a"}') == (200, b"[1]")
    assert answer(plugin, "M.none") == (200, b"")
    assert plugin.calls.methods == ["M.get", "M.get", "M.none"]


def test_equal_calls_get_their_responses_in_the_recorded_order(play: Play) -> None:
    """A list of volumes, for example, changes between two calls."""
    plugin = play(recorded("M.list", b"{}", b"[2]", at=2), recorded("M.list", b"{}", b"[1]", at=1))

    assert [answer(plugin, "M.list", b"{}")[1] for _ in range(2)] == [b"[1]", b"[2]"]


def test_with_any_body_calls_of_a_method_get_responses_in_order(play: Play) -> None:
    """Bodies are not compared then: they may have an ID that differs each time."""
    plugin = play(
        recorded("M.mount", b'{"ID":"a"}', b"[1]"),
        recorded("M.mount", b'{"ID":"b"}', b"[2]", at=1),
        match=any_body,
    )

    assert [answer(plugin, "M.mount", b"no JSON")[1] for _ in range(2)] == [b"[1]", b"[2]"]


def test_a_test_can_give_its_own_function_that_compares_bodies(play: Play) -> None:
    """It is called with the two bodies, and says whether they match."""
    plugin = play(recorded("M.x", b"Abc", b"[1]"), match=lambda a, b: a.lower() == b.lower())

    assert answer(plugin, "M.x", b"aBC") == (200, b"[1]")


def refusal(plugin: MemoryTransport, method: str, body: bytes = b"") -> str:
    """What the error says for a call that was not expected."""
    with pytest.raises(UnexpectedCallError) as caught:
        answer(plugin, method, body)
    return str(caught.value)


def test_another_body_is_an_error_that_shows_the_difference(play: Play) -> None:
    """It shows the nearest of the recorded calls, and where that differs."""
    plugin = play(
        recorded("M.get", b'{"Name":"x","Opts":{"a":"b"}}'),
        recorded("M.get", b'{"Name":"books","ID":"1"}'),
    )

    assert refusal(plugin, "M.get", b'{"Name":"books","ID":"2"}').splitlines() == [
        'M.get {"Name": "books", "ID": "2"} was not recorded with these arguments',
        "nearest of 2 unused calls in the recording:",
        '  {"Name": "books", "ID": "1"}',
        '    [\'ID\']: expected "1", got "2"',
    ]


def test_a_call_that_is_made_more_often_than_recorded_is_an_error(play: Play) -> None:
    """Each recorded call gives its response once."""
    plugin = play(recorded("M.list", b"{}"))
    answer(plugin, "M.list", b"{}")

    assert refusal(plugin, "M.list", b"{}") == (
        "no recorded call is left for M.list {}; recorded calls of M.list: 1"
    )


def test_a_method_that_was_not_recorded_is_an_error_that_names_those_recorded(play: Play) -> None:
    """A typing mistake must not be taken for a failing plugin."""
    assert refusal(play(recorded("M.b"), recorded("M.a")), "M.c") == (
        "M.c null was not recorded; recorded methods: M.a, M.b"
    )
    assert refusal(play(), "M.c") == "M.c null was not recorded; recorded methods: none"


def test_a_query_is_part_of_the_method(play: Play) -> None:
    """Recorded calls that differ only in their query are different calls."""
    plugin = play(recorded("M.x?id=1", answer=b"[1]"), recorded("M.x?id=2", answer=b"[2]"))

    assert answer(plugin, "M.x?id=2") == (200, b"[2]")


def test_a_masked_secret_in_a_recording_matches_any_secret(play: Play) -> None:
    """A test need not know the secret that was recorded."""
    call = recorded("M.create", b'{"Password":"hunter2"}')
    plugin = play(masked_call(call), masked_call(call))

    assert answer(plugin, "M.create", b'{"Password":"another"}') == (200, b"{}")
    assert "another" not in refusal(plugin, "M.create", b'{"Password":"another","Name":"x"}')


def test_a_secret_that_was_recorded_without_masks_must_be_the_same(play: Play) -> None:
    """Every byte of it counts, as of any other value."""
    plugin = play(recorded("M.create", b'{"Password":"hunter2"}'), masked=False)

    assert "hunter2" in refusal(plugin, "M.create", b'{"Password":"another"}')


def test_a_recorded_failure_of_the_plugin_is_replayed(play: Play) -> None:
    """A missing response is missing again, and a body breaks off after the same pieces."""
    plugin = play(
        RecordedCall("M.dead", broken="it hung up"),
        RecordedCall("M.half", status=200, answer=RecordedBody([b"a", b"b"]), broken="cut off"),
    )

    with pytest.raises(TransportError, match="it hung up"):
        answer(plugin, "M.dead")
    body = plugin.send(Request("M.half"), None).body
    assert [body.read(9), body.read(9)] == [b"a", b"b"]
    with pytest.raises(WireError, match="cut off"):
        body.read(9)


def test_a_recorded_stream_is_replayed_in_its_pieces(play: Play) -> None:
    """They are those in which it was received."""
    plugin = play(RecordedCall("M.x", status=200, answer=RecordedBody([b"a", b"bc"])))

    body = plugin.send(Request("M.x"), None).body

    assert [body.read(9), body.read(9), body.read(9)] == [b"a", b"bc", b""]


def test_a_response_that_was_recorded_in_part_is_an_error(play: Play) -> None:
    """A part of a large response must not be taken for all of it."""
    plugin = play(RecordedCall("M.x", status=200, answer=RecordedBody([b"a"], omitted=1)))

    with pytest.raises(RecordingError, match=r"the response to M\.x was too large to be recorded"):
        answer(plugin, "M.x")


def test_a_recorded_call_that_its_host_broke_off_is_not_replayed(play: Play) -> None:
    """No response to it was recorded."""
    left = refusal(play(RecordedCall("M.x", host_left=True)), "M.x")

    assert left == "no recorded call is left for M.x null; recorded calls of M.x: 1"


def test_assert_used_up_fails_if_a_recorded_call_was_not_made(play: Play) -> None:
    """So a test can demand that every recorded call is made."""
    plugin = play(recorded("M.a"), recorded("M.b", b"{}"))
    answer(plugin, "M.a")

    with pytest.raises(AssertionError, match=r"never used:\n  M\.b \{\}$"):
        plugin.assert_used_up()


def test_a_recording_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(RecordingError, match=r"nothing: cannot be read: No such file"):
        MemoryTransport.replay(tmp_path / "nothing")
