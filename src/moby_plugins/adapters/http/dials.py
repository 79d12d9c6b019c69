"""How each scheme is dialled: what every HTTP engine here has in common."""

import ssl
from collections.abc import Callable
from typing import TypeAlias

from moby_plugins.adapters.http.deadline_socket import DeadlineSocket, DeadlineSSLSocket
from moby_plugins.adapters.http.tcp import TCPDial, TLSDial, ssl_context
from moby_plugins.adapters.http.unix_socket import UnixSocketDial
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import SpecError

Socket: TypeAlias = DeadlineSocket | DeadlineSSLSocket
# Takes a time-out in seconds, and gives a connected socket.
Dial: TypeAlias = Callable[[float | None], Socket]

# What sending raises where the plugin has stopped reading: perhaps to answer, or to say why not.
STOPPED_READING = (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError)

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
        raise SpecError(f"no way to dial {address.scheme}://; there are {known}")
    return _DIALS[address.scheme](address, tls)
