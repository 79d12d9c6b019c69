"""Secrets in bodies that are no JSON, are broken, or are wrapped again and again."""

import json
from base64 import b64encode

from moby_plugins.domain.masking import MAX_NESTED, mask_body
from moby_plugins.domain.secret_names import MASK

CREATE = "VolumeDriver.Create"


def masked(body: bytes) -> bytes:
    """What is left of ``body``."""
    return mask_body(CREATE, body)


def test_half_of_a_surrogate_pair_beside_a_secret_stays_escaped() -> None:
    """No encoding has bytes for it."""
    assert masked(b'{"Password":"x","Name":"\\ud800"}') == (
        b'{"Password":"%b","Name":"\\ud800"}\n' % MASK.encode()
    )


def test_half_of_a_surrogate_pair_within_json_in_a_string_hides_no_secret() -> None:
    """Whether the string has it, or has its escape."""
    for half in ("\ud800", "\\ud800"):
        inside = f'{{"Password":"hunter2","Name":"{half}"}}'
        assert b"hunter2" not in masked(json.dumps({"Opts": inside}).encode())


def test_a_form_is_masked_by_its_keys() -> None:
    """As web pages send them."""
    assert masked(b"password=hunter2&name=books") == b"password=%b&name=books" % MASK.encode()


def test_a_setting_among_control_characters_keeps_its_length() -> None:
    """Frames and archives count their bytes."""
    body = b"\x00\x01password=hunter2 \x02name=books"

    assert masked(body) == b"\x00\x01password=******* \x02name=books"


def test_brackets_that_do_not_match_hide_all_that_may_hold_a_secret() -> None:
    """Where JSON ends cannot be told."""
    for body in (b'{"Password":"hunter2"],', b'[{"Name":"books"}}, "Password": "hunter2"'):
        assert masked(body) == b"*** (%d bytes)" % len(body)


def wrapped(text: str, times: int) -> str:
    """Objects within strings within objects."""
    for _ in range(times):
        text = json.dumps({"a": text})
    return text


def test_json_in_strings_in_json_is_read_so_far_and_hidden_beyond() -> None:
    """However deep it is, no secret is shown."""
    for times in range(1, 2 * MAX_NESTED):
        assert b"hunter2" not in masked(wrapped('{"Password":"hunter2"}', times).encode())
    harmless = '{"Name":"books"}'
    assert b"books" in masked(wrapped(harmless, MAX_NESTED).encode())
    assert b"books" not in masked(wrapped(harmless, MAX_NESTED + 2).encode())


def test_base64_of_base64_is_read_so_far_and_hidden_beyond() -> None:
    """However deep it is; what is no text in the end stays where it can be told to be none."""
    text = b'{"Password":"hunter2","Name":"a book of many pages"}'
    for times in range(1, 2 * MAX_NESTED):
        text = b64encode(text)
        left = masked(json.dumps({"a": text.decode()}).encode())
        assert text not in left, times


def test_a_text_that_only_looks_like_base64_is_kept() -> None:
    """No bytes have a code of so many characters."""
    body = json.dumps({"a": "A" * 21}).encode()

    assert masked(body) == body
