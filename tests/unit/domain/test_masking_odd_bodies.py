"""Secrets in bodies that are no JSON, are broken, or are wrapped again and again."""

import json
import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote_plus, unquote_plus

from moby_plugins.domain.masking import MAX_NESTED, mask_body, mask_method, mask_text
from moby_plugins.domain.secret_names import MASK
from tests.cases import every

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


@every(
    "token",
    [
        "eyJhbGciOiJub25lIn0.eyJhIjoxMjM0NTY3OH0.",
        *(f"gh{kind}_{'aB3' * 12}" for kind in "pousr"),
        f"glpat-{'aB3d' * 5}",
        f"dckr_pat_{'aB3' * 9}",
        f"SWMTKN-1-{'3a' * 25}-{'9z' * 12}x",
        f"SWMKEY-1-{'aB3d' * 10}",
    ],
)
def test_a_token_that_says_what_it_is_is_masked(token: str) -> None:
    """By itself and among words, in any string; many are the letters of base64, too."""
    assert mask_text(token) == "***"
    assert mask_text(f"it is {token} now") == "it is *** now"
    assert mask_text(f"X={token}") == "X=***"
    body = json.dumps([{"x": token}, f"a={token}&b=c"]).encode()
    assert json.loads(masked(body)) == [{"x": "***"}, "a=%2A%2A%2A&b=c"]
    assert mask_method(f"M.x?a=b&{token}") == "M.x?a=b&%2A%2A%2A"
    # The end of a longer word is no token.
    assert mask_text(f"no-{token} here") == f"no-{token} here"


def test_a_text_that_only_looks_like_base64_is_kept() -> None:
    """No bytes have a code of so many characters."""
    body = json.dumps({"a": "A" * 21}).encode()

    assert masked(body) == body


@every(
    ("rest", "left"),
    [
        (",", ""),
        ("", None),
        (',"a":1', ""),
        (',"a":1,', ',"a":1'),
        (',"b":{"c":[1,2', ',"b":{"c":[1]}'),
        (',"b":{"c":[1,2]', ',"b":{"c":[1,2]}'),
        (',"b":{"c":[1,2]},"d', ',"b":{"c":[1,2]}'),
        (',"b":[true,fal', ',"b":[true]'),
        (',"b":{"c":1', ',"b":{}'),
        (',"b":["x","y', ',"b":["x"]'),
        (',"b":"x,y', ""),
        (',"b":[{"c":"}]"},{"d"', ',"b":[{"c":"}]"},{}]'),
    ],
)
def test_of_what_is_cut_off_the_whole_values_are_kept(rest: str, left: str | None) -> None:
    """Beside a secret that is masked; the last one, which may go on, is left out."""
    wanted = "{}" if left is None else f'{{"Password":"***"{left}}}'

    assert masked(b'{"Password":"hunter2"' + rest.encode()).decode().strip() == wanted
    assert masked(b'\n {"Password":"hunter2"' + rest.encode()).decode().strip() == wanted
    assert masked(f'[1,{{"Password":"hunter2"{rest}'.encode()).decode().strip() == f"[1,{wanted}]"


@every(
    ("body", "left"),
    [
        ('{"a":1,"b":2,"c', None),
        ('{"a":1,"Tok', None),
        ('{"a":1,"Token":"q', '{"a":1}'),
        ('{"a":1,"b":"//x', '{"a":1}'),
        ('{"a":1,"\\u0070assword":"q', '{"a":1}'),
        ('{"a":1,"b":"' + "Zm9v" * 5, '{"a":1}'),
        ('{"a":1,"b":"' + "Zm9v" * 4, None),
    ],
)
def test_what_is_cut_off_is_kept_where_it_is_harmless(body: str, left: str | None) -> None:
    """And left out where a secret's name, an address or base64 begins."""
    assert masked(body.encode()).decode().strip() == (body if left is None else left)


@every("size", range(12))
def test_base64_need_not_be_padded(size: int) -> None:
    """Nor in one line, nor in the letters of the usual alphabet."""
    inside = f'password="hunter2" {"?" * 12}{"x" * size}'.encode()
    for encoded in (b64encode(inside), urlsafe_b64encode(inside)):
        text = encoded.decode().rstrip("=")
        lines = "\n".join(text[at : at + 20] for at in range(0, len(text), 20))
        for each in (text, f" {text} ", f"VAR={text}", f"a {lines} b"):
            left = json.loads(masked(json.dumps({"a": each}).encode()))["a"]
            assert left != each
            found = re.search(r"[A-Za-z0-9+/_-]{20,}=*", left)
            assert found is not None
            altchars = b"-_" if {*"-_"} & {*found[0]} else None
            left_inside = b64decode(found[0] + "===", altchars).strip()
            assert left_inside == inside.replace(b"hunter2", b"***")


def test_base64_that_hides_nothing_is_kept_as_it_is() -> None:
    """With its white space, and without padding."""
    text = b64encode(b'{"Name":"a book of many pages"}').decode().rstrip("=")
    for each in (f" {text} ", f"VAR={text}", f"a {text} b", text):
        body = json.dumps({"a": each}).encode()
        assert masked(body) == body


def test_base64_is_opened_so_often_and_no_more() -> None:
    """``MAX_NESTED`` times; what lies deeper is hidden if it may be a text, else kept."""
    text = b"a book of many pages, in which no name is a secret's"
    for _ in range(MAX_NESTED):
        text = b64encode(text)
    body = json.dumps({"a": text.decode()}).encode()
    assert masked(body) == body
    deeper = json.dumps({"a": b64encode(text).decode()}).encode()
    assert masked(deeper) != deeper

    noise = bytes(range(256))
    for _ in range(MAX_NESTED + 1):
        noise = b64encode(noise)
    body = json.dumps({"a": noise.decode()}).encode()
    assert masked(body) == body


@every("opened", ["{", "["])
def test_json_in_a_string_is_opened_so_often_and_no_more(opened: str) -> None:
    """An object or an array, of which nothing is shown that lies deeper."""
    text = '{"Name":"books"}' if opened == "{" else '["books"]'
    for _ in range(MAX_NESTED - 1):
        text = json.dumps([text])
    assert b"books" in masked(json.dumps({"a": text}).encode())
    assert b"books" not in masked(json.dumps({"a": json.dumps([json.dumps([text])])}).encode())


def _in_an_api_body(text: str) -> str:
    inside = b64encode(json.dumps({"Name": text}).encode()).decode()
    body = mask_body("AuthZPlugin.AuthZReq", json.dumps({"RequestBody": inside}).encode())
    return b64decode(json.loads(body)["RequestBody"]).decode()


@every(
    "shown",
    [
        mask_text,
        lambda text: unquote_plus(mask_method(f"/v1/a?filters={quote_plus(text)}")),
        lambda text: mask_body("M.x", json.dumps([text]).encode()).decode(),
        lambda text: mask_body(
            "SecretProvider.GetSecret", json.dumps({"SecretLabels": [text]}).encode()
        ).decode(),
        _in_an_api_body,
    ],
)
def test_each_door_opens_json_in_strings_equally_often(shown: Callable[[str], str]) -> None:
    """A text, a query, and the bodies of any call, of a secret and of the engine's API."""
    text = '["books"]'
    for _ in range(MAX_NESTED - 1):
        text = json.dumps([text])

    assert "books" in shown(text)
    assert "books" not in shown(json.dumps([text]))


def test_a_text_is_opened_as_often_if_it_is_broken_or_in_base64() -> None:
    """Each layer counts, of JSON or base64."""
    text = '["books on a long shelf"]'
    for _ in range(MAX_NESTED - 1):
        text = json.dumps([text])
    deeper = json.dumps([text])
    assert b"books" in mask_body("M.x", f"[{json.dumps(text)},".encode())
    assert b"books" not in mask_body("M.x", f'[{json.dumps(deeper)},{{"token":"a'.encode())

    encoded = b64encode(deeper.encode()).decode()
    assert mask_text(encoded) != encoded


def test_the_query_of_a_call_does_not_choose_its_subsystem() -> None:
    """Whatever stands in it."""
    body = b'{"SecretName":"a","Value":"aHVudGVyMg=="}'
    for method in ("SecretProvider.GetSecret?a=/b", "SecretProvider.GetSecret.More"):
        assert b"aHVudGVyMg==" not in mask_body(method, body)


def test_a_list_hides_what_follows_a_flag_or_the_name_of_a_secret() -> None:
    """The name alone hides only where it is the first of two."""
    assert masked(b'["token","x"]') == b'["token","***"]\n'
    assert masked(b'["a","token","x"]') == b'["a","token","x"]'
    assert masked(b'["a","--token","x"]') == b'["a","--token","***"]\n'
    assert masked(b'["","x"]') == b'["","x"]'


@every("body", ['{"Token":"","Name":"boo', '[["--token",""],"boo', '{"a":["--token"],"b":"boo'])
def test_of_what_is_cut_off_nothing_is_kept_behind_the_name_of_a_secret(body: str) -> None:
    """Though it was empty: more of it may have been cut off."""
    assert "boo" not in masked(body.encode()).decode()


def test_a_broken_body_that_may_hold_a_secret_is_its_whole_size() -> None:
    """With the bytes that were left out."""
    assert mask_body(CREATE, b'{"Token"}', 5) == b"*** (14 bytes)"
    assert mask_body(CREATE, b'\n {"Token"}', 5) == b"*** (16 bytes)"


def test_of_values_of_one_key_the_last_is_shown() -> None:
    """Where nothing but known values may be shown: the others may be anything."""
    body = b'{"Msg":{"a":"hunter2"},"Msg":"no"}'
    assert mask_body("AuthZPlugin.AuthZReq", body) == b'{"Msg":"no"}\n'


def test_a_label_is_a_text_that_names_a_secret() -> None:
    """Another value beside it is none, nor is a name elsewhere."""
    assert masked(b'{"name":"token","value":"x"}') == b'{"name":"token","value":"***"}\n'
    for body in (b'{"name":1,"value":"x"}', b'{"a":"token","value":"x"}', b'{"name":"b","v":"x"}'):
        assert masked(body) == body


@every("value", [1, True, None, [], {}, ["hunter2"], {"a": "hunter2"}])
def test_a_body_within_a_body_is_a_text(value: object) -> None:
    """Another value is hidden, of the same kind."""
    body = json.dumps({"RequestBody": value}).encode()
    assert b"hunter2" not in mask_body("AuthZPlugin.AuthZReq", body)
    if value != 1 and not value:
        assert mask_body("AuthZPlugin.AuthZReq", body) == body


def test_two_stars_hide_two_bytes_and_one_is_kept() -> None:
    """One byte among frames may be a coincidence."""
    assert masked(b"\x00password=ab \x01") == b"\x00password=** \x01"
    assert masked(b"\x00password=a \x01") == b"\x00password=a \x01"


def test_letters_stay_letters_beside_a_secret() -> None:
    """They are not escaped."""
    assert masked('{"Token":"x","Name":"é"}'.encode()) == '{"Token":"***","Name":"é"}\n'.encode()
