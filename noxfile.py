"""The unit tests on each Python that is found, and the suite's parts by name.

``make`` is the front: it has all that must pass on one Python. This runs what depends on it; nox
names the Pythons that are not found, which are skipped.
"""

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["unit"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def _install(session: nox.Session) -> None:
    session.install("--upgrade", "pip>=25.1")
    session.run_install("pip", "install", "--quiet", "--group", "test")
    session.install("--force-reinstall", "--no-deps", ".")
    session.install(".[cli]")


@nox.session(python=PYTHONS)
def unit(session: nox.Session) -> None:
    """Run the unit tests on the built wheel; arguments after ``--`` go to pytest."""
    _install(session)
    session.run("pytest", "-q", "tests/unit", *session.posargs)


@nox.session(python=PYTHONS)
def host(session: nox.Session) -> None:
    """Run the host's tests over real sockets."""
    _install(session)
    session.run("pytest", "-q", "tests/integration/host", *session.posargs)


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Try the wheel, and every command, in an environment with nothing else."""
    session.run("bash", ".ci/try-wheel", str(session.virtualenv.interpreter), external=True)
