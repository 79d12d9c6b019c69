"""A listening socket for a machine that has run out of descriptors."""

import errno
import logging
import socket
import time
from typing import Any

logger = logging.getLogger("moby_plugins")

# What a process, or the machine, has run out of where ``accept`` fails so.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# Seconds before the next attempt.
_PAUSE = 0.1


class ListeningSocket(socket.socket):
    """Where there is no descriptor left for a connection, ``accept`` pauses: ``TimeoutError``.

    The connection goes on waiting, so without a pause the same would fail again at once.
    """

    _exhausted = False

    def accept(self) -> tuple[socket.socket, Any]:
        """As ever, but for a pause."""
        try:
            taken = super().accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            if not self._exhausted:
                logger.warning("connections have to wait: %s", error.strerror)
            self._exhausted = True
            time.sleep(_PAUSE)
            raise TimeoutError(error.errno, error.strerror) from error
        self._exhausted = False
        return taken
