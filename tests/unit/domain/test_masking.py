"""Secrets are masked in bodies that are shown or recorded."""

import json
import re
import time
from base64 import b64decode, b64encode, encodebytes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby_plugins.domain.masking import mask_body, mask_method, mask_text
from moby_plugins.domain.secret_names import MASK
from tests.cases import every

CREATE = "VolumeDriver.Create"


def masked(body: Any, method: str = CREATE) -> Any:
    """The JSON that is left of ``body``."""
    return json.loads(mask_body(method, json.dumps(body).encode()))


@every(
    "key",
    [
        "Password",
        "pass\u00adword",
        "\uff50assword",
        "password[0]",
        "password_confirmation",
        "PASSPHRASE",
        "secret",
        "Token",
        "Authorization",
        "X-Registry-Auth",
        "x-registry-config",
        "MYSQL_ROOT_PASSWORD",
        "dbPasswd",
        "JoinTokens",
        "identitytoken",
        "api-key",
        "SecretAccessKey",
        "Set-Cookie",
        "auth",
    ],
)
def test_a_value_under_a_key_that_names_a_secret_is_masked(key: str) -> None:
    """The case of the key's letters and its depth in the body do not matter."""
    assert masked({"Opts": [{key: "hunter2", "Name": "x"}]}) == {"Opts": [{key: MASK, "Name": "x"}]}


@every("key", ["SecretName", "Name", "PasswordFile", "Tokenizer", "UserAuthNMethod", "KeyFile"])
def test_a_value_under_a_key_that_only_resembles_a_secret_is_kept(key: str) -> None:
    """SecretName and PasswordFile hold the name or the file of a secret, not the secret."""
    assert masked({key: "books"}) == {key: "books"}


@every(
    ("value", "left"),
    [
        ("hunter2", MASK),
        ("", ""),
        (None, None),
        (4711, 0),
        (True, True),
        (["a", "b"], [MASK, MASK]),
        ({"Worker": "a", "Count": 2}, {"Worker": MASK, "Count": 0}),
    ],
)
def test_a_masked_value_keeps_its_type(value: Any, left: Any) -> None:
    """Programs that read the masked body still find a string, number, list or object."""
    assert masked({"Token": value, "Password": "x"}) == {"Token": left, "Password": MASK}


@every(
    ("text", "left"),
    [
        ("MYSQL_PASSWORD=a,b c", "MYSQL_PASSWORD=***"),
        ("username=u,password=p,vers=3", "username=u,password=***,vers=3"),
        ("PATH=/bin", "PATH=/bin"),
        ("the token", "the token"),
        ("TOKEN=", "TOKEN=***"),
    ],
)
def test_a_secret_setting_within_a_string_is_masked(text: str, left: str) -> None:
    """Environments and mount options are strings such as PASSWORD=x, alone or in a list."""
    assert masked({"Env": [text], "o": text}) == {"Env": [left], "o": left}


@every(
    "body",
    [
        b"",
        b'{"Name": "books",\n "Opts": null }\n',
        b'{"Name":"\xc3\xa9"} trailing',
        b"\x00\x00\x00\x05password=x",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"Token": "", "Password": null, "Secrets": []}',
    ],
)
def test_a_body_without_a_secret_is_kept_byte_for_byte(body: bytes) -> None:
    """White space, text after the JSON value, archives and frames are not changed."""
    assert mask_body(CREATE, body) == body


@every(
    "body",
    [
        b'{"Opts":{"Password":"hunter2"},"Opts":{}}',
        b'{"Password":"hunter2","Password":""}',
        b'{"Err":""} {"Password":"hunter2"}',
        b'{"Opts":{"Password":"hunt',
        b'{"P\\u0061ssword":"hunter2"}',
        b'{"Password":"hunt\xff"}',
        b"bad password: hunter2",
        b"Authorization: Basic hunter2",
        b'password="hunter2 and more',
        b'{"Password":"say \\"hunter2\\""',
    ],
)
def test_a_secret_in_an_unusual_or_broken_body_is_masked(body: bytes) -> None:
    """Keys may be repeated or escaped, text may follow the JSON, or the body may be cut off."""
    assert b"hunt" not in mask_body(CREATE, body)


def test_a_secret_in_a_get_secret_response_is_replaced_by_base64() -> None:
    """GetSecret's response has the secret as Value in base64 (protocol.md B9)."""
    answer = masked({"Value": "aHVudGVyMg==", "DoNotReuse": True}, "SecretProvider.GetSecret")

    assert b64decode(answer["Value"]).decode() == MASK
    assert answer["DoNotReuse"] is True
    assert masked({"Value": "x"}) == {"Value": "x"}


def authz(**fields: Any) -> Any:
    """What is left of a request to authorize."""
    return masked(fields, "AuthZPlugin.AuthZReq")


@pytest.mark.parametrize("key", ["RequestBody", "ResponseBody"])
def test_secrets_in_the_engine_bodies_of_an_authz_request_are_masked(key: str) -> None:
    """The engine sends AuthZPlugin the bodies of its API calls, in base64 (protocol.md B5)."""
    inner = b'{"Env":["TOKEN=hunter2"],"Image":"busybox"}'

    left = authz(**{key: b64encode(inner).decode()})

    assert json.loads(b64decode(left[key])) == {"Env": ["TOKEN=***"], "Image": "busybox"}
    harmless = b64encode(b'{"Image": "busybox"}').decode()
    assert authz(**{key: harmless}) == {key: harmless}
    assert authz(**{key: "no base64!"}) == {key: MASK}
    assert authz(**{key: None}) == {key: None}


def test_the_data_of_a_new_secret_is_masked() -> None:
    """``docker secret create`` sends the secret as Data."""
    inner = b64encode(b'{"Name":"db","Data":"aHVudGVyMg=="}').decode()

    left = authz(RequestBody=inner)

    assert json.loads(b64decode(left["RequestBody"])) == {"Name": "db", "Data": MASK}


def test_secrets_in_the_query_of_a_request_uri_are_masked() -> None:
    """Parameters are masked by their names, and build arguments inside their JSON."""
    uri = "/build?t=x&buildargs=%7B%22DB_PASSWORD%22%3A%22hunter2%22%7D&token=hunter2"

    left = authz(RequestUri=uri)["RequestUri"]

    assert left == "/build?t=x&buildargs=%7B%22DB_PASSWORD%22%3A%22%2A%2A%2A%22%7D&token=***"
    assert authz(RequestUri="/info?a=b") == {"RequestUri": "/info?a=b"}
    assert authz(RequestUri=7) == {"RequestUri": 7}


@pytest.mark.parametrize(
    ("uri", "left"),
    [
        ("/x?token=a=hunter2", "/x?token=***"),
        ("/x?a=b?&token=hunter2", "/x?a=b?&token=***"),
        ("/x?token=a?hunter2", "/x?token=***"),
        ("/x?a=%2f%2F+c&b=", "/x?a=%2f%2F+c&b="),
    ],
)
def test_a_query_is_split_as_servers_split_it(uri: str, left: str) -> None:
    """A query begins at the first ?, a value at the first =; harmless values are not changed."""
    assert authz(RequestUri=uri) == {"RequestUri": left}


def test_an_inner_body_without_a_secret_is_kept_byte_for_byte() -> None:
    """Harmless base64 is not encoded again, which could change its characters."""
    inner = "e31="
    assert b64decode(inner) == b"{}"

    assert authz(RequestBody=inner, Token="x") == {"RequestBody": inner, "Token": MASK}


@pytest.mark.parametrize("value", ["", None])
def test_a_get_secret_response_without_a_value_is_not_changed(value: Any) -> None:
    """A response with an error has no Value to mask."""
    body = json.dumps({"Value": value, "Err": "no such secret"}).encode()

    assert mask_body("SecretProvider.GetSecret", body) == body


def test_a_subsystem_is_recognized_in_a_method_with_a_query() -> None:
    """A response of GetSecret is masked even if the query holds dots."""
    body = {"Value": "aHVudGVyMg=="}

    assert masked(body, "SecretProvider.GetSecret?version=1.2") == {"Value": "Kioq"}


def test_fields_beside_a_masked_secret_are_kept() -> None:
    """White space around the JSON is dropped; letters and bytes that are not UTF-8 are kept."""
    body = b' \n{"Name": "\xc3\xa9\xff", "Token": ["hunter2"]} '

    assert mask_body(CREATE, body) == b'{"Name":"\xc3\xa9\xff","Token":["***"]}\n'


@every(
    ("method", "body"),
    [
        ("AuthZPlugin.AuthZReq", b"hunter2"),
        ("AuthZPlugin.AuthZReq", b'["hunter2"]'),
        ("AuthZPlugin.AuthZReq", b'{"RequestBody":"aHVudGVyMg'),
        ("AuthZPlugin%2EAuthZReq", b"hunter2"),
        ("authzplugin.x", b"\x00hunter2"),
        ("SecretProvider.GetSecret", b'{"Value":"aHVudGVyMg'),
        ("SecretProvider.GetSecret", b"\x1f\x8b\x08hunter2"),
        ("SecretProvider.GetSecret?a=b", b'{"Value":"aHVudGVyMg"'),
    ],
)
def test_an_unreadable_body_of_authz_or_secret_provider_is_replaced_by_its_size(
    method: str, body: bytes
) -> None:
    """A body that is cut off, compressed or in another format may hold any secret."""
    left = mask_body(method, body)

    assert left == f"*** ({len(body)} bytes)".encode()
    assert mask_body(method, left) == left
    assert mask_body(method, body[:-1], omitted=1) == left


def test_an_unknown_key_of_authz_or_secret_provider_is_masked() -> None:
    """Only known keys are shown; of a repeated key, the earlier values are dropped."""
    assert masked({"Valeu": "aHVudGVyMg==", "err": "no"}, "SecretProvider.GetSecret") == {
        "Valeu": MASK,
        "err": "no",
    }
    twice = b'{"Foo":"hunter2","Foo":""} hunter2'
    assert mask_body("AuthZPlugin.AuthZRes", twice) == b'{"Foo":""}\n'


@every("inner", [b"hunter2", b'"hunter2"', b'{"Name":"hunter2', b"\x1f\x8bhunter2", b"a=hunter2"])
def test_an_unreadable_inner_body_is_replaced_by_its_size(inner: bytes) -> None:
    """An archive, a form, or JSON that is cut off may hold any secret."""
    left = authz(ResponseBody=b64encode(inner).decode())

    assert b64decode(left["ResponseBody"]) == f"*** ({len(inner)} bytes)".encode()


def test_each_of_several_json_values_in_an_inner_body_is_masked() -> None:
    """The engine reports progress as JSON values, one after the other."""
    inner = b64encode(b'{"status":"a"}\r\n{"token":"hunter2"}\r\n').decode()

    left = b64decode(authz(ResponseBody=inner)["ResponseBody"])

    assert left == b'{"status":"a"}\n{"token":"***"}\n'


def base64(text: str) -> str:
    """A text in base64."""
    return b64encode(text.encode()).decode()


SECRET = "hunter2-hunter2"
WRAPPED = [
    {"Err": f"bad password: {SECRET}"},
    {"Err": f"TOKEN = {SECRET}"},
    {"o": f"username=u,pass={SECRET},vers=3"},
    {"Env": [f"DB_PASS={SECRET}", f"REDIS_PW={SECRET}", f"ROOT_PWD={SECRET}"]},
    {"Env": [{"Name": "DB_TOKEN", "Value": SECRET}], "kv": {"key": "secret", "val": [SECRET]}},
    {"Cmd": ["mysqld", "--password", SECRET], "pair": ["token", SECRET]},
    {"Cmd": f"mysqld --db-password {SECRET} -v"},
    {"url": f"postgres://user:{SECRET}@host/db"},
    {"url": f"https://{SECRET}@host/x", "device": f"//u:{SECRET}/x@server/share"},
    {"text": f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----"},
    {"text": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}"},
    {"header": f"Authorization: Basic {SECRET}", "line": f"x authorization=Bearer {SECRET} y"},
    {"header": f"Bearer {SECRET}"},
    {"headers": [["X-Registry-Auth", SECRET]]},
    {"password_hash": SECRET, "Token2": SECRET, "SecretValue": SECRET, "AccountKey": SECRET},
    {"pa\u017fsword": SECRET, "Password ": SECRET, "auths": {"hub": {"x": SECRET}}},
    {"json": json.dumps({"deep": json.dumps({"password": SECRET})})},
    {"json": f"CONF={json.dumps({'password': SECRET})}", "repr": f"x {{'password': '{SECRET}'}}"},
    {"text": 'x {\\"password\\":\\"' + SECRET + '\\"}'},
    {"base64": base64(json.dumps({"password": SECRET}))},
    {"base64": base64(base64(f"password={SECRET}"))},
    {"form": f"user=u&pass%77ord={SECRET}"},
]


@every("body", WRAPPED)
def test_a_secret_is_masked_wherever_it_stands_in_a_body(body: Any) -> None:
    """The secret may be in a setting, a list, a URL, a header, or in nested JSON or base64."""
    text = json.dumps(body)
    for data in (text.encode(), ("\ufeff" + text).encode(), text.encode("utf-16")):
        left = mask_body(CREATE, data)
        assert "hunter" not in left.decode()
        assert base64(SECRET)[:8] not in left.decode()
        assert mask_body(CREATE, left) == left


@every("body", WRAPPED)
def test_no_part_of_a_secret_is_left_where_json_is_cut_off(body: Any) -> None:
    """Bodies over 1 MiB are cut off; an incomplete value is dropped if it may be secret."""
    data = json.dumps(body).encode()
    for size in range(len(data) // 2, len(data), 3):
        left = mask_body(CREATE, data[:size], len(data) - size).decode()
        assert "hunter2-h" not in left
        assert base64(SECRET)[:12] not in left


@every(
    "body",
    [
        b"password: hunter2\x07",
        b"\x1b[1mpassword=hunter2\x1b[0m",
        b'\x00{"Password":"hunter2"}',
        b'{"Password":"hunter2\x01"}',
        b"\x00\x00\x00\x10\x0apassword=hunter2",
        b"x\x01 https://user:hunter2@host",
    ],
)
def test_a_secret_in_a_body_with_control_characters_is_masked(body: bytes) -> None:
    """Such a body may be a frame or an archive, so masking does not change its length."""
    left = mask_body(CREATE, body)

    assert b"hunter" not in left
    assert len(left) == len(body) or left.startswith(b"{")


@every(
    "text",
    [
        "bypass=1",
        "PWD=/app",
        "the token of the author",
        "http://host:8080/a@b",
        "basic authentication",
        "a//b",
        "sha256:0123456789abcdef0123456789abcdef",
        "keys: 3",
    ],
)
def test_a_text_without_a_secret_is_kept(text: str) -> None:
    """Words that only resemble the name of a secret, and addresses, are not changed."""
    assert masked({"text": [text]}) == {"text": [text]}


def test_secrets_in_methods_and_error_texts_are_masked() -> None:
    """A recorded method may have a query, and an error may quote a response."""
    assert mask_method("X.y?id=1&token=hunter2") == "X.y?id=1&token=***"
    assert mask_method("GraphDriver.ApplyDiff?id=1&parent=") == "GraphDriver.ApplyDiff?id=1&parent="
    assert mask_text("malformed response: password: hunter2") == "malformed response: password: ***"
    assert mask_text("it hung up") == "it hung up"


@every(
    "text",
    [
        "//a:",
        "password",
        "auth ",
        "basic ",
        "eyJa",
        "--password ",
        "{",
        "pass   ",
        '"',
        "=",
        "a@//b:",
    ],
)
def test_the_time_to_mask_a_text_does_not_grow_with_its_square(text: str) -> None:
    """No repeated text makes a regular expression start again at each character."""
    times = []
    for size in (1 << 11, 1 << 13):
        body = json.dumps({"x": text * (size // len(text))}).encode()
        began = time.process_time()
        mask_body(CREATE, body)
        times.append(time.process_time() - began)
    assert times[1] < max(10 * times[0], 0.1)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.sampled_from(["Password", "db_token", "X-Registry-Auth", "APIKEY", "dbpass"]),
    st.integers(0, 3),
    st.integers(0, 400),
)
def test_a_secret_anywhere_in_any_json_is_masked(
    around: Any, key: str, wraps: int, cut: int
) -> None:
    """The secret may be beside any JSON, in nested strings, and in a body that is cut off."""
    body: Any = {"before": around, key: SECRET, "after": [around]}
    for number in range(wraps):
        text = json.dumps(body)
        body = {"inner": base64(text) if number % 2 else text, "beside": around}
    data = json.dumps(body).encode()

    assert b"hunter2-h" not in mask_body(CREATE, data)
    assert b"hunter2-h" not in mask_body(CREATE, data[:cut], max(len(data) - cut, 0))
    if 0 < cut < len(data):
        assert mask_body("AuthZPlugin.x", data[:cut]) == f"*** ({cut} bytes)".encode()


@given(st.binary(max_size=200), st.sampled_from([CREATE, "AuthZPlugin.x", "SecretProvider.y"]))
def test_any_bytes_are_masked_without_an_error(body: bytes, method: str) -> None:
    """A plugin may send any bytes; masking a masked body again does not change it."""
    left = mask_body(method, body)

    assert mask_body(method, left) == left


CONFIG = json.dumps({"password": "hunter2"}).encode()


@every(
    "text",
    [
        "data:application/json;base64," + b64encode(CONFIG).decode(),
        "the settings are " + b64encode(CONFIG).decode() + ".",
        encodebytes(CONFIG + b" " * 100).decode(),
        b64encode(b"n\xe4me=x\npassword=hunter2").decode(),
        b64encode(b"[a]\0\npassword=hunter2\n").decode(),
        b64encode("password=hunter2".encode("utf-16")).decode(),
        "password: |\n  hunter2\n\n  hunter2\nuser: me",
        "password: >-\r\n  hunter2\r\nuser: me",
        "<user>me</user><password>hunter2</password>",
    ],
)
def test_a_secret_in_base64_yaml_or_xml_within_a_text_is_masked(text: str) -> None:
    """Base64 may be among words, continue over lines, and encode bytes that are not text."""
    for body in (text.encode(), json.dumps({"Opts": {"conf": text}}).encode()):
        left = mask_body(CREATE, body)

        assert b"hunter2" not in left
        for run in re.findall(rb"[A-Za-z0-9+/]{16,}=*", left.replace(b"\\n", b"")):
            inside = b64decode(run + b"=" * (-len(run) % 4))
            assert b"hunter2" not in inside.replace(b"\0", b"")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_secret_in_a_text_in_utf_16_or_utf_32_is_masked(encoding: str) -> None:
    """A text in these encodings without a secret is kept byte for byte."""
    assert b"h" not in mask_body(CREATE, "password=hhhhhhh".encode(encoding)).replace(b"\0", b"")
    assert mask_body(CREATE, "name=me".encode(encoding)) == "name=me".encode(encoding)


@pytest.mark.parametrize(
    "rest",
    [
        '{"pass\\u0077ord":"hunter2"}',
        b64encode(CONFIG).decode(),
        json.dumps(CONFIG.decode()),
    ],
)
def test_text_after_the_json_value_is_dropped_if_it_may_hold_a_secret(rest: str) -> None:
    """Hosts ignore what follows the first JSON value, so nothing of use is lost."""
    assert mask_body(CREATE, f'{{"a":1}} {rest}'.encode()) == b'{"a":1}\n'


def test_a_sentence_that_begins_with_a_number_is_masked_as_text() -> None:
    """The number is valid JSON, but the rest is not dropped: only its secrets are masked."""
    assert mask_body(CREATE, b"404 see https://h/x") == b"404 see https://h/x"
    assert mask_body(CREATE, b"500 password=hunter2, sorry") == b"500 password=***"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"RequestURI": ["/x?token=hunter2"]}, {"RequestURI": [MASK]}),
        ({"User": {"x": "hunter2"}}, {"User": {"x": MASK}}),
        ({"Msg": ["hunter2"], "Allow": True}, {"Msg": [MASK], "Allow": True}),
    ],
)
def test_a_known_key_of_authz_with_a_value_of_the_wrong_type_is_masked(
    body: Any, left: Any
) -> None:
    """A value under a known key is shown only if it has the expected type."""
    assert masked(body, "AuthZPlugin.AuthZReq") == left


@pytest.mark.parametrize("data", [["hunter2"], {"x": "hunter2"}, "aHVudGVyMg=="])
def test_the_data_of_a_new_secret_is_masked_whatever_its_type(data: Any) -> None:
    """The engine refuses a list or an object as Data, but the request holds the secret."""
    inner = b64encode(json.dumps({"Data": data}).encode()).decode()

    left = masked({"RequestBody": inner}, "AuthZPlugin.AuthZReq")["RequestBody"]

    assert b"hunter2" not in b64decode(left)
    assert b"aHVudGVyMg" not in b64decode(left)


@pytest.mark.parametrize("method", ["/AuthZPlugin.AuthZReq", "a/../SecretProvider.GetSecret"])
def test_a_subsystem_is_recognized_at_any_url_path(method: str) -> None:
    """A server may accept SecretProvider.GetSecret at another path, too."""
    assert mask_body(method, b"hunter2") == b"*** (7 bytes)"


@pytest.mark.parametrize("mark", ["/", ";", "#"])
def test_a_secret_setting_in_a_method_is_masked_even_without_a_query(mark: str) -> None:
    """A setting such as token=x may follow /, ; or # instead of ?."""
    assert mask_method(f"Volume.Create{mark}token=hunter2") == f"Volume.Create{mark}token=***"
