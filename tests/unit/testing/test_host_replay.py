"""``replay_calls`` and ``assert_replayed``: a recording's calls are sent to a plugin again."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from moby_plugins.domain.errors import RecordingError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver
from moby_plugins.testing import Request, Response, assert_replayed, replay_calls
from moby_plugins.tracing import RecordedBody, RecordedCall, Recording, masked_call, open_recording

Write = Callable[..., Path]


class Volumes(VolumeDriver):
    """Volumes in memory, all at ``root``."""

    def __init__(self, root: str = "/mnt") -> None:
        super().__init__()
        self.made: dict[str, Mapping[str, str]] = {}
        self.root = root

    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        self.made[name] = opts or {}

    def list(self) -> tuple[Volume, ...]:
        return tuple(Volume(name, f"{self.root}/{name}") for name in self.made)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a recording of these calls."""

    def to_file(*calls: RecordedCall, masked: bool = True) -> Path:
        with open_recording(tmp_path / "calls", Recording(calls, masked=masked)):
            return tmp_path / "calls"

    return to_file


def call(method: str, body: bytes, answer: bytes, at: float = 0) -> RecordedCall:
    """A call as it was recorded."""
    return RecordedCall(
        f"VolumeDriver.{method}", RecordedBody([body]), 200, RecordedBody([answer]), at=at
    )


LISTED = b'{"Volumes":[{"Name":"books","Mountpoint":"/mnt/books"}]}'


def test_a_driver_that_responds_as_recorded_passes(write: Write) -> None:
    """Calls are made in the recorded order; spaces in the JSON of a response do not matter."""
    path = write(call("List", b"{}", LISTED, at=2), call("Create", b'{"Name":"books"}', b"{ }"))

    assert_replayed(path, PluginApp(Volumes()))

    assert [each.recorded.method for each in replay_calls(path, PluginApp(Volumes()))] == [
        "VolumeDriver.Create",
        "VolumeDriver.List",
    ]


def test_a_response_that_differs_is_reported_with_its_call_and_the_difference(write: Write) -> None:
    """The message has the call's number, method and arguments, and the key whose value differs."""
    path = write(call("Create", b'{"Name":"books"}', b"{}"), call("List", b"{}", LISTED, at=1))

    with pytest.raises(AssertionError) as caught:
        assert_replayed(path, PluginApp(Volumes("/srv")))

    assert str(caught.value).splitlines() == [
        f"{path}: the responses differ",
        "call 2, VolumeDriver.List {}:",
        "  ['Volumes'][0]['Mountpoint']: expected \"/mnt/books\", got \"/srv/books\"",
    ]


def test_a_status_that_differs_from_the_recorded_one_is_reported(write: Write) -> None:
    """Here the plugin responds with 404 to a call that was recorded with 200."""
    [replayed] = replay_calls(write(call("Remove", b"{}", b"{}")), PluginApp(Volumes()))

    assert replayed.status == 404
    assert replayed.differences()[0] == "status: expected 200, got 404"


def test_a_function_can_translate_the_recorded_bodies_before_they_are_compared(
    write: Write,
) -> None:
    """A recording from another directory then fits a driver in this one."""
    path = write(call("Create", b'{"Name":"books"}', b"{}"), call("List", b"{}", LISTED, at=1))

    assert_replayed(path, PluginApp(Volumes("/srv")), lambda body: body.replace(b"/mnt", b"/srv"))


def test_masked_secrets_are_sent_as_masks_and_masked_in_responses(write: Write) -> None:
    """The driver gets ``***`` as a secret's value; secrets in its responses are not compared."""
    driver = Volumes()
    app = PluginApp(driver)
    path = write(masked_call(call("Create", b'{"Name":"x","Opts":{"token":"abc"}}', b"{}")))

    assert_replayed(path, app)

    assert driver.made["x"] == {"token": "***"}
    answers = write(masked_call(call("List", b"{}", b'{"Token":"today"}')))
    assert_replayed(answers, lambda _: Response(200, b'{"Token":"tomorrow"}'))


def test_recorded_calls_without_a_complete_response_are_not_replayed(write: Write) -> None:
    """A call that failed, or that its host gave up, has no response to compare with."""
    path = write(RecordedCall("M.a", broken="x"), RecordedCall("M.b", status=200, host_left=True))

    def never(request: Request) -> Response:
        raise AssertionError(request.method)

    assert replay_calls(path, never) == []


def test_a_call_whose_body_was_not_recorded_completely_cannot_be_replayed(write: Write) -> None:
    """A RecordingError names the method; half a request is not sent in place of the whole."""
    path = write(RecordedCall("M.a", RecordedBody((), omitted=9), 200))

    with pytest.raises(RecordingError, match=r"/calls: a body of M\.a was not recorded completely"):
        replay_calls(path, lambda _: Response(200, b""))
