"""Attributes and labels that observers export: bounded texts with a bounded number of values.

A time series is kept for each combination of labels. So each label has a bounded number of values,
even with untrusted hosts and plugins: the routes of a plugin, the error classes of this library
and of Python, and a limited number of other texts, after which the value is ``OTHER``.
"""

import sys
from collections.abc import Mapping
from functools import lru_cache

from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import StatusError
from moby_plugins.domain.text import class_name, shown

OTHER = "_OTHER"
# The most characters of one label.
MAX_LABEL = 120
# The most values of one label: methods that a program calls, and plugins that it has.
MAX_METHODS, MAX_PLUGINS = 256, 1000
# Packages whose class names are exported as the kinds of errors: this library and Python's.
_KNOWN = frozenset({"moby_plugins", *sys.stdlib_module_names})


class Labels:
    """A limit on the values of one label: the first ``most`` texts, then ``OTHER``.

    Threads may share it; if several add values at once, it may keep a few more than ``most``.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return the label's value for ``text``."""
        label = self._kept.get(text)
        if label is None:
            if len(self._kept) >= self._most:
                return OTHER
            label = self._kept[text] = shown(text, MAX_LABEL)
        return label


class PluginLabels(Labels):
    """Labels for plugins, in which names that may belong to no plugin have a limit of their own.

    So a program that asks for any number of unknown names takes no label from a plugin.
    """

    def __init__(self) -> None:
        super().__init__(MAX_PLUGINS)
        self._requested = Labels(MAX_PLUGINS)

    def requested(self, name: str) -> str:
        """Return the label's value for a name that may belong to no plugin.

        The names in the events of retries and of failed activations are such names.
        """
        return self._kept.get(name) or self._requested(name)


def error_kind(error: BaseException | None) -> str:
    """Return the name of the class of ``error``; "" for ``None``.

    For an exception class of a program, the name is that of the nearest base class from this
    library or from Python, since programs may define any number of classes.
    """
    if error is None:
        return ""
    for kind in type(error).__mro__:
        if str(kind.__module__).partition(".")[0] in _KNOWN:
            return shown(kind.__name__, MAX_LABEL)
    return shown(class_name(error), MAX_LABEL)


def error_type(error: BaseException) -> str:
    """Return the value of OpenTelemetry's ``error.type`` for ``error``: a status, or its class."""
    return str(error.status) if isinstance(error, StatusError) else error_kind(error)


@lru_cache(maxsize=MAX_PLUGINS)
def peer(address: str) -> Mapping[str, str | int]:
    """Return OpenTelemetry's attributes of a plugin at ``address``. Do not modify: it is cached."""
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
