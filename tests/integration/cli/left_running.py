"""A plugin that does not let go: ``left_running.py SOCKET [spin|leak|chroot]``.

Once it was called it burns a core, or each call leaves a descriptor open, or it has another root.
"""

import os
import sys
import tempfile
import threading

from moby_plugins import Request, Response
from moby_plugins.serving import PluginApp, plugin_server_unix
from tests.unit.checks.good_plugin import Volumes
from tests.unit.checks.good_storage import Logs

kept: list[int] = []


def spin() -> None:
    """Use a core without end."""
    while True:
        pass


def main(path: str, how: str) -> None:
    """Serve until the process is ended."""
    app = PluginApp(Logs() if how == "chroot" else Volumes())
    called = threading.Event()

    def answer(request: Request) -> Response:
        if how == "spin" and not called.is_set():
            called.set()
            threading.Thread(target=spin, daemon=True).start()
        if how == "leak":
            kept.append(os.open("/dev/null", os.O_RDONLY))
        return app(request)

    with plugin_server_unix(answer, path):
        if how == "chroot":
            os.chroot(tempfile.mkdtemp(dir=os.path.dirname(path)))
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
