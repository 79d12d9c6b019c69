"""What is left of a recorded call without its secrets."""

from moby_plugins.domain.recording import RecordedBody, RecordedCall, masked_call, whole_lines

HARMLESS = RecordedBody([b'{"Name":', b'"db"}'], omitted=7)
SECRET = RecordedBody([b'{"Token":', b'"hunter2"}'], omitted=7)
MASKED = RecordedBody([b'{"Token":"***"}\n'], omitted=7)


def test_both_bodies_of_a_call_are_masked() -> None:
    """Plugins are told secrets, and tell some; all else about the call is kept."""
    call = RecordedCall("VolumeDriver.Get", SECRET, 200, HARMLESS, at=1.5, took=0.5)
    answer = RecordedCall("VolumeDriver.Get", HARMLESS, 200, SECRET, host_left=True)

    assert masked_call(call) == RecordedCall(
        "VolumeDriver.Get", MASKED, 200, HARMLESS, at=1.5, took=0.5
    )
    assert masked_call(answer) == RecordedCall(
        "VolumeDriver.Get", HARMLESS, 200, MASKED, host_left=True
    )


def test_a_body_that_is_masked_whole_says_its_whole_size() -> None:
    """With the bytes that were not recorded; a method and a broken end have no secrets either."""
    cut_off = RecordedCall(
        "AuthZPlugin.AuthZReq?token=hunter2",
        RecordedBody([b'{"User":"eve'], omitted=7),
        broken="no https://eve:hunter2@h",
    )

    assert masked_call(cut_off) == RecordedCall(
        "AuthZPlugin.AuthZReq?token=***",
        RecordedBody([b"*** (19 bytes)"], omitted=7),
        broken="no https://***@h",
    )


def test_a_line_without_its_end_is_left_out() -> None:
    """A recording may be read while it is written."""
    assert whole_lines(b"one\ntwo\nthr") == b"one\ntwo\n"
    assert whole_lines(b"one\ntwo\n") == b"one\ntwo\n"
    assert whole_lines(b"one") == b""
