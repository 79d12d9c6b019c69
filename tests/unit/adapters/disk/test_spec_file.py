"""Spec files that a plugin writes for itself."""

import json
import os
from pathlib import Path

import pytest

from moby_plugins.adapters.disk.discovery import FilesystemDiscovery
from moby_plugins.adapters.disk.spec_file import write_spec
from moby_plugins.domain.address import Address, ServerTLS, TLSOptions
from moby_plugins.domain.errors import SpecError

ADDRESS = "tcp://127.0.0.1:4711"
SECURE = "https://localhost:4711"


def nobody(_: Address) -> bool:
    """No process listens at any address."""
    return False


def test_a_spec_without_tls_holds_only_the_address(tmp_path: Path) -> None:
    """It is NAME.spec, and all users can read it."""
    write_spec(str(tmp_path / "plugins"), "vol", ADDRESS, None, nobody)

    path = tmp_path / "plugins" / "vol.spec"
    assert path.read_text() == ADDRESS
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["vol.spec"]


def test_a_spec_with_tls_says_how_hosts_verify_the_plugin(tmp_path: Path) -> None:
    """It has the https address, and absolute paths of the CA file and the host's certificate."""
    tls = ServerTLS("s.pem", "s.key", "ca.pem", "clients.pem", "/h.pem", "/h.key")

    write_spec(str(tmp_path), "vol", SECURE, tls, nobody)

    plugin = FilesystemDiscovery(str(tmp_path), [str(tmp_path)]).lookup("vol")
    assert plugin.addr == SECURE
    assert plugin.tls_config == TLSOptions(
        ca_file=os.path.abspath("ca.pem"), cert_file="/h.pem", key_file="/h.key"
    )


def test_a_spec_without_a_ca_file_has_no_tls_config(tmp_path: Path) -> None:
    """Hosts then verify by their own roots; an empty CAFile would switch verification off."""
    write_spec(str(tmp_path), "vol", SECURE, ServerTLS("s.pem", "s.key"), nobody)

    assert json.loads((tmp_path / "vol.json").read_text()) == {"Addr": SECURE}


def test_an_older_spec_is_replaced(tmp_path: Path) -> None:
    """A spec that a killed plugin left behind does not matter."""
    (tmp_path / "vol.spec").write_text("tcp://127.0.0.1:1")

    write_spec(str(tmp_path), "vol", ADDRESS, None, nobody)

    assert (tmp_path / "vol.spec").read_text() == ADDRESS


@pytest.mark.parametrize("older", ["tcp://127.0.0.1:1", '{"Addr": "https://[::1]:1"}'])
def test_the_spec_of_a_plugin_that_still_listens_is_not_replaced(
    tmp_path: Path, older: str
) -> None:
    """Otherwise it would run on, and no host would find it any more."""
    path = tmp_path / ("vol.json" if older.startswith("{") else "vol.spec")
    path.write_text(older)
    tls = ServerTLS("s.pem", "s.key") if older.startswith("{") else None

    with pytest.raises(SpecError, match=r"a plugin of this name listens at .*:1: stop it first"):
        write_spec(str(tmp_path), "vol", ADDRESS, tls, lambda address: address.port == 1)

    assert path.read_text() == older


@pytest.mark.parametrize("older", ["nonsense", "unix:///p.sock", "tcp://0.0.0.0:4711"])
def test_a_spec_of_no_other_listening_plugin_is_replaced(tmp_path: Path, older: str) -> None:
    """It is broken, is of a plugin with a socket file, or has the port that this plugin has now."""
    (tmp_path / "vol.spec").write_text(older)

    write_spec(str(tmp_path), "vol", ADDRESS, None, lambda _: True)

    assert (tmp_path / "vol.spec").read_text() == ADDRESS


def test_an_older_spec_that_would_hide_the_new_one_is_an_error(tmp_path: Path) -> None:
    """Hosts read NAME.spec before NAME.json, and would call the wrong address in plain text."""
    older = tmp_path / "vol.spec"
    older.write_text(ADDRESS)

    with pytest.raises(SpecError) as raised:
        write_spec(str(tmp_path), "vol", SECURE, ServerTLS("s.pem", "s.key"), nobody)

    path = tmp_path / "vol.json"
    assert str(raised.value) == f"{older}: remove this file: hosts would read it, not {path}"
    assert not path.exists()


def test_the_function_that_write_spec_returns_removes_the_spec(tmp_path: Path) -> None:
    """A second call of it does nothing."""
    remove = write_spec(str(tmp_path), "vol", ADDRESS, None, nobody)

    remove()
    remove()

    assert os.listdir(tmp_path) == []


def test_a_spec_that_another_plugin_has_written_since_is_not_removed(tmp_path: Path) -> None:
    """A plugin of the same name that started later keeps its spec."""
    remove = write_spec(str(tmp_path), "vol", ADDRESS, None, nobody)
    (tmp_path / "vol.spec").write_text(f"{ADDRESS}1")

    remove()

    assert (tmp_path / "vol.spec").read_text() == f"{ADDRESS}1"


def test_a_directory_for_specs_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """The error names the spec, and the operating system's reason is its cause."""
    (tmp_path / "file").write_text("")

    with pytest.raises(SpecError, match="cannot be written: Not a directory") as raised:
        write_spec(str(tmp_path / "file" / "plugins"), "vol", ADDRESS, None, nobody)

    assert raised.value.file == f"{tmp_path}/file/plugins/vol.spec"
    assert isinstance(raised.value.__cause__, NotADirectoryError)


def test_a_spec_that_cannot_be_written_leaves_no_temporary_file(tmp_path: Path) -> None:
    """One is left neither beside the spec nor in its place."""
    (tmp_path / "vol.spec").mkdir()

    with pytest.raises(SpecError, match="cannot be written: Is a directory"):
        write_spec(str(tmp_path), "vol", ADDRESS, None, nobody)

    assert os.listdir(tmp_path) == ["vol.spec"]
