"""Addresses of plugins: what their parts mean, and which texts are refused."""

import copy
import os
import pickle

import pytest

from moby_plugins.domain.address import Address, is_address
from moby_plugins.domain.errors import SpecError
from tests.cases import every


@every(
    ("text", "path"),
    [
        ("unix:///run/x.sock", "/run/x.sock"),
        ("unix:/run/x.sock", "/run/x.sock"),
        ("UNIX:///run/x.sock", "/run/x.sock"),
        ("unix://var/lib/x.sock", "var/lib/x.sock"),
        ("unix:///a b.sock", "/a b.sock"),
        ("unix:///a%20b%25.sock", "/a b%.sock"),
        ("unix:///%C3%BC.sock", "/ü.sock"),
        ("unix:///ü.sock", "/ü.sock"),
        ("unix:///%FF.sock", os.fsdecode(b"/\xff.sock")),
        ("unix:///x.sock?query", "/x.sock"),
        ("unix:///x.sock#part", "/x.sock"),
        ("unix:///a%3Fb%23c.sock", "/a?b#c.sock"),
        ("unix:///user@host:80.sock", "/user@host:80.sock"),
    ],
)
def test_a_unix_address_names_a_path(text: str, path: str) -> None:
    """The socket's path is what follows ``unix://`` or ``unix:``, with its escapes undone."""
    address = Address(text)

    assert (address.scheme, address.path) == ("unix", path)
    assert (address.host, address.port) == ("", 0)
    assert address.host_header == "plugin.moby.localhost"


@every(
    ("text", "scheme", "host", "port"),
    [
        ("tcp://h:1", "tcp", "h", 1),
        ("tcp://h", "tcp", "h", 80),
        ("tcp://h:", "tcp", "h", 80),
        ("http://h", "http", "h", 80),
        ("https://h", "https", "h", 443),
        ("HTTPS://h:8443", "https", "h", 8443),
        ("tcp://h:1/path?query#part", "tcp", "h", 1),
        ("tcp://h?query@", "tcp", "h", 80),
        ("tcp://h#part:2", "tcp", "h", 80),
        ("tcp://:8080", "tcp", "localhost", 8080),
        ("tcp://127.0.0.1:65535", "tcp", "127.0.0.1", 65535),
        ("tcp://h:0000080", "tcp", "h", 80),
        ("tcp://my_host.internal.:80", "tcp", "my_host.internal.", 80),
        ("tcp://bücher.example:80", "tcp", "xn--bcher-kva.example", 80),
    ],
)
def test_a_network_address_names_a_host_and_a_port(
    text: str, scheme: str, host: str, port: int
) -> None:
    """Host and port are taken from the address, its path is dropped, missing ones have defaults."""
    address = Address(text)

    assert (address.scheme, address.host, address.port) == (scheme, host, port)
    assert address.path == ""
    assert address.host_header == f"{host}:{port}"


@pytest.mark.parametrize(
    ("text", "host", "header"),
    [
        ("tcp://[::1]:80", "::1", "[::1]:80"),
        ("https://[2001:DB8::1]", "2001:DB8::1", "[2001:DB8::1]:443"),
        ("tcp://[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", "[::ffff:127.0.0.1]:80"),
        ("tcp://[fe80::1%25eth0]:80", "fe80::1%eth0", "[fe80::1]:80"),
    ],
)
def test_an_ipv6_host_is_written_in_brackets(text: str, host: str, header: str) -> None:
    """Brackets are no part of the host; a zone such as %eth0 is left out of the Host header."""
    address = Address(text)

    assert address.host == host
    assert address.host_header == header


@every(
    ("text", "scheme", "path"),
    [
        ("npipe:////./pipe/x", "npipe", "//./pipe/x"),
        ("fd://3", "fd", "3"),
        ("memory://anything goes:here", "memory", "anything goes:here"),
        ("t+c.p-1://x", "t+c.p-1", "x"),
        ("vsock://2:1?x#y", "vsock", "2:1?x#y"),
    ],
)
def test_the_rest_of_an_address_with_an_unknown_scheme_is_kept_for_its_transport(
    text: str, scheme: str, path: str
) -> None:
    """The text after ``//`` becomes ``path`` unchanged, even if it has a ?, a # or a colon."""
    address = Address(text)

    assert (address.scheme, address.path) == (scheme, path)
    assert address.host_header == "plugin.moby.localhost"


@every("text", ["tcp://h:1", "http://h", "unix:///x", "memory://x", "HTTP://h", "httpss://h"])
def test_only_https_is_encrypted(text: str) -> None:
    """No other scheme means TLS."""
    assert not Address(text).encrypted
    assert Address("HTTPS://h").encrypted


FORM = "is not of the form scheme://… or unix:/path"
NO_HOST = "names no valid host and port"
NO_NAME = "has a host that is not a domain name"


@every(
    ("text", "reason"),
    [
        ("", FORM),
        ("x", FORM),
        ("/run/x.sock", f"{FORM}; did you mean unix:///run/x.sock?"),
        ("/run/a b%.sock", f"{FORM}; did you mean unix:///run/a b%25.sock?"),
        ("://x", FORM),
        ("1tcp://x", FORM),
        ("mailto:x", FORM),
        ("tcp:", FORM),
        ("tcp://", FORM),
        ("tcp:/h", FORM),
        ("vsock:/h", FORM),
        ("unix:", FORM),
        ("unix:x.sock", FORM),
        (" tcp://h:1", FORM),
        ("plugin host:80", FORM),
        ("localhost:8080", f"{FORM}; did you mean tcp://localhost:8080?"),
        ("localhost:8080/x", f"{FORM}; did you mean tcp://localhost:8080/x?"),
        ("127.0.0.1:8080", f"{FORM}; did you mean tcp://127.0.0.1:8080?"),
        ("localhost:http", FORM),
        ("unix://", "has no valid path of a socket"),
        ("unix://?x", "has no valid path of a socket"),
        ("unix:///%00", "has no valid path of a socket"),
        ("unix:///\ud800", "has no valid path of a socket"),
        ("unix:///100%", "holds a bad percent escape"),
        ("unix:///%zz", "holds a bad percent escape"),
        ("tcp://h%2", "holds a bad percent escape"),
        ("tcp://h:1\n", "holds a control character"),
        ("tcp://h\t:1", "holds a control character"),
        ("unix:///x\x00", "holds a control character"),
        ("tcp://h\x7f", "holds a control character"),
        ("tcp:///path", NO_HOST),
        ("tcp://h:http", NO_HOST),
        ("tcp://h:٣", NO_HOST),
        ("tcp://h:-1", NO_HOST),
        ("tcp://h:1:2", NO_HOST),
        ("tcp://::1", NO_HOST),
        ("tcp://[::1", NO_HOST),
        ("tcp://[::1]x", NO_HOST),
        ("tcp://[h]:80", NO_HOST),
        ("tcp://[....]:80", NO_HOST),
        ("tcp://[1:2]:80", NO_HOST),
        # Folded to "a/c", to a space and an accent, to "@", ":", "%", "?" and "[".
        *((f"tcp://a{sign}b", NO_NAME) for sign in "\u2100\u00af\uff1a\uff05\uff1f\uff3b"),
        ("http://a b", NO_HOST),
        ("http://a\u00a0b", NO_HOST),
        ("http://a%20b", NO_HOST),
        ("http://a\\b", NO_HOST),
        ("tcp://h:0", "has a port out of range"),
        ("tcp://h:443000", "has a port out of range"),
        ("tcp://h:65536", "has a port out of range"),
        ("tcp://ü..example", "has a host that is not a domain name"),
        ("tcp://a..example", "has a host that is not a domain name"),
        (f"tcp://{'a' * 64}.example", "has a host that is not a domain name"),
    ],
)
def test_a_text_that_is_no_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    """An unusable address is a ``SpecError`` that shows the address and what is wrong with it."""
    with pytest.raises(SpecError) as caught:
        Address(text)

    assert str(caught.value) == f"address {text!r} {reason}"


@every(
    ("text", "public"),
    [
        ("tcp://user:secret@h:1", "tcp://h:1"),
        ("HTTPS://token@h", "HTTPS://h"),
        ("tcp://@h", "tcp://h"),
        ("tcp://a@b@h:1/x@y", "tcp://h:1/x@y"),
        ("http://user:s%2Fcret@[::1]:8", "http://[::1]:8"),
        ("unix://user:secret@/run/x.sock", "unix:///run/x.sock"),
    ],
)
def test_credentials_are_left_out_of_an_address_with_a_warning(text: str, public: str) -> None:
    """``concern`` warns that the address had a user name and password, which are never sent."""
    address = Address(text)

    assert address == Address(public)
    assert address.text == public
    assert address.concern == (
        "the user name and password in the address are left out: they are never sent"
    )
    assert Address(public).concern == ""
    assert "secret" not in f"{address!r} {pickle.dumps(address)!r}"


@every(
    "text",
    [
        "tcp://user:secret@",
        "tcp://user:secret@/path",
        "tcp://user:secret@h:port",
        "tcp://user:se/cret@h:1",
        "tcp://us er:secret@h:1",
        "tcp://user:secret@h:1\n",
        "tcp://user:secret@h%zz",
        "tcp://user:secret%40h:1",
        "tcp:user:secret@h:1",
        "tcp//user:secret@h:1",
        "tcp:/user:secret@h:1",
        "user:secret@h:1",
        "user:1secret@h:1",
        "unix:user:secret@/run/x.sock",
        "unix://user:secret@",
        "unix://user:secret@/run/%zz",
        "tcp://user:secret@h:1 tcp://user:secret@h:2",
        "tcp://user:" + "secret" * 200 + "@h:port",
    ],
)
def test_credentials_in_a_text_that_is_no_address_are_not_shown(text: str) -> None:
    """The error shows neither the user name nor the password, wherever the "@" is."""
    with pytest.raises(SpecError) as caught:
        Address(text)

    assert "secret" not in f"{caught.value} {caught.value!r}"
    assert "user:" not in str(caught.value)


@every(
    ("text", "excerpt"),
    [
        ("tcp://h:" + "9" * 5000, "'tcp://h:" + "9" * 292 + "'… of 5008"),
        ("root:$y$j9T$secret-hash:19000:0", "'root:$y$j9T$secret-h'… of 31"),
        ("x" * 5000, "'" + "x" * 20 + "'… of 5000"),
        ("tcp://" + "h" * 100_000, "'tcp://" + "h" * 294 + "'… of 100006"),
        ("x:" * 50_000, "'" + "x:" * 10 + "'… of 100000"),
    ],
)
def test_the_error_for_a_long_text_shows_only_its_beginning(text: str, excerpt: str) -> None:
    """Of a likely address 300 characters are shown; of other text, maybe a file's content, 20."""
    with pytest.raises(SpecError) as caught:
        Address(text)

    assert str(caught.value).startswith(f"address {excerpt} ")


@every(
    "path",
    [
        "/run/docker/plugins/a.sock",
        "/run/a b.sock",
        "/run/50%.sock",
        "/run/%41.sock",
        "/run/a?b#c.sock",
        "/run/a\nb\x7f.sock",
        "/run/ü.sock",
        "/run/[x]\\<y>.sock",
        "//run//a.sock",
        "run/a.sock",
        os.fsdecode(b"/run/\xff\xfe.sock"),
    ],
)
def test_the_address_made_of_a_socket_path_has_the_same_path(path: str) -> None:
    """``Address.of_socket`` escapes special characters and bytes, and ``path`` undoes it."""
    assert Address.of_socket(path).path == path


@pytest.mark.parametrize("name", ["a.b-c_d~", "a:b@c", "!$&'()*+,;=", "a b"])
def test_plain_characters_are_not_escaped_in_the_address_of_a_socket(name: str) -> None:
    """``Address.of_socket`` escapes only characters that would be misread."""
    assert Address.of_socket(f"/run/{name}.sock").text == f"unix:///run/{name}.sock"


@pytest.mark.parametrize("part", ["scheme", "path", "host", "port"])
def test_an_address_is_made_of_its_text_alone(part: str) -> None:
    """The parts, such as scheme and path, follow from the text and cannot be given."""
    with pytest.raises(TypeError, match=part):
        Address("unix:///x", **{part: "tcp"})


def test_addresses_are_equal_if_their_texts_are_equal() -> None:
    """Hashes, copies and pickles follow the text too; a path that has no effect still counts."""
    address = Address("tcp://h:80/x")

    thawed = pickle.loads(pickle.dumps(address))  # noqa: S301  our own bytes

    assert address != Address("tcp://h:80")
    assert len({address, thawed, copy.deepcopy(address), Address("tcp://h:80/x")}) == 1
    assert (thawed.host, thawed.port) == ("h", 80)


def test_an_address_differs_from_a_plugin_name_by_its_scheme() -> None:
    """Names of managed plugins, and paths, have colons and slashes too, but no scheme."""
    for address in ("tcp://h:1", "unix:///run/a.sock", "npipe://x"):
        assert is_address(address) is True
    for name in ("shelf", "host:5000/mp/shelf:1.0", "/run/a.sock", ""):
        assert is_address(name) is False


@every(
    "text",
    [
        "//admin:hunter2@10.0.0.1:2375",
        "/admin:hunter2@10.0.0.1:2375",
        "///admin:hunter2%40h",
        "admin:hunter2@h:1",
        "tcp//admin:hunter2@h:1",
        "tcp://admin:hunter2\uff20h:1",
        "//admin:hunter2\ufe6bh:1",
    ],
)
def test_the_error_for_a_malformed_address_hides_the_user_name_and_password(text: str) -> None:
    """The suggested address hides both too, also if a look-alike takes the place of the @."""
    with pytest.raises(SpecError) as caught:
        Address(text)

    assert "hunter2" not in str(caught.value)
    assert "admin" not in str(caught.value)


def test_a_path_with_an_at_sign_is_shown() -> None:
    """An @ after the first directory of a path names no user, so the error may show the path."""
    with pytest.raises(SpecError, match=r"did you mean unix:///run/a@b\.sock\?"):
        Address("/run/a@b.sock")


@every(
    ("path", "text"),
    [
        ("/run/a@b c", "unix:///run/a@b c"),
        ("/a#é", "unix:///a%23%C3%A9"),
        ("a@b", "unix://a%40b"),
        ("x:y/é", "unix://x:y/%C3%A9"),
    ],
)
def test_the_address_of_a_socket_escapes_characters_that_would_end_the_path(
    path: str, text: str
) -> None:
    """In a relative path, an @ is escaped too, since it would end a user name."""
    assert Address.of_socket(path).text == text
    assert Address.of_socket(path).path == path


def test_the_path_of_a_socket_with_an_unpaired_surrogate_is_refused() -> None:
    """A surrogate that ``os.fsdecode`` makes of a byte that is not UTF-8 is accepted."""
    with pytest.raises(SpecError, match=r"^'/a\\ud800' is not the path of a socket: it has an"):
        Address.of_socket("/a\ud800")

    assert Address.of_socket("/a\udcff").text == "unix:///a%FF"


def test_the_part_before_an_at_sign_is_kept_in_an_address_with_an_unknown_scheme() -> None:
    """With a known scheme that part is a user name, whose special characters must be escaped."""
    assert Address("custom://user@x/y").path == "user@x/y"
    assert Address("custom://user@x/y").concern == ""
    told = "^address 'tcp://\\*\\*\\*@h:1' has a character before the @ that must be escaped$"
    with pytest.raises(SpecError, match=told):
        Address("tcp://a[b:secret@h:1")
