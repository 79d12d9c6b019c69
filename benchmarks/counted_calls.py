"""A program whose calls a tool counts: ``python counted_calls.py SOCKET HOW CALLS``.

``HOW`` is a transport, or ``bare`` for the same bytes over a bare socket. It imports little, as
under valgrind that takes longer than the calls.
"""

import gc
import socket
import sys

from moby_plugins import Settings, new_client

METHOD = "VolumeDriver.Mount"
ARGS = {"Name": "books", "ID": "reader-1"}
BODY = b'{"Name":"books","ID":"reader-1"}'
REQUEST = (
    b"POST /VolumeDriver.Mount HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
TIMEOUT = 30.0


def bare(path: str, count: int) -> None:
    """Send the bytes of a request and receive the response, ``count`` times."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        for _ in range(count):
            sock.sendall(REQUEST)
            assert sock.recv(1 << 16)


def calls(path: str, transport: str, count: int) -> None:
    """Call the plugin ``count`` times."""
    chosen = Settings(transports={"unix": transport})
    with new_client(f"unix://{path}", settings=chosen) as client:
        for _ in range(count):
            assert client.call(METHOD, ARGS, timeout=TIMEOUT)["Mountpoint"]


if __name__ == "__main__":
    # Collect garbage now, so that imported objects are not examined in only some of the runs.
    gc.collect()
    gc.freeze()
    if sys.argv[2] == "bare":
        bare(sys.argv[1], int(sys.argv[3]))
    else:
        calls(sys.argv[1], sys.argv[2], int(sys.argv[3]))
