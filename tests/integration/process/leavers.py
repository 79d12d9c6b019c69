"""A plugin whose hosts leave in the middle of an answer: ``python -m … DIRECTORY``."""

import gc
import logging
import socket
import sys
import time

from moby_plugins.serving import PluginApp, plugin_server_unix
from tests.integration.serving.plugins import WAIT, Layers, post

HOSTS = 5

if __name__ == "__main__":
    logging.disable()
    layers = Layers()
    with plugin_server_unix(PluginApp(layers), "p", sockets_path=sys.argv[1], drain=0.2) as server:
        for _ in range(HOSTS):
            with socket.socket(socket.AF_UNIX) as host:
                host.connect(server.addr.removeprefix("unix://"))
                host.sendall(post("GraphDriver.Diff", b'{"ID":"endless","Parent":""}'))
                host.recv(1000)
            layers.left.wait(WAIT)
            layers.left.clear()
        time.sleep(0.1)
    # What is left of connections says now what it has to say.
    gc.collect()
    print("left", HOSTS)
