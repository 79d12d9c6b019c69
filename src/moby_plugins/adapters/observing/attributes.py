"""What observers export of an event: bounded texts, of which there is a bounded number.

A time series is kept for each combination of labels, so each label here has a bounded number of
values, whatever hosts, plugins and programs send: routes that a plugin has, classes of errors that
this library and Python have, and of all other texts the first so many, then ``OTHER``.
"""

from collections.abc import Mapping
from functools import lru_cache

from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import StatusError
from moby_plugins.domain.text import class_name, shown

OTHER = "_OTHER"
# Characters of one label.
MAX_LABEL = 120
# Different texts of one kind: the methods that a program calls, or the plugins that it has.
MAX_METHODS, MAX_PLUGINS = 256, 1000
# Modules whose classes are the names of errors.
_KNOWN = ("moby_plugins", "builtins")


class Labels:
    """Texts as values of one label: the first ``most`` of them, and ``OTHER`` for the rest.

    Threads may share it; a few more may then be kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return what stands for ``text``."""
        kept = self._kept.get(text)
        if kept is None:
            if len(self._kept) >= self._most:
                return OTHER
            kept = self._kept[text] = shown(text, MAX_LABEL)
        return kept


def error_kind(error: BaseException | None) -> str:
    """Return the name of the class of ``error``; "" for ``None``.

    That of the first of its classes that is this library's or Python's, for programs may make
    any number of their own.
    """
    if error is None:
        return ""
    for kind in type(error).__mro__:
        if kind.__module__ in _KNOWN:
            return kind.__name__
    return class_name(error)


def error_type(error: BaseException) -> str:
    """Return ``error`` as OpenTelemetry's ``error.type``: a status, or the class."""
    return str(error.status) if isinstance(error, StatusError) else error_kind(error)


@lru_cache(maxsize=MAX_PLUGINS)
def peer(address: str) -> Mapping[str, str | int]:
    """Return what OpenTelemetry's conventions call the plugin at ``address``. Not to be changed."""
    parsed = Address(address)
    if parsed.host:
        return {"server.address": shown(parsed.host, MAX_LABEL), "server.port": parsed.port}
    path = {"server.address": shown(parsed.path, MAX_LABEL)}
    return path | {"network.transport": "unix"} if parsed.scheme == "unix" else path


@lru_cache(maxsize=MAX_PLUGINS)
def url(address: str, method: str) -> str:
    """Return the URL of ``method`` at ``address``, without credentials."""
    parsed = Address(address)
    if not parsed.host and parsed.scheme != "unix":
        return f"{shown(parsed.text)}/{shown(method)}"
    scheme = "https" if parsed.encrypted else "http"
    return f"{scheme}://{parsed.host_header}/{shown(method)}"
