"""The recipes for root file systems in ``examples/rootfs``, each up to an enabled plugin."""

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.components import requires
from tests.integration.engine.dockerd import Engine
from tests.integration.engine.plugin_process import EXAMPLES
from tests.integration.python_root import python_root

CHECKOUT = EXAMPLES.parent
# The recipes' python3 is the one that runs the tests.
PYTHON = Path(sys.executable).parent
pytestmark = requires("docker.io", "dockerd", "docker", root=True)


def recipe(name: str, *words: str, cwd: Path, **environment: str) -> None:
    """Run a recipe to its end; a failure is the test's."""
    # Unless it is told not to, coverage would trace all of what a recipe builds with Python.
    untraced = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        [str(EXAMPLES / "rootfs" / name), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=cwd,
        env={**untraced, "PATH": f"{PYTHON}:{os.environ['PATH']}", **environment},
    )
    assert done.returncode == 0, done.stderr


def package_and_enable(engine: Engine, name: str, cwd: Path, *words: str) -> None:
    """Package the example volume driver, create it, enable it, and ask it for a volume."""
    app = ("package", "volume_plugin:app", "--name", name, "--propagated-mount", "/var/lib/shelf")
    where = ("--create", "--engine", f"unix://{engine.directory}/docker.sock")
    done = subprocess.run(
        [sys.executable, "-m", "moby_plugins", *app, *where, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=cwd,
    )
    assert (done.returncode, done.stdout) == (0, "nothing is wrong\n"), done.stderr
    try:
        engine.docker("plugin", "enable", name)
        engine.docker("volume", "create", "-d", name, f"of-{name}")
        engine.docker("volume", "rm", f"of-{name}")
    finally:
        engine.try_docker("plugin", "rm", "--force", name)


@requires("mmdebstrap", "mmdebstrap", root=True)
def test_a_root_file_system_of_debian_packages_makes_a_plugin(
    engine: Engine, short_path: Path
) -> None:
    """The recipe ``debian.sh`` installs Python, and only the packages that Python needs."""
    recipe("debian.sh", "root", cwd=short_path, MOBY_PLUGINS=f"{CHECKOUT}[serve]")

    source = ("--source", str(EXAMPLES / "volume_plugin.py"))
    package_and_enable(engine, "mp-debian", short_path, "--rootfs", "root", *source)


MAIN = """
from volume_plugin import app
from moby_plugins.serving import serve_managed

serve_managed(app, "mp-one")
"""


@requires("ldd", "ldd", root=True)
def test_a_root_file_system_of_one_program_makes_a_plugin(engine: Engine, short_path: Path) -> None:
    """The recipe ``pyinstaller.sh`` copies the program and the libraries that it needs."""
    (short_path / "main.py").write_text(MAIN)
    recipe("pyinstaller.sh", "main.py", "root", cwd=short_path, PYTHONPATH=str(EXAMPLES))

    entrypoint = ("--entrypoint", "/plugin/plugin")
    package_and_enable(engine, "mp-one", short_path, "--rootfs", "root", *entrypoint)


def test_a_root_file_system_from_an_image_makes_a_plugin(engine: Engine, short_path: Path) -> None:
    """The recipe ``image.sh`` exports the content of an image, here without a registry."""
    python_root(short_path / "python")
    packed = subprocess.run(
        ["/usr/bin/env", "tar", "-C", str(short_path / "python"), "-c", "."],
        capture_output=True,
        check=True,
    )
    engine.docker("import", "-", "mp-python-image", stdin=packed.stdout)
    with (short_path / "root.tar").open("wb") as tar:
        subprocess.run(
            [str(EXAMPLES / "rootfs" / "image.sh"), "mp-python-image"],
            stdout=tar,
            check=True,
            timeout=120,
            env={**os.environ, "DOCKER_HOST": f"unix://{engine.directory}/docker.sock"},
        )

    source = ("--source", str(EXAMPLES / "volume_plugin.py"))
    package_and_enable(engine, "mp-image", short_path, "--rootfs", "root.tar", *source)
    engine.docker("rmi", "mp-python-image")
