"""A process in which a spec becomes something else between the look at it and its opening.

    python -m tests.integration.hostile.directory_race DIRECTORY KIND

An audit hook stands in the gap: it runs after the look-up has seen a regular file
and before the operating system opens it. Prints what the look-up came to, or
``blocked`` where it waits for longer than ``PATIENCE`` seconds.
"""

import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from moby_plugins import PluginError
from moby_plugins.adapters.disk.discovery import FilesystemDiscovery
from tests.integration.hostile.bounds import ROUNDS

PATIENCE = 30 * ROUNDS
LOOK_UPS = 10_000 * ROUNDS


def terminal(path: Path) -> None:
    """A link to a terminal, which a process without one would make its own by opening it."""
    os.setsid()
    _, other = os.openpty()
    path.symlink_to(os.ttyname(other))


def grows(path: Path) -> None:
    """A file to which a process writes for ever."""
    path.touch()

    def write() -> None:
        with path.open("ab") as file:
            while file.tell() < 1 << 32:
                file.write(b" " * 65536)
                file.truncate(file.tell())

    threading.Thread(target=write, daemon=True).start()


def sparse(path: Path) -> None:
    """Ten gigabytes of nothing."""
    path.touch()
    os.truncate(path, 10 << 30)


def listens(path: Path) -> None:
    """A socket."""
    socket.socket(socket.AF_UNIX).bind(str(path))


def links_to_fifo(path: Path) -> None:
    """A link to a FIFO beside it."""
    os.mkfifo(f"{path}.fifo")
    path.symlink_to(f"{path}.fifo")


KINDS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _: None,
    "a fifo": os.mkfifo,
    "a directory": lambda path: path.mkdir(),
    "a socket": listens,
    "a link in a circle": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a fifo": links_to_fifo,
    "a terminal": terminal,
    "ten gigabytes": sparse,
    "a file that grows": grows,
    "another address": lambda path: path.write_text("tcp://other:2"),
}


def outcome(discovery: FilesystemDiscovery) -> str:
    """What looking ``x`` up comes to."""
    try:
        return discovery.lookup("x").addr
    except PluginError as error:
        return type(error).__name__


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError as error:
        return error.errno != errno.ENXIO
    return True


def swap_when_opened(spec: Path, kind: str) -> None:
    """Let ``spec`` become ``kind`` when it is about to be opened, once."""
    pending = [KINDS[kind]]

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and args[0] == str(spec) and pending:
            make = pending.pop()
            spec.unlink()
            make(spec)

    sys.addaudithook(hook)


def storm(spec: Path, discovery: FilesystemDiscovery) -> str:
    """All kinds in turn, as quickly as they can be exchanged, while look-ups and scans run."""
    over = threading.Event()
    kinds = {
        kind: make
        for kind, make in KINDS.items()
        if kind not in {"a terminal", "a file that grows"}
    }

    def exchange() -> None:
        for make in cycle(kinds.values()):
            if over.is_set():
                return
            made = spec.with_suffix(".new")
            make(made)
            if made.is_dir() and not made.is_symlink():
                made.rmdir()
            elif os.path.lexists(made):
                made.rename(spec)
            for rest in spec.parent.glob("*.fifo"):
                rest.unlink()

    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=exchange)
    thread.start()
    came = set()
    for _ in range(LOOK_UPS):
        came.add(outcome(discovery))
        assert set(discovery.scan()) <= {"x"}
    over.set()
    thread.join()
    return " ".join(sorted(came))


def give_up(*_: object) -> None:
    """Say that a look-up waits for something, and end."""
    tell("blocked")
    os._exit(1)


def main() -> None:
    """Print what came of it."""
    directory, kind = Path(sys.argv[1]), sys.argv[2]
    spec = directory / "x.spec"
    spec.write_text("tcp://first:1")
    discovery = FilesystemDiscovery(directory / "run", (directory,))
    outcome(discovery)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    if kind == "all in turn":
        tell(storm(spec, discovery))
        return
    swap_when_opened(spec, kind)
    came = outcome(discovery)
    took_terminal = kind == "a terminal" and has_terminal()
    tell(f"{came} and took the terminal" if took_terminal else came)


def tell(what: str) -> None:
    """Report it to the process that started this one."""
    sys.stdout.write(what)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
