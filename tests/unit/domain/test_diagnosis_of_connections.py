"""Findings about a plugin that cannot be reached, or not safely."""

import errno

from moby_plugins.domain.address import TLSOptions
from moby_plugins.domain.diagnosis import Observations, diagnose, tls_files
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.findings import PROBLEM, Finding
from moby_plugins.domain.plugin import Candidate, Plugin
from tests.cases import every

SPEC = "/etc/p/db.json"
TLS = TLSOptions(ca_file="/ca", cert_file="/cert", key_file="/key")


def spec(addr: str, tls: TLSOptions | None = None) -> Candidate:
    """A plugin found by its spec."""
    return Candidate(SPEC, Plugin("db", addr, tls))


@every(
    ("candidate", "failures", "what", "why", "remedy"),
    [
        (
            spec("unix://var/x.sock"),
            {},
            "unix://var/x.sock names the relative path var/x.sock",
            "it leads elsewhere for each host, by the directory that this was started in",
            "write three slashes: unix:///var/x.sock",
        ),
        (
            spec("unix:///x.sock"),
            {"/x.sock": errno.ECONNREFUSED},
            "stale socket: it exists, but no process listens on it",
            "hosts try for 15 seconds, and fail",
            "start the plugin; or, if it is gone for good, rm /x.sock",
        ),
        (
            spec("unix:///x.sock"),
            {"/x.sock": errno.EPERM},
            "no permission to connect to the socket",
            "hosts try for 15 seconds, and fail",
            "run this as the host's user; or let that user write to /x.sock",
        ),
        (
            spec("unix:///x.sock"),
            {"/x.sock": errno.ENOENT},
            "no socket there; is the plugin running?",
            "hosts try for 15 seconds, and fail",
            "start the plugin",
        ),
        (
            spec("unix:///x.sock"),
            {"/x.sock": 4711},
            "4711",
            "hosts try for 15 seconds, and fail",
            "start the plugin",
        ),
        (
            spec("https://h:1", TLSOptions(insecure_skip_verify=True)),
            {},
            "TLS without verification of the plugin",
            "anyone between host and plugin can read and change every call",
            "give TLSConfig.CAFile in a .json spec; without it, nothing is verified",
        ),
        (
            spec("tcp://h:1", TLSOptions(ca_file="/ca")),
            {},
            "TLS options are given, but only https:// is encrypted: this is plain text",
            "calls and their secrets can be read on the way, although the spec asks for TLS",
            "write https:// in place of tcp:// or http://",
        ),
        (
            spec("https://h:1", TLS),
            {"/cert": errno.ENOENT},
            "CertFile /cert is missing",
            "hosts cannot speak TLS with the plugin",
            "put the file there, or correct the spec",
        ),
        (
            spec("https://h:1", TLS),
            {"/key": errno.EACCES},
            "KeyFile /key cannot be read",
            "hosts cannot speak TLS with the plugin",
            "run this as the host's user, or let that user read the file",
        ),
    ],
)
def test_a_finding_about_a_connection_is_complete(
    candidate: Candidate, failures: dict[str, int], what: str, why: str, remedy: str
) -> None:
    """The finding is about the spec, and says what is wrong, why it matters and what to do."""
    machine = Observations("/run/p", ("/etc/p",), {"db": (candidate,)}, failures=failures)

    assert diagnose(machine) == (Finding(PROBLEM, SPEC, what, why, remedy),)


def test_a_finding_about_a_private_key_that_all_can_read_is_complete() -> None:
    """The finding is about the key's file, and says who could misuse the key and what to do."""
    machine = Observations("/run/p", (), {"db": (spec("https://h:1", TLS),)}, modes={"/key": 0o644})

    assert diagnose(machine) == (
        Finding(
            PROBLEM,
            "/key",
            "every user can read this private key",
            "any of them can pose as the host",
            "chmod 600 /key",
        ),
    )


def test_tls_files_returns_the_files_that_the_specs_of_all_plugins_name() -> None:
    """Hidden specs count too; a spec that is broken, or has no TLS options, names no file."""
    broken = Candidate(SPEC, error=SpecError("no address", SPEC))
    other = Candidate("/lib/p/a.json", Plugin("a", "https://h", TLSOptions(key_file="/other")))
    plugins = {"db": (broken, spec("tcp://h"), spec("https://h:1", TLS)), "a": (other,)}

    assert tls_files(plugins) == ["/ca", "/cert", "/key", "/other"]
