"""Dialling by scheme: resolve the host, connect, and shake hands under TLS, each within a time-out.

``dial_for`` is what HTTP engines call. ``ssl_context`` and ``server_context`` translate TLS
options into OpenSSL's terms, for hosts and for plugins.
"""

import errno
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from moby_plugins.adapters.http.deadline_socket import DeadlineSocket, DeadlineSSLSocket
from moby_plugins.adapters.http.unix_socket import UnixSocketDial
from moby_plugins.domain.address import TLS_1_2, Address, ServerTLS, TLSOptions
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import shown

# Takes a host and a port; what ``socket.getaddrinfo`` returns, and raises.
Resolve: TypeAlias = Callable[[str, int], list[Any]]

Socket: TypeAlias = DeadlineSocket | DeadlineSSLSocket
# Takes a time-out in seconds, and gives a connected socket.
Dial: TypeAlias = Callable[[float | None], Socket]
# What sending raises where the plugin has stopped reading: perhaps to answer, or to say why not.
STOPPED_READING = (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError)


def system_addresses(host: str, port: int) -> list[Any]:
    """Every address of ``host`` for a TCP connection; raises ``socket.gaierror``."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def addresses(resolve: Resolve, host: str, port: int, timeout: float | None) -> list[Any]:
    """What ``resolve`` returns or raises; ``TimeoutError`` if that takes ``timeout`` seconds.

    What takes too long goes on in a thread of its own, and nobody waits for it.
    """
    if timeout is None or _is_number(host):
        return resolve(host, port)
    answer: SimpleQueue[list[Any] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answer.put(resolve(host, port))
        except Exception as error:  # the caller's
            answer.put(error)

    threading.Thread(target=ask, name="moby-plugins-resolve", daemon=True).start()
    try:
        found = answer.get(timeout=timeout)
    except Empty:
        raise TimeoutError(
            f"the name {shown(host)} is not resolved after {timeout:.3g} s"
        ) from None
    if isinstance(found, Exception):
        raise found
    return found


def _is_number(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class TCPDial:
    """Dials ``address.host`` and ``.port``, in plain text; ``resolve`` knows the host's name."""

    def __init__(self, address: Address, resolve: Resolve = system_addresses) -> None:
        self._where = (address.host, address.port)
        self._resolve = resolve

    def __call__(self, timeout: float | None) -> DeadlineSocket:
        """A connected socket; raises ``OSError``, ``TimeoutError`` after ``timeout`` seconds.

        The name's addresses are tried in turn. Resolving the name takes part of the time.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        failure: OSError | None = None
        found = addresses(self._resolve, *self._where, timeout)
        for family, kind, protocol, _, where in found:
            sock = DeadlineSocket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(None if ends is None else max(ends - time.monotonic(), 1e-3))
                sock.connect(where)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure or OSError("the host name has no address")


class TLSDial:
    """Dials TCP and shakes hands under ``context``, whose sockets must keep deadlines."""

    def __init__(self, address: Address, context: ssl.SSLContext) -> None:
        self._dial = TCPDial(address)
        self._host = address.host
        self._context = context

    def __call__(self, timeout: float | None) -> DeadlineSSLSocket:
        """A connected socket; raises as ``TCPDial`` does, and ``ssl.SSLError``."""
        ends = None if timeout is None else time.monotonic() + timeout
        sock = self._dial(timeout)
        try:
            if ends is not None:
                sock.settimeout(max(ends - time.monotonic(), 1e-3))
            wrapped = self._context.wrap_socket(sock, server_hostname=self._host)
        except BaseException:
            sock.close()
            raise
        assert isinstance(wrapped, DeadlineSSLSocket)  # noqa: S101  tells mypy what the context makes
        return wrapped


def ssl_context(tls: TLSOptions) -> ssl.SSLContext:
    """The context that ``tls`` describes; raises ``SpecError`` for a file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = DeadlineSSLSocket
    context.minimum_version = ssl.TLSVersion(tls.min_version or TLS_1_2)
    _trust(context, tls)
    if tls.cert_file or tls.key_file:
        _identify(context, tls)
    return context


def server_context(tls: ServerTLS) -> ssl.SSLContext:
    """What a plugin serves with; raises ``SpecError`` for a file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion(TLS_1_2)
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
        raise SpecError("ExclusiveRootPools without a CAFile trusts nobody")
    if not tls.exclusive_root_pools:
        context.load_default_certs()
    if tls.ca_file:
        _trust_file(context, tls.ca_file)


def _trust_file(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        _check_is_file(ca_file)
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise SpecError(f"CAFile cannot be used: {_reason(error)}", ca_file) from error


def _identify(context: ssl.SSLContext, tls: TLSOptions | ServerTLS) -> None:
    if not (tls.cert_file and tls.key_file):
        raise SpecError("CertFile and KeyFile go together", tls.cert_file or tls.key_file)
    try:
        _check_is_file(tls.cert_file)
        _check_is_file(tls.key_file)
        # Without a password of ours OpenSSL would ask for one on the terminal.
        context.load_cert_chain(tls.cert_file, tls.key_file, password=tls.passphrase)
    except (OSError, ValueError) as error:
        raise SpecError(
            f"CertFile and KeyFile {shown(tls.key_file)} cannot be used: {_reason(error)}",
            tls.cert_file,
        ) from error


def _check_is_file(path: str) -> None:
    # OpenSSL would wait for a writer to a FIFO, and read a device without an end.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not a PEM file").replace("_", " ").lower()
    return shown(getattr(error, "strerror", None) or error)


_DIALS: dict[str, Callable[[Address, TLSOptions | None], Dial]] = {
    "unix": lambda address, _: UnixSocketDial(address),
    "tcp": lambda address, _: TCPDial(address),
    "http": lambda address, _: TCPDial(address),
    "https": lambda address, tls: TLSDial(address, ssl_context(tls or TLSOptions())),
}


def dial_for(address: Address, tls: TLSOptions | None) -> Dial:
    """How to dial ``address``; reads the TLS files.

    Raises ``SpecError`` for a scheme, a path or a file that cannot be used.
    """
    if address.scheme not in _DIALS:
        known = ", ".join(sorted(_DIALS))
        raise SpecError(f"no way to dial {shown(address.scheme)}://; there are {known}")
    return _DIALS[address.scheme](address, tls)
