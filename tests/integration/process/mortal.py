"""A plugin to be killed: ``python -m … unix|tcp DIRECTORY [hangs]``."""

import sys
import time

from moby_plugins.serving import PluginApp, serve_tcp, serve_unix
from tests.integration.serving.plugins import Echo


class Echoes(Echo):
    """Says what it is told; or, where it is one that hangs, nothing for a long time."""

    def say(self, text: str) -> str:
        if "hangs" in sys.argv:
            time.sleep(600)
        return text


if __name__ == "__main__":
    kind, directory = sys.argv[1:3]
    app = PluginApp(Echoes())
    if kind == "unix":
        serve_unix(app, "echo", sockets_path=directory)
    else:
        serve_tcp(app, "echo", specs_path=directory)
