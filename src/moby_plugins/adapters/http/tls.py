"""TLS: sockets under a deadline, and OpenSSL contexts from TLS options, for hosts and plugins.

Only this module of the synchronous adapters imports ssl, so that programs whose plugins listen on
UNIX sockets do not load it.
"""

import errno
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moby_plugins.adapters.http.deadline_socket import (
    EARLY_BYTES,
    LONGEST,
    ClosedHereError,
    Deadline,
    left_until,
)
from moby_plugins.descriptors import check_descriptors
from moby_plugins.domain.address import TLS_1_2, ServerTLS, TLSOptions
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import shown
from moby_plugins.platforms import open_at_once

# The most bytes of a file with certificates or a key; a system's roots take a quarter of it.
MAX_TLS_FILE_BYTES = 1 << 20


class DeadlineSSLSocket(Deadline, ssl.SSLSocket):
    """A TLS socket under a deadline, for ``SSLContext.sslsocket_class``."""

    cut_off: bool = False

    def bound(self, ends: float | None) -> None:
        """Set the deadline of all further operations, in monotonic time; ``None`` for none."""
        super().bound(ends)
        # Under a deadline, each operation sets the time that is left.
        self._restore()

    def recv_into(self, buffer: Any, *args: Any) -> int:
        """Receive into ``buffer``; return the number of bytes, 0 at the end.

        Sets ``cut_off`` at an end without close_notify.
        """
        try:
            return super().recv_into(buffer, *args)
        except ssl.SSLError as error:
            self._end(error)
            return 0

    def recv(self, size: int = EARLY_BYTES, *args: Any) -> bytes:
        """Receive up to ``size`` bytes; return ``b""`` at the end.

        Sets ``cut_off`` at an end without close_notify.
        """
        try:
            return super().recv(size, *args)
        except ssl.SSLError as error:
            self._end(error)
            return b""

    def send(self, *args: Any) -> int:
        """Wait for room, then send some of the data; return the number of bytes."""
        if self._ends is not None:
            self._narrow(self._ends)
        try:
            return ssl.SSLSocket.send(self, *args)
        except ssl.SSLError as error:
            if not is_unclean_end(error):
                raise
            raise _stopped_reading() from error

    def is_readable(self) -> bool:
        """Return whether there is input, or the other end has hung up."""
        poll = self._readable or self._polls_input()
        return bool(self._early or poll.poll(0) or self.pending())

    def _narrow(self, ends: float) -> None:
        socket.socket.settimeout(self, min(left_until(ends), LONGEST))

    def _end(self, error: ssl.SSLError) -> None:
        if not is_unclean_end(error):
            try:
                raise error
            finally:
                del error  # its traceback holds this frame, which would hold it
        if self.aborted:
            raise ClosedHereError
        self.cut_off = True

    def _receive(self, size: int, *args: Any) -> bytes:
        if self._ends is not None:
            self._narrow(self._ends)
        return ssl.SSLSocket.recv(self, size, *args)

    def _receive_into(self, buffer: Any, *args: Any) -> int:
        if self._ends is not None:
            self._narrow(self._ends)
        return ssl.SSLSocket.recv_into(self, buffer, *args)

    def _receive_now(self) -> bytes | None:
        socket.socket.settimeout(self, 0)
        try:
            return ssl.SSLSocket.recv(self, EARLY_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None  # a TLS record without application data
        except ssl.SSLError as error:
            if not is_unclean_end(error):
                raise
            raise _stopped_reading() from error
        finally:
            self._restore()

    def _send_now(self, data: Any) -> int:
        if self._ends is not None:
            left_until(self._ends)
        socket.socket.settimeout(self, 0)
        try:
            return ssl.SSLSocket.send(self, data)
        except ssl.SSLWantWriteError:
            return 0
        except ssl.SSLError as error:
            if not is_unclean_end(error):
                raise
            raise _stopped_reading() from error
        finally:
            self._restore()

    def _restore(self) -> None:
        # Under a deadline, the next operation sets its time-out. Skip a redundant settimeout(): the
        # system call releases the GIL.
        if self._ends is None and self.gettimeout() is not None:
            socket.socket.settimeout(self, None)


def is_unclean_end(error: ssl.SSLError) -> bool:
    """Return whether ``error`` says that the other end hung up without close_notify."""
    # Python 3.11 before its fourth release raises no class of its own for it.
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


def _stopped_reading() -> BrokenPipeError:
    # What a plain socket raises if the other end reads no more.
    return BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def ssl_context(tls: TLSOptions) -> ssl.SSLContext:
    """Return a client context for ``tls``; raise ``SpecError`` for a file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = DeadlineSSLSocket
    # An end without close_notify must be an error, and a plugin must not renegotiate.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.minimum_version = ssl.TLSVersion(tls.min_version or TLS_1_2)
    _trust(context, tls)
    if tls.cert_file or tls.key_file:
        _identify(context, tls)
    # Last, since it takes longest. OpenSSL does not report that it cannot open the system's roots.
    if not (tls.insecure_skip_verify or tls.exclusive_root_pools):
        check_descriptors()
        context.load_default_certs()
    return context


def server_context(tls: ServerTLS) -> ssl.SSLContext:
    """Return a plugin's server context; raise ``SpecError`` for a file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion(TLS_1_2)
    # No host resumes a session. And a host that is still uploading, and so has not read its
    # tickets, would lose an early response when the connection is reset.
    context.num_tickets = 0
    _identify(context, tls)
    if tls.client_ca_file:
        _trust_file(context, tls.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _trust(context: ssl.SSLContext, tls: TLSOptions) -> None:
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return
    if tls.exclusive_root_pools and not tls.ca_file:
        raise SpecError("ExclusiveRootPools without a CAFile would trust no certificate")
    if tls.ca_file:
        _trust_file(context, tls.ca_file)


def _trust_file(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        with _regular(ca_file) as path:
            context.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise SpecError(f"CAFile cannot be used: {_reason(error)}", ca_file) from error


def _identify(context: ssl.SSLContext, tls: TLSOptions | ServerTLS) -> None:
    if not (tls.cert_file and tls.key_file):
        raise SpecError(
            "CertFile and KeyFile must be given together", tls.cert_file or tls.key_file
        )
    try:
        with _regular(tls.cert_file) as cert_path, _regular(tls.key_file) as key_path:
            # Without a password argument, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert_path, key_path, password=tls.passphrase)
    except (OSError, ValueError) as error:
        raise SpecError(
            f"CertFile and KeyFile {shown(tls.key_file)} cannot be used: {_reason(error)}",
            tls.cert_file,
        ) from error


@contextmanager
def _regular(path: str) -> Iterator[str]:
    """Yield a path at which OpenSSL can read the file at ``path`` without blocking.

    Raises ``OSError`` for anything but a regular file, such as a FIFO, and for one that is too
    large.
    """
    descriptor = open_at_once(path, os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        if status.st_size > MAX_TLS_FILE_BYTES:
            raise OSError(f"the file is larger than {MAX_TLS_FILE_BYTES} bytes")
        # The file that was opened, even if ``path`` has been replaced since.
        opened = f"/dev/fd/{descriptor}"
        yield opened if os.path.exists(opened) else path
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not a PEM file").replace("_", " ").lower()
    return shown(getattr(error, "strerror", None) or error)
