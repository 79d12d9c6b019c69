"""Managed plugins as engines tell of them: names, capabilities, paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.managed import (
    SUBSYSTEMS,
    asked_as,
    familiar,
    is_engine_name,
    manifest_of,
    unmatched,
)
from moby_plugins.domain.plugin import Managed, Plugin, check_protocol
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
        ("..", ROOTFS),
    ],
)
def test_a_path_is_scoped_as_engines_have_it(path: str, scoped: str) -> None:
    """The mount is a prefix of the path as it was given; only what is left is cleaned."""
    assert SCOPE.scoped(path) == scoped


def test_the_prefix_may_end_inside_a_name() -> None:
    """As the engine compares strings."""
    shelf = Managed(ROOTFS, "/var/lib/shelf")

    assert shelf.scoped("/var/lib/shelf2/a") == f"{PROPAGATED}/2/a"


def test_without_a_mount_every_path_is_in_the_root_file_system() -> None:
    """Also the empty one."""
    assert Managed(ROOTFS).scoped("/a") == f"{ROOTFS}/a"
    assert Managed(ROOTFS).scoped("") == ROOTFS


@given(st.text(alphabet="./amntv", max_size=30), st.sampled_from(["", "/", "/mnt/v", "a", ".."]))
def test_no_path_leads_out_of_the_plugins_directory(path: str, mount: str) -> None:
    """Whatever the plugin answers, and whatever its mount is called."""
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
def test_capabilities_are_the_manifest(types: list[str], implements: tuple[str, ...]) -> None:
    """Those that engines find a plugin by, as handshakes call them."""
    assert manifest_of(types).implements == implements


def test_what_no_look_up_matches_is_told() -> None:
    """A type's form, case, version or kind."""
    good = [f"docker.{name.lower()}/1.0" for name in SUBSYSTEMS]
    bad = ["docker.VolumeDriver/1.0", "docker.volumedriver", "docker.networkdriver/2.0"]
    bad += ["docker.weather/1.0", '.olumedriver"]/', "", "acme.authz/1.0"]

    assert unmatched([*good, *bad]) == tuple(bad)


def test_all_subsystems_that_engines_speak_have_a_capability() -> None:
    """The names of the domain are those of the classes."""
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
def test_a_name_is_written_as_engines_write_it(name: str, whole: str) -> None:
    """With its tag, and without what every name has."""
    assert familiar(name) == whole


def test_only_a_long_beginning_of_an_id_is_one() -> None:
    """A shorter one is what legacy plugins are called, and gets a tag that no id has."""
    assert asked_as("a" * 12) == "a" * 12
    assert asked_as("a" * 11) == "a" * 11 + ":latest"
    assert asked_as("g" * 12) == "g" * 12 + ":latest"


@given(st.text(max_size=40))
def test_a_name_of_an_engine_needs_no_escape_in_a_path(name: str) -> None:
    """Whatever is taken has neither dots for names nor what would end a path or a line."""
    if is_engine_name(name):
        assert not {*name} & {*" ?#%\\\\\r\n\0"}
        assert not {"", ".", ".."} & {*name.split("/")}


def test_a_protocol_that_is_not_spoken_is_refused() -> None:
    """It is told by the look-up, and dialled by no client."""
    other = Managed(ROOTFS, protocol="moby.plugins.grpc/v1")
    plugin = Plugin("p:latest", "unix:///p.sock", managed=other)

    assert plugin.protocol == "moby.plugins.grpc/v1"
    with pytest.raises(SpecError, match=r"speaks 'moby\.plugins\.grpc/v1'"):
        check_protocol(plugin)
