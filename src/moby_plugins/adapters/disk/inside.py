"""Run programs inside a root file system: as root with ``chroot``, else in a user namespace.

They see only that root file system and the given environment. Their time, their output and the
size of each file that they write are bounded.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

from attrs import frozen

from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import shown
from moby_plugins.platforms import check_platform

# The most bytes of a file that is written, and of each output stream.
MAX_FILE_BYTES = 256 << 20
_MAX_OUTPUT = 64 << 10
_NEEDED = ("chroot", "unshare")


@frozen
class Ran:
    """The result of a program: exit status, ``None`` after a time-out, and its last output."""

    status: int | None
    stdout: str
    stderr: str


def run_inside(
    root: str, command: Sequence[str], environ: Mapping[str, str], timeout: float
) -> Ran:
    """Run ``command`` in the root file system at ``root``, for ``timeout`` seconds at most.

    After that time, or when the program ends, the remaining processes of its process group are
    killed. ``status`` of the result is the exit status, ``None`` after a time-out. Raises
    ``SpecError`` if no program can be run there.
    """
    check_platform("packaging a managed plugin")
    import resource

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(  # noqa: S603  no shell
                [*_entering(root), *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(environ),
                start_new_session=True,
            )
        except OSError as error:
            raise SpecError(f"programs cannot be run in it: {shown(error)}", root) from error
        status: int | None = None
        try:
            with suppress(ProcessLookupError, PermissionError):
                limits = (MAX_FILE_BYTES, MAX_FILE_BYTES)
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return Ran(status, _end_of(out.fileno()), _end_of(err.fileno()))


def _entering(root: str) -> list[str]:
    wanted = _NEEDED[:1] if os.geteuid() == 0 else _NEEDED
    programs = {name: shutil.which(name, path=f"{os.defpath}:/usr/sbin:/sbin") for name in wanted}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        raise SpecError(
            f"running a program in it needs {missing[0]}: install {missing[0]} on this machine",
            root,
        )
    chroot = [str(programs["chroot"]), root]
    if os.geteuid() == 0:
        return chroot
    return [str(programs["unshare"]), "--user", "--map-root-user", *chroot]


def _end_of(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _MAX_OUTPUT, max(size - _MAX_OUTPUT, 0)).decode(errors="replace")
