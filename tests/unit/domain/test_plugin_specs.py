"""Plugin specs read from files: the reference outcomes, and the texts of errors."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.domain.address import TLSOptions
from moby_plugins.domain.errors import InvalidPluginNameError, SpecError
from moby_plugins.domain.plugin import MAX_SPEC_BYTES, Plugin, read_spec
from tests.cases import every

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "spec.json").read_text("utf-8"))


def content(row: dict[str, Any]) -> bytes:
    """The bytes of a vector's file."""
    if "base64" in row:
        return base64.b64decode(row["base64"])
    text: str = row["text"]
    return text.encode()


def written(tls: TLSOptions | None) -> dict[str, Any] | None:
    """TLS options under the names that a spec gives them."""
    if tls is None:
        return None
    return {
        "CAFile": tls.ca_file,
        "CertFile": tls.cert_file,
        "KeyFile": tls.key_file,
        "InsecureSkipVerify": tls.insecure_skip_verify,
        "ExclusiveRootPools": tls.exclusive_root_pools,
        "MinVersion": tls.min_version,
    }


@every("row", VECTORS)
def test_a_spec_has_the_wanted_outcome(row: dict[str, Any]) -> None:
    """Every row of the vectors gives the expected plugin, or an error that names the file."""
    file, want = f"/etc/docker/plugins/{row['file']}", row["want"]

    if "error" in want:
        with pytest.raises(SpecError) as caught:
            read_spec("case", file, content(row))
        assert caught.value.file == file
        assert str(caught.value).startswith(f"{file}: ")
    else:
        plugin = read_spec("case", file, content(row))
        assert (plugin.name, plugin.addr) == ("case", want["addr"])
        assert written(plugin.tls_config) == want["tls"]


@pytest.mark.parametrize("file", ["a.spec", "a", "a.JSON", "a.json.spec"])
def test_a_spec_file_whose_name_does_not_end_in_json_holds_a_bare_address(file: str) -> None:
    """Only the exact suffix .json makes a JSON spec; white space around an address is ignored."""
    assert read_spec("a", file, b" \n tcp://h:1\r\n") == Plugin.local("a", "tcp://h:1")


def test_a_full_spec_gives_all_options() -> None:
    """Every key of ``TLSConfig`` is read, except the passphrase, which no spec may hold."""
    tls = {
        "CAFile": "/ca.pem",
        "CertFile": "/c.pem",
        "KeyFile": "/k.pem",
        "InsecureSkipVerify": False,
        "ExclusiveRootPools": True,
        "MinVersion": 771,
        "Passphrase": "hunter2",
    }
    data = json.dumps({"Name": "ignored", "Addr": "https://h:1", "TLSConfig": tls}).encode()

    plugin = read_spec("a", "a.json", data)

    assert plugin == Plugin(
        "a",
        "https://h:1",
        TLSOptions(
            ca_file="/ca.pem",
            cert_file="/c.pem",
            key_file="/k.pem",
            exclusive_root_pools=True,
            min_version=771,
        ),
    )


@pytest.mark.parametrize("skip", ["false", "null", "true"])
def test_without_a_ca_file_nothing_is_verified(skip: str) -> None:
    """``TLSConfig`` without ``CAFile`` means no verification, whatever else it says."""
    data = f'{{"addr":"https://h","tlsconfig":{{"insecureskipverify":{skip}}}}}'.encode()

    assert read_spec("a", "a.json", data).tls_config == TLSOptions(insecure_skip_verify=True)


def test_with_a_ca_file_the_plugin_is_verified() -> None:
    """``InsecureSkipVerify`` is off where there is a CA file, unless the spec turns it on."""
    data = b'{"Addr":"https://h","TLSConfig":{"CAFile":"/ca.pem"}}'

    assert read_spec("a", "a.json", data).tls_config == TLSOptions(ca_file="/ca.pem")


def test_no_tls_config_leaves_verification_on() -> None:
    """An ``https`` address alone is verified against the system's roots."""
    assert read_spec("a", "a.json", b'{"Addr":"https://h"}').tls_config is None


@every(
    ("data", "reason"),
    [
        (b'{"Addr":1}', "Addr must be a string, not a number"),
        (b"[]", "spec must be an object, not an array"),
        (b'{"Addr":"tcp://h","TLSConfig":"x"}', "TLSConfig must be an object, not a string"),
        (
            b'{"Addr":"tcp://h","TLSConfig":{"InsecureSkipVerify":1}}',
            "InsecureSkipVerify must be a boolean, not a number",
        ),
        (
            b'{"Addr":"tcp://h","TLSConfig":{"MinVersion":true}}',
            "MinVersion must be a whole number, not a boolean",
        ),
        (
            b'{"Addr":"tcp://h","TLSConfig":{"MinVersion":771.0}}',
            "MinVersion must be a whole number, not a number",
        ),
        (
            b'{"Addr":"tcp://h","TLSConfig":{"MinVersion":769}}',
            "MinVersion 769 is not supported: use 771 (TLS 1.2), 772 (TLS 1.3) or 0",
        ),
        (b'{"Addr":"tcp://h","TLSConfig":{"CAFile":[]}}', "CAFile must be a string, not an array"),
        (
            b'{"Addr":"localhost:8080"}',
            (
                "address 'localhost:8080' is not of the form scheme://… or unix:/path; "
                "did you mean tcp://localhost:8080?"
            ),
        ),
        (b"", "empty where JSON was expected"),
        (b'{"Addr":"\xff"}', "not UTF-8: invalid start byte at byte 9"),
    ],
)
def test_an_unusable_json_spec_says_what_is_wrong(data: bytes, reason: str) -> None:
    """The error names the file and the key, or the place where it cannot be read."""
    with pytest.raises(SpecError) as caught:
        read_spec("a", "/etc/a.json", data)

    assert caught.value.reason == reason
    assert str(caught.value) == f"/etc/a.json: {reason}"


@pytest.mark.parametrize("key", ["CAFile", "CertFile", "KeyFile"])
def test_a_tls_file_in_a_spec_that_is_not_a_string_is_an_error(key: str) -> None:
    """The error names the key as documented, even if the spec has it in another case."""
    data = json.dumps({"Addr": "https://h", "TLSConfig": {key.lower(): 1}}).encode()

    with pytest.raises(SpecError) as caught:
        read_spec("a", "a.json", data)

    assert caught.value.reason == f"{key} must be a string, not a number"


@pytest.mark.parametrize("key", ["InsecureSkipVerify", "ExclusiveRootPools"])
def test_a_tls_switch_in_a_spec_that_is_not_a_boolean_is_an_error(key: str) -> None:
    """A word such as no turns nothing on or off."""
    data = json.dumps({"Addr": "https://h", "TLSConfig": {key.lower(): "no"}}).encode()

    with pytest.raises(SpecError) as caught:
        read_spec("a", "a.json", data)

    assert caught.value.reason == f"{key} must be a boolean, not a string"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"tcp://\xff", "not UTF-8 at byte 6"),
        ("\ufefftcp://h:1".encode(), None),
        (b"tcp://h:1\ntcp://h:2", "address 'tcp://h:1\\ntcp://h:2' holds a control character"),
        (b"x" * (MAX_SPEC_BYTES + 1), "the file is larger than 1048576 bytes"),
    ],
)
def test_an_unusable_bare_spec_says_what_is_wrong(data: bytes, reason: str | None) -> None:
    """Bytes that are not UTF-8, a byte-order mark, a second line and a huge file are errors."""
    with pytest.raises(SpecError) as caught:
        read_spec("a", "/etc/a.spec", data)

    assert caught.value.file == "/etc/a.spec"
    if reason is not None:
        assert caught.value.reason == reason


def test_the_largest_spec_is_read() -> None:
    """A file whose size is exactly the limit is still read."""
    data = b"tcp://h:1".ljust(MAX_SPEC_BYTES)

    assert read_spec("a", "a.spec", data).addr == "tcp://h:1"


def test_a_spec_for_an_invalid_plugin_name_is_refused() -> None:
    """Reading a spec raises SpecError for a name that no look-up would accept."""
    with pytest.raises(SpecError) as caught:
        read_spec("..", "a.spec", b"tcp://h:1")

    assert isinstance(caught.value.__cause__, InvalidPluginNameError)
