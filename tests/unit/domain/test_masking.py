"""Secrets in bodies that are shown or written down."""

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

from moby_plugins.domain.masking import MASK, mask_body

CREATE = "VolumeDriver.Create"


def masked(body: Any, method: str = CREATE) -> Any:
    """The JSON that is left of ``body``."""
    return json.loads(mask_body(method, json.dumps(body).encode()))


@pytest.mark.parametrize(
    "key",
    [
        "Password",
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
def test_what_stands_under_a_secret_key_is_masked(key: str) -> None:
    """By its key, in any case of letters, at any depth."""
    assert masked({"Opts": [{key: "hunter2", "Name": "x"}]}) == {"Opts": [{key: MASK, "Name": "x"}]}


@pytest.mark.parametrize(
    "key", ["SecretName", "Name", "PasswordFile", "Tokenizer", "UserAuthNMethod", "KeyFile"]
)
def test_what_only_speaks_of_secrets_is_kept(key: str) -> None:
    """A secret's name or file is none."""
    assert masked({key: "books"}) == {key: "books"}


@pytest.mark.parametrize(
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
    """Whoever reads it as a type of theirs still can."""
    assert masked({"Token": value, "Password": "x"}) == {"Token": left, "Password": MASK}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("MYSQL_PASSWORD=a,b c", "MYSQL_PASSWORD=***"),
        ("username=u,password=p,vers=3", "username=u,password=***,vers=3"),
        ("PATH=/bin", "PATH=/bin"),
        ("the token", "the token"),
        ("TOKEN=", "TOKEN=***"),
    ],
)
def test_settings_within_texts_are_masked(text: str, left: str) -> None:
    """An environment and a mount's options are lists of texts, or one text."""
    assert masked({"Env": [text], "o": text}) == {"Env": [left], "o": left}


@pytest.mark.parametrize(
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
def test_what_holds_no_secret_is_kept_to_the_byte(body: bytes) -> None:
    """Spaces, what follows the value, archives and frames stay as they are."""
    assert mask_body(CREATE, body) == body


@pytest.mark.parametrize(
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
def test_no_odd_way_to_write_a_secret_lets_it_through(body: bytes) -> None:
    """Keys given twice, escapes, what follows the first value, what is cut off or no JSON."""
    assert b"hunt" not in mask_body(CREATE, body)


def test_a_secret_of_a_provider_stays_base64() -> None:
    """GetSecret's answer has the secret as Value (protocol.md B9)."""
    answer = masked({"Value": "aHVudGVyMg==", "DoNotReuse": True}, "SecretProvider.GetSecret")

    assert b64decode(answer["Value"]).decode() == MASK
    assert answer["DoNotReuse"] is True
    assert masked({"Value": "x"}) == {"Value": "x"}


def authz(**fields: Any) -> Any:
    """What is left of a request to authorize."""
    return masked(fields, "AuthZPlugin.AuthZReq")


@pytest.mark.parametrize("key", ["RequestBody", "ResponseBody"])
def test_bodies_within_a_body_are_masked_inside(key: str) -> None:
    """AuthZPlugin is sent the engine's own calls, in base64 (protocol.md B5)."""
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


def test_a_query_is_masked() -> None:
    """Build arguments are JSON in a query; other parameters have names."""
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
def test_a_query_is_taken_apart_as_servers_do(uri: str, left: str) -> None:
    """At the first question mark and the first equals sign; what is harmless keeps its escapes."""
    assert authz(RequestUri=uri) == {"RequestUri": left}


def test_a_body_within_a_body_is_kept_to_the_byte_where_it_is_harmless() -> None:
    """Even where base64 could be written otherwise."""
    inner = "e31="
    assert b64decode(inner) == b"{}"

    assert authz(RequestBody=inner, Token="x") == {"RequestBody": inner, "Token": MASK}


@pytest.mark.parametrize("value", ["", None])
def test_a_provider_without_a_secret_has_none_masked(value: Any) -> None:
    """An answer with an error has no Value to hide."""
    body = json.dumps({"Value": value, "Err": "no such secret"}).encode()

    assert mask_body("SecretProvider.GetSecret", body) == body


def test_a_subsystem_is_known_whatever_follows_its_name() -> None:
    """A query may hold dots too."""
    body = {"Value": "aHVudGVyMg=="}

    assert masked(body, "SecretProvider.GetSecret?version=1.2") == {"Value": "Kioq"}


def test_what_stands_beside_a_secret_is_kept() -> None:
    """Space before the value goes; letters, and bytes that are none, do not."""
    body = b' \n{"Name": "\xc3\xa9\xff", "Token": ["hunter2"]} '

    assert mask_body(CREATE, body) == b'{"Name":"\xc3\xa9\xff","Token":["***"]}\n'
