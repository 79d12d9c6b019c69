"""Upload a managed plugin to an engine: negotiate the API version, and send one POST."""

from collections.abc import Iterable, Iterator
from urllib.parse import quote

from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import StatusError, TransportError
from moby_plugins.domain.http import Body, Request
from moby_plugins.domain.json import first_value, fold_keys
from moby_plugins.domain.managed import is_api_version
from moby_plugins.domain.text import quoted
from moby_plugins.ports import Transport

_CREATED = range(200, 300)
# The most bytes of an error response that are read.
_MAX_ERROR_BYTES = 64 << 10
_CONFLICT = 409


def negotiated_version(transport: Transport, engine: Address, timeout: float | None) -> str:
    """Return the API version of ``engine``, such as ``"1.41"``.

    ``transport`` sends GET to ``engine``, for at most ``timeout`` seconds. Raises
    ``TransportError`` with the address if nothing can be reached there, or it is not an engine.
    """
    response = transport.send(Request("_ping"), timeout)
    response.body.close()
    version = response.headers.get("Api-Version", "")
    if not is_api_version(version):
        raise TransportError(
            f"no engine responds there: /_ping has the Api-Version {quoted(version)}", engine.text
        )
    return version


def create_plugin(
    transport: Transport,
    version: str,
    reference: str,
    tar: Iterable[bytes],
    *,
    size: int,
    timeout: float,
) -> None:
    """Create the plugin ``reference`` in an engine from ``tar``, which has ``size`` bytes.

    ``transport`` sends the request to the engine, for at most ``timeout`` seconds. Raises
    ``StatusError`` with the engine's message if it refuses the plugin, and with advice if it has
    such a plugin already; ``TransportError`` if it does not respond.
    """
    method = f"v{version}/plugins/create?name={quote(reference, safe='')}"
    headers = {"Content-Type": "application/x-tar"}
    response = transport.send(Request(method, tar, headers, size), timeout)
    try:
        if response.status in _CREATED:
            return
        body = b"".join(_read(response.body))
    finally:
        response.body.close()
    message = _message(body)
    raise StatusError(
        response.status, "plugins/create", message + _advice(response.status, message)
    )


def _read(body: Body) -> Iterator[bytes]:
    size = 0
    while size < _MAX_ERROR_BYTES and (chunk := body.read(_MAX_ERROR_BYTES)):
        size += len(chunk)
        yield chunk


def _message(body: bytes) -> str:
    try:
        return str(fold_keys(first_value(body))["message"])
    except (ValueError, AttributeError, KeyError):
        return body.decode(errors="replace").strip()


def _advice(status: int, message: str) -> str:
    if status == _CONFLICT:
        return "; remove it with `docker plugin rm`, or choose another name or :TAG"
    if "content sha256:" in message:
        return (
            "; the engine has another plugin of the same content: change anything in it, such as"
            " its --description"
        )
    return ""
