"""A recording that plays a host's part."""

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


def test_a_driver_that_answers_as_recorded_passes(write: Write) -> None:
    """The calls are made in their order, however the JSON of the answers is written."""
    path = write(call("List", b"{}", LISTED, at=2), call("Create", b'{"Name":"books"}', b"{ }"))

    assert_replayed(path, PluginApp(Volumes()))

    assert [each.recorded.method for each in replay_calls(path, PluginApp(Volumes()))] == [
        "VolumeDriver.Create",
        "VolumeDriver.List",
    ]


def test_another_response_is_named_with_its_difference(write: Write) -> None:
    """Which call, what it asked, and where the answer is another."""
    path = write(call("Create", b'{"Name":"books"}', b"{}"), call("List", b"{}", LISTED, at=1))

    with pytest.raises(AssertionError) as caught:
        assert_replayed(path, PluginApp(Volumes("/srv")))

    assert str(caught.value).splitlines() == [
        f"{path}: the responses differ",
        "call 2, VolumeDriver.List {}:",
        "  ['Volumes'][0]['Mountpoint']: expected \"/mnt/books\", got \"/srv/books\"",
    ]


def test_another_status_is_a_difference(write: Write) -> None:
    """So is an error where there was none."""
    [replayed] = replay_calls(write(call("Remove", b"{}", b"{}")), PluginApp(Volumes()))

    assert replayed.status == 404
    assert replayed.differences()[0] == "status: expected 200, got 404"


def test_bodies_can_be_translated(write: Write) -> None:
    """What was recorded in another directory is compared with this one."""
    path = write(call("Create", b'{"Name":"books"}', b"{}"), call("List", b"{}", LISTED, at=1))

    assert_replayed(path, PluginApp(Volumes("/srv")), lambda body: body.replace(b"/mnt", b"/srv"))


def test_masked_secrets_are_sent_as_masks_and_masked_in_responses(write: Write) -> None:
    """The driver sees that there was one; its answers are compared without theirs."""
    driver = Volumes()
    app = PluginApp(driver)
    path = write(masked_call(call("Create", b'{"Name":"x","Opts":{"token":"abc"}}', b"{}")))

    assert_replayed(path, app)

    assert driver.made["x"] == {"token": "***"}
    answers = write(masked_call(call("List", b"{}", b'{"Token":"today"}')))
    assert_replayed(answers, lambda _: Response(200, b'{"Token":"tomorrow"}'))


def test_what_was_not_answered_is_not_asked_again(write: Write) -> None:
    """Nor what the host gave up: there is nothing to compare."""
    path = write(RecordedCall("M.a", broken="x"), RecordedCall("M.b", status=200, host_left=True))

    def never(request: Request) -> Response:
        raise AssertionError(request.method)

    assert replay_calls(path, never) == []


def test_a_body_that_was_not_kept_is_an_error(write: Write) -> None:
    """Half a request is not sent for a whole one."""
    path = write(RecordedCall("M.a", RecordedBody((), omitted=9), 200))

    with pytest.raises(RecordingError, match=r"/calls: a body of M\.a was not recorded completely"):
        replay_calls(path, lambda _: Response(200, b""))
