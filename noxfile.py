"""What depends on the Python, on each that is found: ``make pythons`` builds, and starts nox.

``make`` is the front: it has all that must pass on one Python. In the sessions ``unit``, the wheel
and the sdist of ``dist`` are tried as users get them: the wheel is installed in a new environment,
and the tests are those of the unpacked sdist. nox names the Pythons that are not found, which are
skipped.
"""

import shutil
import tarfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["unit"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
DIST = Path(__file__).parent / "dist"


def _install(session: nox.Session) -> Path:
    """Install the wheel and what tests need; return the sdist's directory."""
    wheels, sdists = list(DIST.glob("*.whl")), list(DIST.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        session.error("dist/ has no wheel and sdist, or several: run `make dist` first")
    room = Path(session.create_tmp())
    shutil.rmtree(room / "sdist", ignore_errors=True)
    with tarfile.open(sdists[0]) as sdist:
        sdist.extractall(room / "sdist", filter="data")
    (unpacked,) = (room / "sdist").iterdir()
    session.install("--quiet", "--upgrade", "pip>=25.1")
    session.install("--quiet", "--force-reinstall", "--no-deps", str(wheels[0]))
    session.install("--quiet", f"{wheels[0]}[cli]")
    session.chdir(unpacked)
    session.install("--quiet", "--group", "test")
    return unpacked


@nox.session(python=PYTHONS)
def unit(session: nox.Session) -> None:
    """Run the unit tests; arguments after ``--`` go to pytest."""
    _install(session)
    session.run("pytest", "-q", "tests/unit", *session.posargs)


@nox.session(python=PYTHONS)
def integration(session: nox.Session) -> None:
    """Run the tests over real sockets of hosts and of asyncio, or the places after ``--``."""
    _install(session)
    places = session.posargs or ["tests/integration/host", "tests/integration/aio"]
    session.run("pytest", "-q", *places)


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Build a wheel of the tree, and try its commands in an environment with nothing else."""
    session.run("bash", ".ci/try-wheel", str(Path(session.bin) / "python"), external=True)
