"""Managed plugins as an engine describes them: names, capabilities and paths."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.managed import (
    SUBSYSTEMS,
    asked_as,
    familiar,
    found_plugin,
    is_api_version,
    is_called,
    is_engine_name,
    is_socket_name,
    manifest_of,
    read_plugin,
    read_plugins,
    read_root,
    unmatched,
)
from moby_plugins.domain.plugin import (
    Managed,
    ManagedPlugin,
    Plugin,
    PluginMount,
    check_protocol,
)
from moby_plugins.subsystems import ENGINE_SUBSYSTEMS
from tests.cases import every

ROOTFS = "/r/plugins/ID/rootfs"
SCOPE = Managed(ROOTFS, "/mnt/v")
PROPAGATED = "/r/plugins/ID/propagated-mount"


@every(
    ("path", "scoped"),
    [
        # As Go has them.
        ("/mnt/v/a", f"{PROPAGATED}/a"),
        ("/mnt/v", PROPAGATED),
        ("/mnt/v2/a", f"{PROPAGATED}/2/a"),
        ("/mnt", f"{ROOTFS}/mnt"),
        ("", ROOTFS),
        ("a/b", f"{ROOTFS}/a/b"),
        ("//mnt/v/a", f"{ROOTFS}/mnt/v/a"),
        ("/mnt/v//a/./b", f"{PROPAGATED}/a/b"),
        # Go's lead out of the plugin's directory.
        ("/mnt/v/../../../etc", f"{PROPAGATED}/etc"),
        ("/../../../etc/passwd", f"{ROOTFS}/etc/passwd"),
        ("/mnt/v..", PROPAGATED),
        ("/mnt/v/a/../b/..", PROPAGATED),
        ("/mnt/v/a/b/c/../d", f"{PROPAGATED}/a/b/d"),
        ("..", ROOTFS),
    ],
)
def test_a_path_in_a_managed_plugin_is_translated_to_one_on_the_host(
    path: str, scoped: str
) -> None:
    """The propagated mount is removed as a plain prefix, and only the rest is normalized."""
    assert SCOPE.scoped(path) == scoped


def test_a_propagated_mount_is_removed_as_a_prefix_even_inside_a_name() -> None:
    """Engines compare strings, so /var/lib/shelf is removed from /var/lib/shelf2/a, too."""
    shelf = Managed(ROOTFS, "/var/lib/shelf")

    assert shelf.scoped("/var/lib/shelf2/a") == f"{PROPAGATED}/2/a"


def test_without_a_propagated_mount_every_path_is_in_the_root_file_system() -> None:
    """An empty path is translated to the directory of the root file system itself."""
    assert Managed(ROOTFS).scoped("/a") == f"{ROOTFS}/a"
    assert Managed(ROOTFS).scoped("") == ROOTFS


@given(st.text(alphabet="./amntv", max_size=30), st.sampled_from(["", "/", "/mnt/v", "a", ".."]))
def test_no_path_leads_out_of_the_plugins_directory(path: str, mount: str) -> None:
    """No path in a response is translated to one outside the directory, not even with ``..``."""
    scoped = Managed(ROOTFS, mount).scoped(path)

    assert ".." not in scoped.split("/")
    assert scoped.startswith((ROOTFS, PROPAGATED))


@every(
    ("types", "implements"),
    [
        (["docker.volumedriver/1.0"], ("VolumeDriver",)),
        (["docker.networkdriver/1.0", "docker.ipamdriver/1.0"], ("NetworkDriver", "IpamDriver")),
        (["docker.authz/1.0"] * 2, ("authz",)),
        (["docker.volumedriver/9.9"], ("VolumeDriver",)),  # the version is not looked at
        (["docker.volumedriver"], ("VolumeDriver",)),
        (["docker.weatherstation/1.0"], ("weatherstation",)),
        (["docker.VolumeDriver/1.0"], ()),  # look-ups are in small letters
        (['.olumedriver"]/', "volumedriver", "", "acme.volumedriver/1.0", "docker./1.0"], ()),
    ],
)
def test_interface_types_in_lower_case_become_the_manifest(
    types: list[str], implements: tuple[str, ...]
) -> None:
    """docker.volumedriver/1.0 becomes VolumeDriver; a type with capital letters is left out."""
    assert manifest_of(types).implements == implements


def test_interface_types_that_no_engine_looks_for_are_listed() -> None:
    """Engines do not look for a type whose form, case, version or subsystem is wrong."""
    good = [f"docker.{name.lower()}/1.0" for name in SUBSYSTEMS]
    bad = ["docker.VolumeDriver/1.0", "docker.volumedriver", "docker.networkdriver/2.0"]
    bad += ["docker.weather/1.0", '.olumedriver"]/', "", "acme.authz/1.0"]

    assert unmatched([*good, *bad]) == tuple(bad)


def test_managed_plugins_may_implement_every_subsystem_that_has_a_class() -> None:
    """The list of subsystems for managed plugins has the names of all subsystem classes."""
    assert {kind.implements for kind in ENGINE_SUBSYSTEMS} == {*SUBSYSTEMS}


@every(
    ("name", "whole"),
    [
        ("shelf", "shelf:latest"),
        ("shelf:v1", "shelf:v1"),
        ("mp/shelf", "mp/shelf:latest"),
        ("docker.io/mp/shelf", "mp/shelf:latest"),
        ("index.docker.io/library/shelf", "shelf:latest"),
        ("library/shelf:v1", "shelf:v1"),
        ("localhost:5000/shelf", "localhost:5000/shelf:latest"),
        ("Not A Name", "Not A Name"),
    ],
)
def test_a_plugin_name_is_normalized_as_engines_normalize_it(name: str, whole: str) -> None:
    """The tag :latest is added, and docker.io/ and library/ are removed."""
    assert familiar(name) == whole


def test_only_a_prefix_of_12_digits_or_more_counts_as_an_id() -> None:
    """A shorter prefix may be a legacy plugin's name: with a tag, it never matches an id."""
    assert asked_as("a" * 12) == "a" * 12
    assert asked_as("a" * 11) == "a" * 11 + ":latest"
    assert asked_as("g" * 12) == "g" * 12 + ":latest"


@given(st.text(max_size=40))
def test_a_name_that_is_valid_for_an_engine_needs_no_escaping_in_a_url(name: str) -> None:
    """A valid name has no space, line end, ?, #, % or backslash, and no . or .. component."""
    if is_engine_name(name):
        assert not {*name} & {*" ?#%\\\\\r\n\0"}
        assert not {"", ".", ".."} & {*name.split("/")}


def test_a_plugin_with_an_unsupported_protocol_is_refused() -> None:
    """Such a plugin can be described, but the check before a call raises SpecError."""
    other = Managed(ROOTFS, protocol="moby.plugins.grpc/v1")
    plugin = Plugin("p:latest", "unix:///p.sock", managed=other)

    assert plugin.protocol == "moby.plugins.grpc/v1"
    with pytest.raises(SpecError, match=r"speaks 'moby\.plugins\.grpc/v1'"):
        check_protocol(plugin)


def test_fields_that_an_engine_omits_have_defaults() -> None:
    """Only the name is required; null counts as absent, and the case of keys does not matter."""
    bare = ManagedPlugin("a", "", False, (), "", "moby.plugins.http/v1", "", (), ())
    nothing = dict.fromkeys(("Id", "Enabled", "Config", "Settings"))
    mount = PluginMount("", "", "", "", ())

    assert read_plugin({"name": "a"}) == read_plugin({"NAME": "a"} | nothing) == bare
    assert read_plugin({"Name": "a", "Settings": {"Mounts": [None, {}]}}).mounts == (mount, mount)
    assert read_plugin({"Name": "a", "Settings": {"Env": [None, "A=1"]}}).environment == ("", "A=1")
    assert read_plugin({"Name": "a", "Config": {"PropagatedMount": "/m"}}).propagated_mount == "/m"
    assert read_root({"DockerRootDir": "/d"}) == "/d"


@every(
    ("fields", "wrong"),
    [
        ([], "a plugin must be an object, not an array"),
        ({"Name": 1}, "Name must be a string, not a number"),
        ({"Name": ""}, "a plugin has the invalid name ''"),
        ({"Name": "a\0b"}, r"a plugin has the invalid name 'a\x00b'"),
        ({"Name": "a", "Id": 1}, "Id must be a string, not a number"),
        ({"Name": "a", "Enabled": "no"}, "Enabled must be a boolean, not a string"),
        ({"Name": "a", "Config": []}, "Config must be an object, not an array"),
        (
            {"Name": "a", "Config": {"Interface": ""}},
            "Config.Interface must be an object, not a string",
        ),
        (
            {"Name": "a", "Config": {"Interface": {"Types": "x"}}},
            "Config.Interface.Types must be an array, not a string",
        ),
        (
            {"Name": "a", "Config": {"Interface": {"Types": [1]}}},
            "Config.Interface.Types must be a string, not a number",
        ),
        (
            {"Name": "a", "Config": {"Interface": {"Socket": 1}}},
            "Config.Interface.Socket must be a string, not a number",
        ),
        (
            {"Name": "a", "Config": {"Interface": {"ProtocolScheme": 1}}},
            "Config.Interface.ProtocolScheme must be a string, not a number",
        ),
        (
            {"Name": "a", "Config": {"PropagatedMount": 1}},
            "Config.PropagatedMount must be a string, not a number",
        ),
        ({"Name": "a", "Settings": 1}, "Settings must be an object, not a number"),
        (
            {"Name": "a", "Settings": {"Env": {}}},
            "Settings.Env must be an array, not an object",
        ),
        (
            {"Name": "a", "Settings": {"Mounts": {}}},
            "Settings.Mounts must be an array, not an object",
        ),
        (
            {"Name": "a", "Settings": {"Mounts": [""]}},
            "Settings.Mounts must be an object, not a string",
        ),
        *(
            (
                {"Name": "a", "Settings": {"Mounts": [{key: 1}]}},
                f"Settings.Mounts.{key} must be a string, not a number",
            )
            for key in ("Name", "Source", "Destination", "Type")
        ),
        (
            {"Name": "a", "Settings": {"Mounts": [{"Options": "ro"}]}},
            "Settings.Mounts.Options must be an array, not a string",
        ),
    ],
)
def test_a_field_of_the_wrong_type_is_an_error_that_names_the_field(
    fields: object, wrong: str
) -> None:
    """The field is named by its path in the engine's API, such as Config.Interface.Types."""
    with pytest.raises(ValueError, match=f"^{re.escape(wrong)}$"):
        read_plugin(fields)


def test_an_engine_response_that_is_not_a_list_or_object_is_an_error() -> None:
    """The error names the response: the list of plugins, or the engine's information."""
    with pytest.raises(ValueError, match=r"^the list of plugins must be an array, not an object$"):
        read_plugins({})
    with pytest.raises(ValueError, match=r"^the engine's information must be an object, not an ar"):
        read_root([])


@every(
    ("plugin", "root", "wrong"),
    [
        (
            ManagedPlugin("a", "b" * 63, True, (), "s"),
            "/d",
            f"plugin 'a' has the id '{'b' * 63}', which is not a valid id",
        ),
        (
            ManagedPlugin("a", "b" * 64, True, (), "../s"),
            "/d",
            (
                "the socket of plugin 'a' is called '../s', which is not a file's name:"
                " correct interface.socket in its config.json"
            ),
        ),
        (
            ManagedPlugin("a", "b" * 64, True, (), "s"),
            "d",
            "the engine keeps its data in 'd', which is not an absolute path",
        ),
        (
            ManagedPlugin("a", "b" * 64, True, (), "s"),
            None,
            "the engine keeps its data in None, which is not an absolute path",
        ),
    ],
)
def test_a_managed_plugin_whose_socket_path_cannot_be_derived_is_an_error(
    plugin: ManagedPlugin, root: object, wrong: str
) -> None:
    """The error names the invalid id, the socket's name or the engine's data directory."""
    with pytest.raises(SpecError) as caught:
        found_plugin(plugin, root)

    assert caught.value.reason == wrong


def test_slashes_at_the_end_of_the_engines_data_directory_are_ignored() -> None:
    """Paths made from DockerRootDir have a single slash in their place."""
    plugin = ManagedPlugin("a", "b" * 64, True, (), "s", "x/1", "/m")

    found = found_plugin(plugin, "/dX//")

    assert found.managed == Managed(f"/dX/plugins/{'b' * 64}/rootfs", "/m", "x/1")
    assert found.addr == f"unix:///run/docker/plugins/{'b' * 64}/s"


def test_a_managed_plugin_matches_its_name_or_a_long_prefix_of_its_id() -> None:
    """The tag :latest is optional; a short prefix, or another plugin's id, does not match."""
    plugin = ManagedPlugin("shelf:latest", "b" * 64, True, (), "s")

    for name in ("shelf", "shelf:latest", "docker.io/library/shelf", "b" * 12, "b" * 64):
        assert is_called(plugin, name)
    for name in ("shelf:1", "b" * 11, "c" * 12, ""):
        assert not is_called(plugin, name)


@every("text", ["1.0", "1.45", "12.345", "123.1"])
def test_two_numbers_with_a_dot_are_a_valid_api_version(text: str) -> None:
    """The version of the engine's API becomes a part of URLs, so its form is checked."""
    assert is_api_version(text)


@every("text", ["", "1", "1.", ".1", "1.2.3", "1.4/../x", "v1.4", "1234.1", "1.2\n"])
def test_a_text_other_than_two_numbers_is_not_a_valid_api_version(text: str) -> None:
    """Nothing but two numbers of up to three digits may become a part of URLs."""
    assert not is_api_version(text)


@every("name", ["a.sock", "...", "a\\b"])
def test_a_plain_file_name_is_valid_for_a_socket(name: str) -> None:
    """A socket's name may have dots and backslashes: neither leads to another directory."""
    assert is_socket_name(name)


@every("name", ["", ".", "..", "a/b", "/", "a\0b"])
def test_a_path_is_not_valid_as_the_name_of_a_socket(name: str) -> None:
    """A name with a slash or a NUL, an empty name, ``.`` and ``..`` are refused."""
    assert not is_socket_name(name)


@every("given", [{}, {"Name": None}, {"Name": ""}])
def test_a_managed_plugin_without_a_name_is_an_error(given: dict[str, object]) -> None:
    """A missing, null or empty name makes the engine's description invalid."""
    with pytest.raises(ValueError, match=r"^a plugin has the invalid name ''$"):
        read_plugin({"Id": "a", **given})


def test_a_name_with_a_digest_gets_no_tag() -> None:
    """Only a name with neither a tag nor a digest gets :latest."""
    digest = "@sha256:" + "0" * 64
    assert familiar(f"docker.io/library/shelf{digest}") == f"shelf{digest}"
    assert familiar("shelf") == "shelf:latest"


@every(
    ("name", "may"),
    [
        ("a" * 255, True),
        ("a" * 256, False),
        (f"{'a' * 255}:{'t' * 128}", True),
        ("a" * 601, False),
        (None, False),
        (b"a", False),
    ],
)
def test_a_name_that_is_too_long_for_an_engine_is_not_valid(name: object, may: object) -> None:
    """A valid name is a string of at most 600 characters, 255 of them before the tag."""
    assert is_engine_name(name) is may
