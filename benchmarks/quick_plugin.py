"""A plugin that answers every request with the same few bytes, as fast as Python can.

What it costs is the same for both sides of a pair, so the less the better:
``python quick_plugin.py SOCKET``.
"""

import re
import socket
import sys
import threading

BODY = b'{"Mountpoint":"/mnt/books","Err":""}\n'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def converse(connection: socket.socket) -> None:
    """Answer one request after the other until the host hangs up."""
    data = b""
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        size = int(length[1]) if length else 0
        if end and len(rest) >= size:
            connection.sendall(ANSWER)
            data = rest[size:]
            continue
        more = connection.recv(1 << 16)
        if not more:
            return
        data += more


def serve(path: str) -> None:
    """Listen on the UNIX socket ``path`` until the process is stopped."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=converse, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    serve(sys.argv[1])
