"""A process that notes which paths and sockets the library opens, whatever it is told.

    python -m tests.integration.hostile.path_witness DIRECTORY

DIRECTORY gets sockets, specs and, outside of them, secrets. Names, specs and answers
are made up by hypothesis. Prints, as a JSON array, the paths that were opened and not configured.
"""

import contextlib
import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from moby_plugins import PluginError, RetryPolicy, Settings, new_local_registry
from moby_plugins.app.registry import Registry
from moby_plugins.domain.json import first_value
from moby_plugins.subsystems import SecretProvider, SecretRequest, VolumeDriver
from tests.dummy_plugin import Conversation, DummyPlugin, http
from tests.integration.hostile.bounds import ROUNDS

EXAMPLES = 300 * ROUNDS
# What can be told of the file system by the interpreter's own witness.
WATCHED = (
    "open", "os.", "shutil.", "socket.connect", "socket.bind", "subprocess.", "pty.", "tempfile.",
)  # fmt: skip
# Modules that are imported when they are first needed.
PYTHON = (
    *(
        os.path.realpath(path) + os.sep
        for path in (sys.base_prefix, sys.prefix, *sysconfig.get_paths().values())
    ),
    str(Path(__file__).parents[3] / "src") + os.sep,
)

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
OUTSIDE = ("../secret", "../../etc/passwd", "/etc/passwd", "/secret/x", "..", ".", "~", "$HOME")


class Witness:
    """An audit hook with a memory; at and below the ``allowed`` paths all is well."""

    def __init__(self, *allowed: Path) -> None:
        self.allowed = [str(path) for path in allowed]
        self.seen: list[tuple[str, str]] = []
        self._watching = False
        self._import_paths = {os.path.realpath(path) for path in sys.path} | set(sys.path)
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Note what happens inside."""
        self._watching = True
        try:
            yield
        finally:
            self._watching = False

    def _hook(self, event: str, args: tuple[object, ...]) -> None:
        if not self._watching or not event.startswith(WATCHED):
            return
        target = args[1] if event == "socket.connect" else args[0] if args else ""
        if isinstance(target, int):
            return  # a descriptor, of something that was opened before
        path = os.fsdecode(target) if isinstance(target, (str, bytes)) else str(target)
        if event == "os.listdir" and path in self._import_paths:
            return  # a module is looked for
        if not self._is_well(os.path.normpath(path)):
            self.seen.append((event, path))

    def _is_well(self, path: str) -> bool:
        return path.startswith(PYTHON) or any(
            path == place or path.startswith(place + os.sep) for place in self.allowed
        )


def names() -> st.SearchStrategy[str]:
    """Names that should never be given, and some that exist."""
    parts = st.sampled_from([*OUTSIDE, "a", "b", "secret", "x.spec", "x", "\0", "\udcff", "\ud800"])
    return st.text(max_size=30) | st.lists(parts, max_size=4).map("/".join) | parts


def values() -> st.SearchStrategy[object]:
    """JSON that speaks of paths wherever it can."""
    keys = st.sampled_from(
        ["Mountpoint", "Volume", "Volumes", "Name", "Err", "Implements", "Value"]
    )
    leaves = LEAVES | st.sampled_from(OUTSIDE)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
    )


def specs() -> st.SearchStrategy[str]:
    """Specs of any content but an address that can be dialled."""
    tls = st.dictionaries(
        st.sampled_from(["CAFile", "CertFile", "KeyFile"]), st.sampled_from(OUTSIDE)
    )
    return st.text(max_size=40) | st.fixed_dictionaries(
        {"Addr": st.sampled_from(["", "file:///etc/passwd", "/etc/passwd", "unix://", "npipe:x"])},
        optional={
            "TLSConfig": tls,
            "Include": st.sampled_from(OUTSIDE),
            "Name": st.sampled_from(OUTSIDE),
        },
    ).map(json.dumps)


def try_names(witness: Witness, registry: Registry) -> None:
    """Ask for plugins by any name."""

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True)
    @given(names())
    def run(name: str) -> None:
        with witness.watching(), contextlib.suppress(PluginError):
            registry.get(name, "VolumeDriver")

    run()


def try_specs(witness: Witness, registry: Registry, directory: Path) -> None:
    """Ask for plugins with any spec."""

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True)
    @given(specs(), st.sampled_from([".spec", ".json"]))
    def run(content: str, suffix: str) -> None:
        path = directory / f"made{suffix}"
        path.write_text(content, errors="surrogatepass")
        with witness.watching(), contextlib.suppress(PluginError):
            registry.get("made", "VolumeDriver")
        path.unlink()

    run()


def try_answers(witness: Witness, registry: Registry, answers: list[bytes]) -> None:
    """Call a plugin that answers anything, as its typed proxies do."""
    client = registry.get("b", "VolumeDriver").client
    volumes, secrets = VolumeDriver(client), SecretProvider(client)
    calls = (
        lambda: volumes.mount("v", "id"),
        lambda: volumes.get("v"),
        volumes.list,
        lambda: secrets.get_secret(SecretRequest(secret_name="../x")),
    )

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True)
    @given(values(), st.sampled_from(calls), st.sampled_from([200, 301, 307, 500]))
    def run(value: object, call: object, status: int) -> None:
        body = json.dumps(value).encode()
        assert first_value(body) is not NotImplemented
        answers.append(
            http(body, status).replace(b"\r\n", b"\r\nLocation: file:///etc/passwd\r\n", 1)
        )
        with witness.watching(), contextlib.suppress(PluginError):
            call()  # type: ignore[operator]

    run()


def main() -> None:
    """Make everything up, and print what was opened that should not have been."""
    base = Path(sys.argv[1])
    run, etc, secret = base / "run", base / "etc", base / "secret"
    for directory in (run, etc, secret):
        directory.mkdir()
        (directory / "secret.spec").write_text(f"unix://{secret}/p.sock")
    (etc / "a.spec").write_text("tcp://127.0.0.1:1")
    answers = [http(b'{"Implements":["VolumeDriver"]}')]

    def answer(conversation: Conversation) -> None:
        conversation.sock.settimeout(5)
        with contextlib.suppress(OSError):
            while conversation.read_request():
                conversation.send(answers.pop())

    # The socket that a spec names, and a TCP address, are what the administrator wrote.
    named = (Path("('127.0.0.1', 1)"), secret / "p.sock", Path("/proc/self/uid_map"))
    witness = Witness(run, etc, *named)
    here = Settings(sockets_path=str(run), specs_paths=(str(etc),), retry=RetryPolicy.never())
    with DummyPlugin.on_unix(run / "b.sock", answer), new_local_registry(here) as registry:
        try_answers(witness, registry, answers)
        try_names(witness, registry)
        try_specs(witness, registry, etc)
    with witness.watching(), contextlib.suppress(OSError):
        # The witness is awake: this it must report.
        (secret / "awake").read_text()
    sys.stdout.write(json.dumps(witness.seen))


if __name__ == "__main__":
    main()
