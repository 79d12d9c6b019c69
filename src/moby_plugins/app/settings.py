"""Settings: where plugins are looked for, how they are reached, and for how long."""

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from attrs import Attribute, field, fields_dict, frozen

from moby_plugins.app.client import MAX_RESPONSE_BYTES
from moby_plugins.app.registry import ACTIVATION_TIMEOUT
from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.plugin import SOCKETS_PATH, SPECS_PATHS
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.domain.text import quoted, shown
from moby_plugins.ports import Connect

TRANSPORTS = {"unix": "urllib3", "tcp": "urllib3", "http": "urllib3", "https": "urllib3"}
PREFIX = "MOBY_PLUGINS_"


def _path(value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise SettingsError(f"a path is a string, not {quoted(value)}")
    path = os.fsdecode(value)
    if not path or "\0" in path:
        raise SettingsError(f"{quoted(path)} cannot be a path")
    return path


def _paths(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise SettingsError(f"paths are a list of strings, not {quoted(value)}")
    return tuple(map(_path, value))


def _transports(value: Any) -> dict[str, str | Connect]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"transports are a table from scheme to transport, not {quoted(value)}")
    for scheme, transport in value.items():
        usable = transport if isinstance(transport, str) else callable(transport)
        if not isinstance(scheme, str) or not usable:
            raise SettingsError(f"{quoted(transport)} is neither a transport's name nor a callable")
    return TRANSPORTS | {scheme.lower(): transport for scheme, transport in value.items()}


def _positive(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if value is None and attribute.name != "max_response_bytes":
        return
    kinds = int if attribute.name == "max_response_bytes" else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
        raise SettingsError(f"{attribute.name} must be a positive number, not {quoted(value)}")


def _policy(_: object, attribute: "Attribute[RetryPolicy]", value: object) -> None:
    if not isinstance(value, RetryPolicy):
        raise SettingsError(f"{attribute.name} must be a RetryPolicy, not {quoted(value)}")


@frozen
class Settings:
    """What a registry and its clients are made from. Times are seconds.

    ``transports`` says by scheme which transport carries a call: the name of a
    built-in one (``"urllib3"``), one that an installed package registers under
    the entry-point group ``moby_plugins.transports``, or a ``Connect`` of one's
    own; schemes that are not named keep their default. ``timeout`` bounds each
    attempt of a call, ``activation_timeout`` each attempt at the handshake
    (``None``: no bound). Raises ``SettingsError`` for what cannot be used.
    """

    sockets_path: str = field(default=SOCKETS_PATH, converter=_path)
    specs_paths: tuple[str, ...] = field(default=SPECS_PATHS, converter=_paths)
    transports: Mapping[str, str | Connect] = field(factory=dict, converter=_transports)
    retry: RetryPolicy = field(factory=RetryPolicy, validator=_policy)
    timeout: float | None = field(default=None, validator=_positive)
    activation_timeout: float | None = field(default=ACTIVATION_TIMEOUT, validator=_positive)
    max_response_bytes: int = field(default=MAX_RESPONSE_BYTES, validator=_positive)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Settings from a TOML file: the fields above as keys, ``retry`` and ``transports`` tables.

        Raises ``SettingsError``, naming the file, for one that cannot be read or used.
        """
        try:
            with open(path, "rb") as file:
                return cls._from(tomllib.load(file))
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(f"{shown(os.fspath(path))}: {shown(error)}") from error

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Settings from ``MOBY_PLUGINS_…`` variables: the fields' names in capitals.

        Paths are separated by colons; ``MOBY_PLUGINS_TRANSPORTS`` is
        ``unix=urllib3,tcp=other``; the policy is ``MOBY_PLUGINS_RETRY_BUDGET`` and
        so on. In a rootless engine's environment (``ROOTLESSKIT_STATE_DIR``) specs
        are looked for in the user's directories. Raises ``SettingsError``, naming
        the variable.
        """
        environ = os.environ if environ is None else environ
        table: dict[str, Any] = {"specs_paths": _rootless(environ) or SPECS_PATHS}
        for variable in sorted(key for key in environ if key.startswith(PREFIX)):
            name, text = variable.removeprefix(PREFIX).lower(), environ[variable]
            try:
                if name.startswith("retry_"):
                    table.setdefault("retry", {})[name.removeprefix("retry_")] = float(text)
                else:
                    table[name] = _FROM_TEXT.get(name, str)(text)
                cls._from(table)
            except (ValueError, TypeError) as error:
                raise SettingsError(f"{variable}: {shown(error)}") from error
        return cls._from(table)

    @classmethod
    def _from(cls, table: Mapping[str, Any]) -> Self:
        values = dict(table)
        _check_keys(values, cls)
        if isinstance(values.get("retry"), Mapping):
            _check_keys(values["retry"], RetryPolicy)
            values["retry"] = RetryPolicy(**values["retry"])
        return cls(**values)


def _check_keys(values: Mapping[str, Any], kind: type) -> None:
    known = fields_dict(kind)
    for key in values:
        if key not in known:
            raise SettingsError(f"unknown setting {quoted(key)}; known: {', '.join(known)}")


def _rootless(environ: Mapping[str, str]) -> tuple[str, ...]:
    # The documented directories; the engine's own test for the first is inverted (protocol.md A1).
    if not environ.get("ROOTLESSKIT_STATE_DIR"):
        return ()
    home = environ.get("HOME") or os.path.expanduser("~")
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return (f"{config}/docker/plugins", f"{home}/.local/lib/docker/plugins")


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    return {scheme.strip(): transport.strip() for scheme, _, transport in pairs}


def _seconds(text: str) -> float | None:
    return None if text.lower() == "none" else float(text)


_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "specs_paths": lambda text: tuple(filter(None, text.split(os.pathsep))),
    "transports": _pairs,
    "timeout": _seconds,
    "activation_timeout": _seconds,
    "max_response_bytes": int,
}
