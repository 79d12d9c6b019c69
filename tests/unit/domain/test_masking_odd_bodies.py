"""Secrets are masked in bodies that are not JSON, are broken, or are nested in strings."""

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
    """Half of a pair cannot be encoded, so the masked JSON keeps its escape."""
    assert masked(b'{"Password":"x","Name":"\\ud800"}') == (
        b'{"Password":"%b","Name":"\\ud800"}\n' % MASK.encode()
    )


def test_a_secret_beside_half_a_surrogate_pair_in_nested_json_is_masked() -> None:
    """The string may have half of the pair itself, or its escape."""
    for half in ("\ud800", "\\ud800"):
        inside = f'{{"Password":"hunter2","Name":"{half}"}}'
        assert b"hunter2" not in masked(json.dumps({"Opts": inside}).encode())


def test_a_url_encoded_form_is_masked_by_its_keys() -> None:
    """In password=x&name=books, as web pages send it, only the password is masked."""
    assert masked(b"password=hunter2&name=books") == b"password=%b&name=books" % MASK.encode()


def test_a_secret_among_control_characters_is_replaced_by_as_many_stars() -> None:
    """The body may be a frame or an archive, whose length must not change."""
    body = b"\x00\x01password=hunter2 \x02name=books"

    assert masked(body) == b"\x00\x01password=******* \x02name=books"


def test_json_with_mismatched_brackets_is_masked_whole_if_it_may_hold_a_secret() -> None:
    """Where the JSON ends is unknown, so only the size of the body is shown."""
    for body in (b'{"Password":"hunter2"],', b'[{"Name":"books"}}, "Password": "hunter2"'):
        assert masked(body) == b"*** (%d bytes)" % len(body)


def wrapped(text: str, times: int) -> str:
    """Objects within strings within objects."""
    for _ in range(times):
        text = json.dumps({"a": text})
    return text


def test_json_nested_in_strings_is_masked_inside_to_a_limit_and_whole_beyond() -> None:
    """No secret is shown at any depth, and harmless values up to the limit are."""
    for times in range(1, 2 * MAX_NESTED):
        assert b"hunter2" not in masked(wrapped('{"Password":"hunter2"}', times).encode())
    harmless = '{"Name":"books"}'
    assert b"books" in masked(wrapped(harmless, MAX_NESTED).encode())
    assert b"books" not in masked(wrapped(harmless, MAX_NESTED + 2).encode())


def test_a_secret_in_nested_base64_is_masked_at_any_depth() -> None:
    """Base64 is decoded up to a limit; printable text that is nested deeper is masked whole."""
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
def test_a_token_with_a_known_prefix_is_masked(token: str) -> None:
    """Such a token is masked alone and among words, even if it looks like base64."""
    assert mask_text(token) == "***"
    assert mask_text(f"it is {token} now") == "it is *** now"
    assert mask_text(f"X={token}") == "X=***"
    body = json.dumps([{"x": token}, f"a={token}&b=c"]).encode()
    assert json.loads(masked(body)) == [{"x": "***"}, "a=%2A%2A%2A&b=c"]
    assert mask_method(f"M.x?a=b&{token}") == "M.x?a=b&%2A%2A%2A"
    # The end of a longer word is no token.
    assert mask_text(f"no-{token} here") == f"no-{token} here"


def test_a_text_that_only_looks_like_base64_is_kept() -> None:
    """Base64 never has 21 characters, so these are neither decoded nor masked."""
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
def test_a_cut_off_body_with_a_secret_keeps_its_complete_values(
    rest: str, left: str | None
) -> None:
    """The secret is masked; the last value, which may be incomplete, is dropped."""
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
def test_the_incomplete_end_of_a_cut_off_body_is_kept_if_harmless(
    body: str, left: str | None
) -> None:
    """The end is dropped where the name of a secret, an address or base64 may begin."""
    assert masked(body.encode()).decode().strip() == (body if left is None else left)


@every("size", range(12))
def test_a_secret_in_base64_is_masked_without_padding_and_over_several_lines(size: int) -> None:
    """The alphabet for URLs, with - and _, is decoded as well."""
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


def test_base64_without_a_secret_is_not_changed() -> None:
    """White space around the base64 is kept, and no padding is added."""
    text = b64encode(b'{"Name":"a book of many pages"}').decode().rstrip("=")
    for each in (f" {text} ", f"VAR={text}", f"a {text} b", text):
        body = json.dumps({"a": each}).encode()
        assert masked(body) == body


def test_nested_base64_is_decoded_up_to_a_limit() -> None:
    """Beyond MAX_NESTED layers, base64 of printable text is masked, and of other bytes kept."""
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
def test_json_nested_in_strings_is_parsed_up_to_a_limit(opened: str) -> None:
    """Objects and arrays beyond MAX_NESTED layers are masked whole."""
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
def test_json_nested_in_strings_has_the_same_limit_in_every_kind_of_text(
    shown: Callable[[str], str],
) -> None:
    """Texts, queries, bodies of calls and bodies of the engine's API share MAX_NESTED."""
    text = '["books"]'
    for _ in range(MAX_NESTED - 1):
        text = json.dumps([text])

    assert "books" in shown(text)
    assert "books" not in shown(json.dumps([text]))


def test_the_limit_of_nested_strings_applies_to_broken_json_and_base64_too() -> None:
    """Each layer of JSON or base64 counts, even if the outer JSON is cut off."""
    text = '["books on a long shelf"]'
    for _ in range(MAX_NESTED - 1):
        text = json.dumps([text])
    deeper = json.dumps([text])
    assert b"books" in mask_body("M.x", f"[{json.dumps(text)},".encode())
    assert b"books" not in mask_body("M.x", f'[{json.dumps(deeper)},{{"token":"a'.encode())

    encoded = b64encode(deeper.encode()).decode()
    assert mask_text(encoded) != encoded


def test_the_query_of_a_method_does_not_change_its_subsystem() -> None:
    """A body of GetSecret is masked even if ?a=/b or .More follows the method's name."""
    body = b'{"SecretName":"a","Value":"aHVudGVyMg=="}'
    for method in ("SecretProvider.GetSecret?a=/b", "SecretProvider.GetSecret.More"):
        assert b"aHVudGVyMg==" not in mask_body(method, body)


def test_a_list_item_after_a_secret_flag_or_name_is_masked() -> None:
    """After a flag such as --token it always is, after a plain name only in a list of two."""
    assert masked(b'["token","x"]') == b'["token","***"]\n'
    assert masked(b'["a","token","x"]') == b'["a","token","x"]'
    assert masked(b'["a","--token","x"]') == b'["a","--token","***"]\n'
    assert masked(b'["","x"]') == b'["","x"]'


@every("body", ['{"Token":"","Name":"boo', '[["--token",""],"boo', '{"a":["--token"],"b":"boo'])
def test_in_a_cut_off_body_nothing_is_kept_after_the_name_of_a_secret(body: str) -> None:
    """The incomplete end is dropped, even if the value under that name is empty."""
    assert "boo" not in masked(body.encode()).decode()


def test_a_broken_body_that_may_hold_a_secret_is_replaced_by_its_size() -> None:
    """The size includes the bytes that were not recorded."""
    assert mask_body(CREATE, b'{"Token"}', 5) == b"*** (14 bytes)"
    assert mask_body(CREATE, b'\n {"Token"}', 5) == b"*** (16 bytes)"


def test_only_the_last_value_of_a_repeated_key_is_shown() -> None:
    """Earlier values of a key in a body of AuthZPlugin may be anything, so they are dropped."""
    body = b'{"Msg":{"a":"hunter2"},"Msg":"no"}'
    assert mask_body("AuthZPlugin.AuthZReq", body) == b'{"Msg":"no"}\n'


def test_a_value_is_masked_beside_a_label_that_names_a_secret() -> None:
    """In {"name": "token", "value": "x"}, x is masked; beside other keys or names it is kept."""
    assert masked(b'{"name":"token","value":"x"}') == b'{"name":"token","value":"***"}\n'
    for body in (b'{"name":1,"value":"x"}', b'{"a":"token","value":"x"}', b'{"name":"b","v":"x"}'):
        assert masked(body) == body


@every("value", [1, True, None, [], {}, ["hunter2"], {"a": "hunter2"}])
def test_an_inner_body_that_is_not_a_string_is_masked(value: object) -> None:
    """RequestBody is a string of base64; a value of another type is masked and keeps its type."""
    body = json.dumps({"RequestBody": value}).encode()
    assert b"hunter2" not in mask_body("AuthZPlugin.AuthZReq", body)
    if value != 1 and not value:
        assert mask_body("AuthZPlugin.AuthZReq", body) == body


def test_among_control_characters_a_secret_of_one_byte_is_kept() -> None:
    """One byte after password= in a frame may be a coincidence; two bytes are masked."""
    assert masked(b"\x00password=ab \x01") == b"\x00password=** \x01"
    assert masked(b"\x00password=a \x01") == b"\x00password=a \x01"


def test_non_ascii_letters_beside_a_secret_are_not_escaped() -> None:
    """The masked JSON is written in UTF-8."""
    assert masked('{"Token":"x","Name":"é"}'.encode()) == '{"Token":"***","Name":"é"}\n'.encode()
