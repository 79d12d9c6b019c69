"""Texts of findings about a managed plugin's directory: what, why and what to do."""

from typing import Any

from moby_plugins.domain.findings import PROBLEM, WARNING, Finding
from moby_plugins.domain.packaging import FileObservations, Program
from tests.cases import every
from tests.unit.domain.test_packaging import RUNS, SOUND, judge

TYPES = ["docker.volumedriver/1.0"]
NO_PROGRAM = Finding(
    PROBLEM,
    "config.json: entrypoint",
    "it is missing",
    "an engine has nothing to run, and enabling fails",
    'name the program and its arguments, such as ["/usr/bin/python3", "/app"]',
)


@every(
    ("change", "finding"),
    [
        (
            {"interface": {"socket": "a.sock"}},
            Finding(
                PROBLEM,
                "config.json: interface.types",
                "there is none",
                "no engine asks the plugin for anything",
                "name what it implements, such as docker.volumedriver/1.0",
            ),
        ),
        (
            {"interface": {"types": ["docker.AuthZ/1.0"], "socket": "shelf.sock"}},
            Finding(
                PROBLEM,
                "config.json: interface.types",
                "'docker.AuthZ/1.0' has capital letters",
                "engines compare it to the letter, and never ask the plugin",
                "write 'docker.authz/1.0'",
            ),
        ),
        (
            {
                "interface": {
                    "types": ["networkdrive/1.0", "docker.volumedriver/1.0"],
                    "socket": "shelf.sock",
                }
            },
            Finding(
                PROBLEM,
                "config.json: interface.types",
                "'networkdrive/1.0' is not of the form docker.volumedriver/1.0",
                "engines compare it to the letter, and never ask the plugin",
                "write 'docker.networkdriver/1.0'",
            ),
        ),
        (
            {
                "interface": {
                    "types": ["docker.shelf/1.0", "docker.volumedriver/1.0"],
                    "socket": "shelf.sock",
                }
            },
            Finding(
                PROBLEM,
                "config.json: interface.types",
                "'docker.shelf/1.0': no engine asks for 'shelf'",
                "engines compare it to the letter, and never ask the plugin",
                "write 'docker.volumedriver/1.0'",
            ),
        ),
        (
            {
                "interface": {
                    "types": ["docker.ipam driver", "docker.volumedriver/1.0"],
                    "socket": "shelf.sock",
                }
            },
            Finding(
                PROBLEM,
                "config.json: interface.types",
                "'docker.ipam driver' is not of the form docker.volumedriver/1.0",
                "engines compare it to the letter, and never ask the plugin",
                "write 'docker.ipamdriver/1.0'",
            ),
        ),
        (
            {"interface": {"types": ["volumedriver"], "socket": "shelf.sock"}},
            Finding(
                PROBLEM,
                "config.json: interface.types",
                "'volumedriver' is not of the form docker.volumedriver/1.0",
                "engines compare it to the letter, and never ask the plugin",
                "write 'docker.volumedriver/1.0'",
            ),
        ),
        (
            {"interface": {"types": ["docker.volumedriver/2"], "socket": "shelf.sock"}},
            Finding(
                PROBLEM,
                "config.json: interface.types",
                "'docker.volumedriver/2' is not of the form docker.volumedriver/1.0",
                "engines compare it to the letter, and never ask the plugin",
                "write 'docker.volumedriver/1.0'",
            ),
        ),
        (
            {"interface": {"types": TYPES, "socket": ""}},
            Finding(
                PROBLEM,
                "config.json: interface.socket",
                "it is missing",
                (
                    "an engine dials /run/docker/plugins/ID/SOCKET, where ID has 64 digits, and"
                    " enabling fails"
                ),
                ("give the socket a short plain name, such as plugin.sock, here and in the plugin"),
            ),
        ),
        (
            {"interface": {"types": TYPES, "socket": "aaaaaaaaaaaaaaaaaaaaaaa"}},
            Finding(
                PROBLEM,
                "config.json: interface.socket",
                "'aaaaaaaaaaaaaaaaaaaaaaa' has 23 bytes, and an engine reaches at most 22",
                (
                    "an engine dials /run/docker/plugins/ID/SOCKET, where ID has 64 digits, and"
                    " enabling fails"
                ),
                ("give the socket a short plain name, such as plugin.sock, here and in the plugin"),
            ),
        ),
        (
            {"interface": {"types": TYPES, "socket": "a/b"}},
            Finding(
                PROBLEM,
                "config.json: interface.socket",
                "'a/b' is not a plain name of a file",
                (
                    "an engine dials /run/docker/plugins/ID/SOCKET, where ID has 64 digits, and"
                    " enabling fails"
                ),
                ("give the socket a short plain name, such as plugin.sock, here and in the plugin"),
            ),
        ),
        (
            {"interface": {"types": TYPES, "socket": "shelf.sock", "protocolScheme": "grpc"}},
            Finding(
                WARNING,
                "config.json: interface.protocolScheme",
                "'grpc' is not the protocol that engines speak to plugins",
                "only clients of that protocol can use it",
                'leave it out, or write "moby.plugins.http/v1"',
            ),
        ),
        ({"entrypoint": []}, NO_PROGRAM),
        ({"entrypoint": [""]}, NO_PROGRAM),
        (
            {"workdir": "app"},
            Finding(
                PROBLEM,
                "config.json: workdir",
                "'app' is not an absolute path",
                "the runtime refuses to start the plugin",
                'write an absolute path, or leave it out for "/"',
            ),
        ),
        (
            {"Extra": 1},
            Finding(
                WARNING,
                "config.json: Extra",
                "'Extra' is not a key of a plugin's configuration",
                "engines ignore it silently, so it has no effect",
                "remove it",
            ),
        ),
        (
            {"mounts": [{"name": "m", "destination": "/m"}]},
            Finding(
                PROBLEM,
                "config.json: mounts[0]",
                "'m' has no source",
                "enabling fails, and `docker plugin set` cannot give it one",
                "write a source that every host has, and leave it to `docker plugin set`",
            ),
        ),
        (
            {"mounts": [{"source": "/s", "destination": "/"}]},
            Finding(
                PROBLEM,
                "config.json: mounts[0]",
                "'/' has no destination but the root file system itself",
                "it hides all of the plugin, and the runtime cannot start it",
                "write the absolute path at which the plugin sees it",
            ),
        ),
        (
            {
                "interface": {"types": ["docker.logdriver/1.0"], "socket": "a.sock"},
                "mounts": [{"source": "/s", "destination": "/run"}],
            },
            Finding(
                PROBLEM,
                "config.json: mounts[0]",
                "/run hides /run/docker/logging",
                (
                    "an engine makes the FIFOs of a log driver in the root file system, and the"
                    " plugin does not see them"
                ),
                "mount it somewhere else",
            ),
        ),
        (
            {"linux": {"devices": [{"description": "none"}]}},
            Finding(
                PROBLEM,
                "config.json: linux.devices[0]",
                "'' has no path",
                "enabling fails, and `docker plugin set` cannot give it one",
                "write the path of a device",
            ),
        ),
        (
            {"linux": {"devices": [{"path": "/dev/fuse"}, {"name": "d"}]}},
            Finding(
                PROBLEM,
                "config.json: linux.devices[1]",
                "'d' has no path",
                "enabling fails, and `docker plugin set` cannot give it one",
                "write the path of a device",
            ),
        ),
        (
            {"propagatedMount": ""},
            Finding(
                WARNING,
                "config.json: propagatedMount",
                "there is none, and the plugin is a volumedriver",
                (
                    "what the plugin mounts, containers do not see: they write into its root"
                    " file system"
                ),
                "name the directory below which it mounts, such as /var/lib/shelf",
            ),
        ),
        (
            {"propagatedMount": "var"},
            Finding(
                WARNING,
                "config.json: propagatedMount",
                "'var' is not an absolute path",
                (
                    "an engine compares it with the paths in the plugin's responses, and finds"
                    " none there"
                ),
                "write an absolute path",
            ),
        ),
        (
            {"network": {"type": "none"}},
            Finding(
                WARNING,
                "config.json: network.type",
                "'none' gives the plugin no network",
                "a user who installs the plugin is asked to grant it, as a privilege",
                'write "" for no network, or "host" for that of the host',
            ),
        ),
        (
            {"network": {"type": "bridge"}},
            Finding(
                WARNING,
                "config.json: network.type",
                "'bridge' gives the plugin no network",
                "no engine makes a bridge for a plugin: it has no network",
                'write "" for no network, or "host" for that of the host',
            ),
        ),
        (
            {"user": {"uid": 1000}},
            Finding(
                WARNING,
                "config.json: user",
                "a user is named",
                "engines ignore it, and run the plugin as root",
                "remove it, and change the user in the program, if need be",
            ),
        ),
        (
            {"linux": {"capabilities": ["sys_admin"]}},
            Finding(
                WARNING,
                "config.json: linux.capabilities",
                "'sys_admin' is not a capability",
                "runtimes ignore it or refuse to start the plugin",
                "write it as CAP_SYS_ADMIN is written",
            ),
        ),
        (
            {"env": [{"name": "A", "settable": ["path"]}]},
            Finding(
                WARNING,
                "config.json: env",
                "'A' has 'path' settable",
                "`docker plugin set` refuses to set it",
                'give it a name, and "settable": ["value"]',
            ),
        ),
        (
            {"env": [{"settable": ["path"]}]},
            Finding(
                WARNING,
                "config.json: env",
                "'' has 'path' settable",
                "`docker plugin set` refuses to set it",
                'give it a name, and "settable": ["value"]',
            ),
        ),
        (
            {"linux": {"devices": [{"path": "/d", "settable": ["path"]}]}},
            Finding(
                WARNING,
                "config.json: devices",
                "an entry that is settable has no name",
                "`docker plugin set` refuses to set it",
                'give it a name, and "settable": ["path"]',
            ),
        ),
        (
            {"mounts": [{"source": "/d", "destination": "/d", "settable": ["source"]}]},
            Finding(
                WARNING,
                "config.json: mounts",
                "an entry that is settable has no name",
                "`docker plugin set` refuses to set it",
                'give it a name, and "settable": ["source"]',
            ),
        ),
        (
            {"args": {"settable": ["value"]}},
            Finding(
                WARNING,
                "config.json: args",
                "an entry that is settable has no name",
                "`docker plugin set` refuses to set it",
                'give it a name, and "settable": ["value"]',
            ),
        ),
    ],
)
def test_a_fault_in_the_configuration_gives_exactly_one_finding(
    change: dict[str, Any], finding: Finding
) -> None:
    """All texts of the finding are compared: where, what, why and what to do."""
    assert judge(SOUND | change) == [finding]


@every(
    ("seen", "change", "finding"),
    [
        (
            FileObservations(rootfs=False, program=RUNS),
            {},
            Finding(
                PROBLEM,
                "rootfs",
                "there is no such directory",
                "an engine refuses to create the plugin",
                "put the root file system of the plugin into rootfs, beside config.json",
            ),
        ),
        (
            FileObservations(rootfs=True, program=Program("/x", "is not in rootfs")),
            {},
            Finding(
                PROBLEM,
                "config.json: entrypoint",
                "/x is not in rootfs",
                "an engine cannot run it, and says only that it cannot dial a socket",
                "put into rootfs what is missing, or name another program",
            ),
        ),
        (
            FileObservations(rootfs=True, program=RUNS, machine="aarch64"),
            {},
            Finding(
                WARNING,
                "config.json: entrypoint",
                "/usr/bin/python3 is for x86_64, and this machine is aarch64",
                "it runs only where the engine's machine is of its kind",
                (
                    "build the root file system on a machine like the engine's, with a tag for"
                    " each kind"
                ),
            ),
        ),
        (
            FileObservations(rootfs=True, absent=("/m",)),
            {"mounts": [{"name": "m", "source": "/m", "destination": "/m"}]},
            Finding(
                WARNING,
                "config.json: mounts[0]",
                "/m, the source of 'm', is not on this machine",
                "enabling fails wherever it is missing",
                "create it beforehand, and say so in the plugin's description",
            ),
        ),
        (
            FileObservations(rootfs=True, odd=("dev/0", "dev/1", "dev/2")),
            {},
            Finding(
                WARNING,
                "rootfs",
                "dev/0, dev/1, dev/2: no file, directory or link",
                "they have no use there: an engine makes the devices that a plugin has",
                "remove them from the root file system",
            ),
        ),
        (
            FileObservations(rootfs=True, odd=("dev/0", "dev/1", "dev/2", "dev/3")),
            {},
            Finding(
                WARNING,
                "rootfs",
                "dev/0, dev/1, dev/2 and 1 more: no file, directory or link",
                "they have no use there: an engine makes the devices that a plugin has",
                "remove them from the root file system",
            ),
        ),
        (
            FileObservations(rootfs=True, looked_at=200_000, cut=True),
            {},
            Finding(
                WARNING,
                "rootfs",
                "it has more than 200,000 entries, and the rest was not looked at",
                "an engine unpacks all of them, for each plugin that is created",
                "leave out what the plugin does not need",
            ),
        ),
    ],
)
def test_a_fault_in_the_files_gives_exactly_one_finding(
    seen: FileObservations, change: dict[str, Any], finding: Finding
) -> None:
    """All texts of the finding are compared: where, what, why and what to do."""
    assert judge(SOUND | change, seen) == [finding]


@every(
    "change",
    [
        {"interface": {"types": TYPES, "socket": "a" * 22}},
        {"interface": {"types": TYPES, "socket": "a", "protocolScheme": "moby.plugins.http/v1"}},
        {"workdir": "/app"},
        {"mounts": [{"source": "", "destination": "/run"}]},
        {"linux": {"capabilities": ["CAP_A1_"], "devices": [{"path": ""}]}},
        {"user": {"uid": 0, "gid": 0}},
        {"env": [{"name": "A", "settable": ["value"]}]},
    ],
)
def test_a_configuration_just_within_the_rules_has_no_finding(change: dict[str, Any]) -> None:
    """Each case differs only a little from one that has a finding in the tests above."""
    assert judge(SOUND | change) == []
