"""Secrets of recorded calls are masked, and incomplete lines are dropped."""

from moby_plugins.domain.recording import RecordedBody, RecordedCall, masked_call, whole_lines

HARMLESS = RecordedBody([b'{"Name":', b'"db"}'], omitted=7)
SECRET = RecordedBody([b'{"Token":', b'"hunter2"}'], omitted=7)
MASKED = RecordedBody([b'{"Token":"***"}\n'], omitted=7)


def test_secrets_in_both_bodies_of_a_recorded_call_are_masked() -> None:
    """A request or a response may hold secrets; all other fields of the call are kept."""
    call = RecordedCall("VolumeDriver.Get", SECRET, 200, HARMLESS, at=1.5, took=0.5)
    answer = RecordedCall("VolumeDriver.Get", HARMLESS, 200, SECRET, host_left=True)

    assert masked_call(call) == RecordedCall(
        "VolumeDriver.Get", MASKED, 200, HARMLESS, at=1.5, took=0.5
    )
    assert masked_call(answer) == RecordedCall(
        "VolumeDriver.Get", HARMLESS, 200, MASKED, host_left=True
    )


def test_a_body_that_is_masked_whole_is_replaced_by_its_full_size() -> None:
    """Bytes that were not recorded count; secrets in the method and the error are masked, too."""
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


def test_an_incomplete_last_line_of_a_recording_is_dropped() -> None:
    """A recording may be read while it is still being written."""
    assert whole_lines(b"one\ntwo\nthr") == b"one\ntwo\n"
    assert whole_lines(b"one\ntwo\n") == b"one\ntwo\n"
    assert whole_lines(b"one") == b""
