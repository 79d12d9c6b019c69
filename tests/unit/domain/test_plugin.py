"""What a plugin is, and what it may be called."""

import copy
import pickle

import pytest
from attrs import evolve

from moby_plugins.domain.address import TLSOptions
from moby_plugins.domain.errors import InvalidPluginNameError, SpecError
from moby_plugins.domain.plugin import (
    PROTOCOL_SCHEME_HTTP_V1,
    Manifest,
    Plugin,
    check_any_name,
    check_plugin_name,
    is_plugin_name,
)
from tests.cases import every

GOOD_NAMES = ["a", "vieux-sshfs", "a.b", ".a", "a b", "...", "ü", "50%", "a\nb"]
BAD_NAMES = ["", ".", "..", "a/b", "/", "../x", "a\\b", "\\", "a\0", "\0"]


@every("name", GOOD_NAMES)
def test_whatever_a_file_can_be_called_is_a_name(name: str) -> None:
    """Names are passed on to the letter."""
    assert is_plugin_name(name)
    assert check_plugin_name(name) == name


@every("name", BAD_NAMES)
def test_what_would_leave_the_directory_is_no_name(name: str) -> None:
    """A name that is not a plain component of a path is refused, and carried by the error."""
    assert not is_plugin_name(name)
    with pytest.raises(InvalidPluginNameError) as caught:
        check_plugin_name(name)

    assert caught.value.name == name


@pytest.mark.parametrize("name", [None, b"a", 1])
def test_a_name_is_a_string(name: object) -> None:
    """What is not a string is no name, and fails as one."""
    with pytest.raises(InvalidPluginNameError) as caught:
        check_plugin_name(name)
    with pytest.raises(InvalidPluginNameError) as of_any:
        check_any_name(name)

    assert (caught.value.name, of_any.value.name) == (name, name)


def test_a_manifest_is_no_single_text() -> None:
    """Its letters would be taken for subsystems."""
    with pytest.raises(TypeError, match=r"^implements must be a list of names, not one string$"):
        Manifest("VolumeDriver")


def test_an_address_is_kept_without_its_user() -> None:
    """As it is shown, and compared with others."""
    assert Plugin("db", "tcp://user:secret@h:1").addr == "tcp://h:1"


def test_a_plugin_before_the_handshake_implements_nothing() -> None:
    """A plugin as found has a name, an address and an empty manifest."""
    plugin = Plugin("db", "tcp://h:1")

    assert (plugin.name, plugin.addr, plugin.tls_config) == ("db", "tcp://h:1", None)
    assert plugin.manifest == Manifest(())
    assert not plugin.implements("VolumeDriver")


def test_a_plugin_speaks_the_first_protocol() -> None:
    """Every plugin that is discovered is of version 1, and its paths are the host's."""
    plugin = Plugin("db", "tcp://h:1")

    assert plugin.protocol == PROTOCOL_SCHEME_HTTP_V1 == "moby.plugins.http/v1"
    assert plugin.is_v1 is True
    assert plugin.scoped_path("/mnt/data") == "/mnt/data"


def test_a_local_plugin_is_not_verified() -> None:
    """A socket or a bare address carries "do not verify", and no other option."""
    plugin = Plugin.local("db", "unix:///run/db.sock")

    assert plugin == Plugin("db", "unix:///run/db.sock", TLSOptions(insecure_skip_verify=True))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("VolumeDriver", True), ("authz", True), ("volumedriver", False), ("Volume", False)],
)
def test_a_subsystem_is_matched_to_the_letter(kind: str, *, expected: bool) -> None:
    """``implements`` tells upper from lower case, as engines do."""
    plugin = Plugin("db", "tcp://h:1", manifest=Manifest(("VolumeDriver", "authz")))

    assert plugin.implements(kind) is expected


def test_a_manifest_is_made_from_any_iterable() -> None:
    """A manifest keeps the order in which subsystems were named."""
    assert Manifest(["b", "a"]).implements == ("b", "a")
    assert Manifest() == Manifest(())


def test_a_manifest_of_other_than_strings_is_refused() -> None:
    """A subsystem is a string."""
    with pytest.raises(TypeError, match="implements"):
        Manifest((1,))  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError):
        Manifest("VolumeDriver")


@pytest.mark.parametrize(
    ("name", "addr", "error"),
    [("a/b", "tcp://h:1", InvalidPluginNameError), ("a", "localhost:80", SpecError)],
)
def test_a_plugin_has_a_usable_name_and_address(
    name: str, addr: str, error: type[Exception]
) -> None:
    """No plugin can be made that could not be looked up or reached."""
    with pytest.raises(error):
        Plugin(name, addr)


def test_the_address_follows_the_text() -> None:
    """A plugin that is moved is reached at the new address."""
    moved = evolve(Plugin("db", "tcp://h:1"), addr="unix:///run/db.sock")

    assert moved.address.path == "/run/db.sock"


def test_plugins_are_values() -> None:
    """Equal plugins are one in a set, and survive copying and pickling."""
    plugin = Plugin("db", "tcp://h:1", TLSOptions(ca_file="/ca.pem"), Manifest(("authz",)))

    thawed = pickle.loads(pickle.dumps(plugin))  # noqa: S301  our own bytes

    assert thawed == plugin
    assert thawed.address == plugin.address
    assert len({plugin, thawed, copy.deepcopy(plugin)}) == 1
