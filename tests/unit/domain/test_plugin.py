"""Plugins: their names, addresses and manifests."""

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
def test_any_file_name_is_a_valid_plugin_name(name: str) -> None:
    """Spaces, dots, line ends and any letters are allowed, and the name is not changed."""
    assert is_plugin_name(name)
    assert check_plugin_name(name) == name


@every("name", BAD_NAMES)
def test_a_name_that_is_not_a_single_path_component_is_refused(name: str) -> None:
    """A name such as ../x would lead out of the directory; the error holds the name."""
    assert not is_plugin_name(name)
    with pytest.raises(InvalidPluginNameError) as caught:
        check_plugin_name(name)

    assert caught.value.name == name


@pytest.mark.parametrize("name", [None, b"a", 1])
def test_a_plugin_name_that_is_not_a_string_is_refused(name: object) -> None:
    """The error is InvalidPluginNameError, as for any other invalid name."""
    with pytest.raises(InvalidPluginNameError) as caught:
        check_plugin_name(name)
    with pytest.raises(InvalidPluginNameError) as of_any:
        check_any_name(name)

    assert (caught.value.name, of_any.value.name) == (name, name)


def test_a_manifest_made_from_a_single_string_is_refused() -> None:
    """The letters of the string would be taken for the names of subsystems."""
    with pytest.raises(TypeError, match=r"^implements must be a list of names, not one string$"):
        Manifest("VolumeDriver")


def test_user_and_password_are_removed_from_a_plugins_address() -> None:
    """The address is shown and compared without them."""
    assert Plugin("db", "tcp://user:secret@h:1").addr == "tcp://h:1"


def test_a_plugin_before_the_handshake_implements_nothing() -> None:
    """A discovered plugin has a name, an address and an empty manifest."""
    plugin = Plugin("db", "tcp://h:1")

    assert (plugin.name, plugin.addr, plugin.tls_config) == ("db", "tcp://h:1", None)
    assert plugin.manifest == Manifest(())
    assert not plugin.implements("VolumeDriver")


def test_a_legacy_plugin_has_protocol_version_1_and_the_hosts_paths() -> None:
    """A plugin found by a socket or a spec sees the host's files, so paths are not translated."""
    plugin = Plugin("db", "tcp://h:1")

    assert plugin.protocol == PROTOCOL_SCHEME_HTTP_V1 == "moby.plugins.http/v1"
    assert plugin.is_v1 is True
    assert plugin.scoped_path("/mnt/data") == "/mnt/data"


def test_the_certificate_of_a_local_plugin_is_not_verified() -> None:
    """A plugin found by a socket or a bare address has only the TLS option "do not verify"."""
    plugin = Plugin.local("db", "unix:///run/db.sock")

    assert plugin == Plugin("db", "unix:///run/db.sock", TLSOptions(insecure_skip_verify=True))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("VolumeDriver", True), ("authz", True), ("volumedriver", False), ("Volume", False)],
)
def test_a_subsystem_is_matched_to_the_letter(kind: str, *, expected: bool) -> None:
    """``implements`` distinguishes upper from lower case, as engines do."""
    plugin = Plugin("db", "tcp://h:1", manifest=Manifest(("VolumeDriver", "authz")))

    assert plugin.implements(kind) is expected


def test_a_manifest_is_made_from_any_iterable() -> None:
    """A manifest keeps the order in which subsystems were named."""
    assert Manifest(["b", "a"]).implements == ("b", "a")
    assert Manifest() == Manifest(())


def test_a_manifest_with_an_item_that_is_not_a_string_is_refused() -> None:
    """A manifest is a list of the names of subsystems."""
    with pytest.raises(TypeError, match="implements"):
        Manifest((1,))  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError):
        Manifest("VolumeDriver")


@pytest.mark.parametrize(
    ("name", "addr", "error"),
    [("a/b", "tcp://h:1", InvalidPluginNameError), ("a", "localhost:80", SpecError)],
)
def test_a_plugin_with_an_invalid_name_or_address_is_refused(
    name: str, addr: str, error: type[Exception]
) -> None:
    """No plugin can be made that could not be looked up or reached."""
    with pytest.raises(error):
        Plugin(name, addr)


def test_a_copy_of_a_plugin_with_another_addr_has_the_new_address() -> None:
    """The parsed ``address`` of the copy is made from its own ``addr``."""
    moved = evolve(Plugin("db", "tcp://h:1"), addr="unix:///run/db.sock")

    assert moved.address.path == "/run/db.sock"


def test_plugins_are_values() -> None:
    """Equal plugins are one in a set, and survive copying and pickling."""
    plugin = Plugin("db", "tcp://h:1", TLSOptions(ca_file="/ca.pem"), Manifest(("authz",)))

    thawed = pickle.loads(pickle.dumps(plugin))  # noqa: S301  our own bytes

    assert thawed == plugin
    assert thawed.address == plugin.address
    assert len({plugin, thawed, copy.deepcopy(plugin)}) == 1
