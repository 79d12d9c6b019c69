"""Settings: where plugins are found, which transports reach them, and the time-outs."""

import math
import os
import re
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeAlias, cast

from attrs import Attribute, field, fields_dict, frozen

from moby_plugins.app.client import MAX_RESPONSE_BYTES
from moby_plugins.app.registry import ACTIVATION_TIMEOUT
from moby_plugins.app.retrying import OnRetry
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import PluginError, SettingsError, SpecError
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.plugin import SOCKETS_PATH, SPECS_PATHS, Plugin, plugin_given
from moby_plugins.domain.retry import RetryPolicy, is_seconds
from moby_plugins.domain.text import is_encodable, listed, quoted, shown
from moby_plugins.platforms import open_at_once
from moby_plugins.ports import Connect, Discovery, callable_or_none

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

# The name of the fastest built-in transport that can be imported.
AUTO = "auto"
TRANSPORTS = {"unix": AUTO, "tcp": AUTO, "http": AUTO, "https": AUTO}
# The name of the built-in discovery, which reads the directories of the settings.
LOCAL = "local"
PREFIX = "MOBY_PLUGINS_"
# The modules of the built-in transports, by name; each module's ``connect`` is a ``Connect``.
BUILT_IN = {
    "httptools": "moby_plugins.adapters.http.httptools",
    "urllib3": "moby_plugins.adapters.http.urllib3",
}
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*")
_MAX_BYTES = (1 << 63) - 1
# How much of a number that is too large is shown.
_SHOWN_DIGITS = 40
# The most bytes of a settings file; a larger file is probably not a settings file.
MAX_SETTINGS_BYTES = 1 << 20
Path: TypeAlias = str | os.PathLike[str]


class MakeDiscovery(Protocol):
    """A function for ``Settings.discovery``: takes settings, and returns a discovery."""

    # A protocol and not an alias: ``get_type_hints`` could not resolve an alias of ``Settings``.
    def __call__(self, settings: "Settings", /) -> Discovery:
        """Return a discovery for ``settings``."""
        ...


class _Awaited(Protocol):
    """An ``AsyncTransport``, declared here so that synchronous programs need not import it."""

    def send(self, request: Any, timeout: float | None) -> Awaitable[Any]: ...

    def close(self) -> None: ...


class ConnectAwaited(Protocol):
    """An ``AsyncConnect``, which asynchronous programs may use instead of a ``Connect``."""

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> _Awaited:
        """Return an asynchronous transport for an address."""
        ...


class Named(NamedTuple):
    """A kind of component that settings name, either built in or from an installed package.

    ``noun`` is the kind's name in messages, ``group`` its group of entry points.
    """

    noun: str
    group: str
    built_in: tuple[str, ...]

    def check(self, name: str, *others: "Named") -> None:
        """Raise ``SettingsError`` if no component of this kind or ``others`` is called ``name``."""
        # Entry points are read only for names that are not built in, because that is slow.
        if name in self.built_in:
            return
        known = self._names().union(*(each._names() for each in others))  # noqa: SLF001  the same class
        if name not in known:
            raise self._unknown(name, known)

    def load(self, name: str) -> Callable[..., Any]:
        """Return the function that an installed package registers as ``name``.

        Raise ``SettingsError`` if there is none, or it cannot be loaded.
        """
        entry = self._installed(name)
        try:
            loaded = entry.load()
        # Another package may raise anything while it is imported.
        except (Exception, SystemExit) as error:
            raise SettingsError(
                f"the {self.noun} {quoted(name)} cannot be loaded: {shown(error)}"
            ) from error
        if not callable(loaded):
            raise SettingsError(
                f"the {self.noun} {quoted(name)} is not a function: {shown(loaded)}"
            )
        _check_plain(f"the {self.noun} {quoted(name)}", loaded)
        return cast("Callable[..., Any]", loaded)

    def _installed(self, name: str) -> "EntryPoint":
        from importlib.metadata import entry_points

        installed = entry_points(group=self.group)
        if name not in installed.names:
            raise self._unknown(name, self._names())
        return installed[name]

    def _names(self) -> set[str]:
        from importlib.metadata import entry_points

        return {*self.built_in, *entry_points(group=self.group).names}

    def _unknown(self, name: str, known: Iterable[str]) -> SettingsError:
        there = ", ".join(sorted(known))
        return SettingsError(f"no {self.noun} is called {quoted(name)}; there are: {shown(there)}")


TRANSPORT = Named("transport", "moby_plugins.transports", (AUTO, *BUILT_IN))
OBSERVER = Named("observer", "moby_plugins.observers", ())
ASYNC_TRANSPORT = Named("asynchronous transport", "moby_plugins.aio_transports", (AUTO, *BUILT_IN))
DISCOVERY = Named("discovery", "moby_plugins.discoveries", (LOCAL,))


def _path(value: Path) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise SettingsError(f"a path must be a string, not {quoted(value)}")
    path = os.fsdecode(value)
    if not path or "\0" in path or not is_encodable(path):
        raise SettingsError(f"{quoted(path)} cannot be a path")
    return path


def _paths(value: Iterable[Path]) -> tuple[str, ...]:
    unchecked: object = value  # from a file, or from a program that may not be type-checked
    if isinstance(unchecked, (str, bytes, Mapping)) or not isinstance(unchecked, Iterable):
        raise SettingsError(f"paths must be a list of strings, not {quoted(unchecked)}")
    return tuple(map(_path, value))


def _transports(
    value: Mapping[str, str | Connect | ConnectAwaited],
) -> dict[str, str | Connect | ConnectAwaited]:
    unchecked: Any = value  # from a file, or from a program that may not be type-checked
    if not isinstance(unchecked, Mapping):
        raise SettingsError(
            f"transports must be a mapping from scheme to transport, not {quoted(unchecked)}"
        )
    for scheme, transport in unchecked.items():
        usable = transport if isinstance(transport, str) else callable(transport)
        if not usable:
            raise SettingsError(f"{quoted(transport)} is neither a transport's name nor a callable")
        if not isinstance(transport, str):
            _check_plain(f"the transport for {quoted(scheme)}", transport)
        if not isinstance(scheme, str) or not _SCHEME.fullmatch(scheme):
            raise SettingsError(f"{quoted(scheme)} is not a scheme of an address")
        if isinstance(transport, str):
            TRANSPORT.check(transport, ASYNC_TRANSPORT)
    return TRANSPORTS | {scheme.lower(): transport for scheme, transport in value.items()}


def _plugins(value: Mapping[str, str | Plugin]) -> dict[str, str | Plugin]:
    unchecked: Any = value  # from a file, or from a program that may not be type-checked
    if not isinstance(unchecked, Mapping):
        raise SettingsError(
            f"plugins must be a mapping from name to address, not {quoted(unchecked)}"
        )
    for name, plugin in unchecked.items():
        try:
            plugin_given(name, plugin)
        except (PluginError, TypeError) as error:
            raise SettingsError(f"plugins: {quoted(name)}: {shown(error)}") from error
    return dict(unchecked)


def _names_alone(plugins: Mapping[str, object]) -> str:
    # Only the names: an address may contain a password.
    return listed(map(quoted, plugins))


def _discovery(value: str | MakeDiscovery) -> str | MakeDiscovery:
    unchecked: Any = value
    if not isinstance(unchecked, str) and not callable(unchecked):
        raise SettingsError(
            f"discovery must be a name, or a function of the settings, not {quoted(unchecked)}"
        )
    if isinstance(unchecked, str):
        DISCOVERY.check(unchecked)
    else:
        _check_plain("discovery", unchecked)
    return value


def _engine(value: str | None) -> str | None:
    unchecked: object = value
    if unchecked is None or unchecked == "":
        return None
    if not isinstance(unchecked, str):
        raise SettingsError(f"engine must be the address of an engine, not {quoted(unchecked)}")
    try:
        address = Address(unchecked)
    except SpecError as error:
        raise SettingsError(f"engine: {error.reason}") from error
    if address.scheme not in TRANSPORTS:
        known = ", ".join(f"{scheme}://" for scheme in sorted(TRANSPORTS))
        raise SettingsError(f"engine: the scheme of {shown(address.text)} is none of {known}")
    return address.text


def _engine_tls(value: TLSOptions | Mapping[str, Any] | None) -> TLSOptions | None:
    unchecked: Any = value  # from a file, or from a program that may not be type-checked
    if unchecked is None or isinstance(unchecked, TLSOptions):
        return unchecked
    if not isinstance(unchecked, Mapping):
        raise SettingsError(
            f"engine_tls must be a table of TLS options, not {quoted(type(unchecked))}"
        )
    _check_keys(unchecked, TLSOptions)
    try:
        return TLSOptions(**unchecked)
    except (TypeError, SpecError) as error:
        raise SettingsError(f"engine_tls: {shown(error)}") from error


def _observers(value: Iterable[str | Observer]) -> tuple[str | Observer, ...]:
    unchecked: object = value  # from a file, or from a program that may not be type-checked
    if isinstance(unchecked, (str, bytes, Mapping)) or not isinstance(unchecked, Iterable):
        raise SettingsError(f"observers must be a list of names, not {quoted(unchecked)}")
    observers = tuple(value)
    for each in observers:
        if isinstance(each, str):
            OBSERVER.check(each)
        elif not isinstance(each, Observer):
            raise SettingsError(f"an observer must be a name or an Observer, not {quoted(each)}")
    # A name that is given twice is one observer: two would count everything twice.
    names = dict.fromkeys(each for each in observers if isinstance(each, str))
    return tuple(
        each for each in observers if not isinstance(each, str) or names.pop(each, 1) is None
    )


def _on_retry(_: object, __: "Attribute[OnRetry | None]", value: object) -> None:
    _check_plain("on_retry", value)


def _check_plain(what: str, given: object) -> None:
    try:
        callable_or_none(what, given)
    except TypeError as error:
        raise SettingsError(str(error)) from error


def _positive(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if value is not None and not is_seconds(value):
        raise SettingsError(f"{attribute.name} must be a positive number, not {quoted(value)}")


def _size(_: object, attribute: "Attribute[int]", value: object) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole and 0 < value <= _MAX_BYTES):  # type: ignore[operator]  # a number, by now
        raise SettingsError(
            f"{attribute.name} must be a positive whole number, not {quoted(value)}"
        )


def _policy(_: object, attribute: "Attribute[RetryPolicy]", value: object) -> None:
    if not isinstance(value, RetryPolicy):
        raise SettingsError(f"{attribute.name} must be a RetryPolicy, not {quoted(value)}")


@frozen
class Settings:
    """The settings of a registry and its clients. Times are in seconds. A frozen value.

    Settings are made in code, from a TOML file (``Settings.load``) or from the environment
    (``Settings.from_env``).

    Args:
        sockets_path: The directory of the plugins' sockets.
        specs_paths: The directories of the plugins' spec files, in the order of search.
        transports: The transport for each scheme of an address: ``"auto"`` (httptools 0.7 or later
            if it can be imported, else urllib3), ``"httptools"``, ``"urllib3"``; a name that an
            installed package registers under the entry-point group ``moby_plugins.transports``; or
            a ``Connect``. Schemes that are not given keep their default; unknown schemes are added.
            In asyncio programs the three built-in names all mean the built-in asynchronous
            transport, the group is ``moby_plugins.aio_transports``, and instead of a ``Connect``
            there is an ``AsyncConnect``.
        retry: The policy that decides when ``get`` and calls are tried again.
        timeout: Seconds for one attempt of a call, the response's body included; ``None`` means no
            limit.
        activation_timeout: Seconds for one attempt at the handshake; ``None`` means no limit.
        max_response_bytes: The most bytes that a response may have; the response to a handshake may
            have at most 1 MiB.
        plugins: Addresses or ``Plugin`` values by name, for plugins without a socket or spec file
            in a directory. These are found first.
        discovery: How other plugins are found: ``"local"`` in the directories above; a name that an
            installed package registers under the entry-point group ``moby_plugins.discoveries``; or
            a function that takes these settings and returns a ``Discovery``.
        engine: The address of an engine, such as ``"unix:///var/run/docker.sock"``, whose managed
            plugins are found before those of ``discovery``; without it no engine is asked.
            ``activation_timeout`` limits each request to the engine.
        engine_tls: ``TLSOptions`` for an engine at an ``https`` address.
        observers: Objects that are called for calls, retries and plugins: ``Observer`` values, or
            names that installed packages register under the entry-point group
            ``moby_plugins.observers``, such as ``"logging"``, ``"opentelemetry"`` and
            ``"prometheus"``.
        on_retry: The default callback for retries, for calls and ``get``: called before each wait
            for another attempt, with the error and the length of the wait. Only in code.

    Raises:
        SettingsError: If a value has the wrong type or is out of range, or a name is neither built
            in nor registered by an installed package.

    Examples:
        ```python
        from moby_plugins import RetryPolicy, Settings

        settings = Settings(
            plugins={"shelf": "unix:///home/ada/shelf.sock"},  # outside the standard directories
            transports={"unix": "urllib3"},
            retry=RetryPolicy(budget=5.0),
            timeout=2.5,
        )
        assert settings.transports["tcp"] == "auto"  # what is not given stays
        ```
    """

    sockets_path: str = field(default=SOCKETS_PATH, converter=_path)
    specs_paths: tuple[str, ...] = field(default=SPECS_PATHS, converter=_paths)
    transports: Mapping[str, str | Connect | ConnectAwaited] = field(
        factory=dict, converter=_transports
    )
    retry: RetryPolicy = field(factory=RetryPolicy, validator=_policy)
    timeout: float | None = field(default=None, validator=_positive)
    activation_timeout: float | None = field(default=ACTIVATION_TIMEOUT, validator=_positive)
    max_response_bytes: int = field(default=MAX_RESPONSE_BYTES, validator=_size)
    plugins: Mapping[str, str | Plugin] = field(factory=dict, converter=_plugins, repr=_names_alone)
    discovery: str | MakeDiscovery = field(default=LOCAL, converter=_discovery)
    engine: str | None = field(default=None, converter=_engine)
    engine_tls: TLSOptions | None = field(default=None, converter=_engine_tls)
    observers: tuple[str | Observer, ...] = field(default=(), converter=_observers)
    on_retry: OnRetry | None = field(default=None, validator=_on_retry)

    def __attrs_post_init__(self) -> None:
        encrypted = self.engine is not None and Address(self.engine).encrypted
        if self.engine_tls is not None and not encrypted:
            raise SettingsError(
                "engine_tls is only for an engine at https://, but engine is not such an address"
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read settings from a TOML file, whose keys are the names of the fields.

        ``retry``, ``transports``, ``plugins`` and ``engine_tls`` are tables. Keys that are not in
        the file have their defaults; the environment is not read.

        Args:
            path: The path of the file.

        Returns:
            The settings.

        Raises:
            SettingsError: If the file cannot be read, is not valid, or is larger than 1 MiB. The
                message names the file.
        """
        import tomllib

        try:
            with open(path, "rb", opener=open_at_once) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise ValueError("not a regular file")
                data = file.read(MAX_SETTINGS_BYTES + 1)
            if len(data) > MAX_SETTINGS_BYTES:
                raise ValueError(f"the file is larger than {MAX_SETTINGS_BYTES} bytes")
            return cls._from(tomllib.loads(data.decode()))
        except RecursionError as error:
            raise SettingsError(f"{shown(os.fspath(path))}: nested too deeply") from error
        except (OSError, ValueError, TypeError) as error:
            why = getattr(error, "strerror", None) or error
            raise SettingsError(f"{shown(os.fspath(path))}: {shown(why)}") from error

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read settings from variables named ``MOBY_PLUGINS_`` and a field's name in capitals.

        Paths are separated by colons. ``MOBY_PLUGINS_TRANSPORTS`` has the form
        ``unix=urllib3,tcp=other``, ``MOBY_PLUGINS_PLUGINS`` the form
        ``shelf=unix:///run/shelf.sock,…`` (a comma in an address is written %2C), and
        ``MOBY_PLUGINS_ENGINE_TLS`` the form ``ca_file=/ca.pem,…``. The retry policy has one
        variable for each field, such as ``MOBY_PLUGINS_RETRY_BUDGET``. A time-out may be ``none``.
        In the environment of a rootless engine (``ROOTLESSKIT_STATE_DIR``), the default directories
        of spec files are the user's.

        Args:
            environ: The variables; by default those of the process.

        Returns:
            The settings.

        Raises:
            SettingsError: If a variable is not valid; the error names the variable.
        """
        environ = os.environ if environ is None else environ
        table: dict[str, Any] = {"specs_paths": _rootless(environ) or SPECS_PATHS}
        for variable in sorted(key for key in environ if key.startswith(PREFIX)):
            name, text = variable.removeprefix(PREFIX).lower(), environ[variable]
            try:
                if name.startswith("retry_"):
                    table.setdefault("retry", {})[name.removeprefix("retry_")] = _number(text)
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
    # The directories that are documented: the engine's own test for the first one is inverted
    # (protocol.md A1).
    if not environ.get("ROOTLESSKIT_STATE_DIR"):
        return ()
    home = environ.get("HOME") or os.path.expanduser("~")
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return (f"{config}/docker/plugins", f"{home}/.local/lib/docker/plugins")


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _tls_options(text: str) -> dict[str, Any]:
    """Return the TLS options in ``text``: paths as text, numbers and booleans as in TOML."""
    read: dict[str, Callable[[str], Any]] = {
        "min_version": int,
        "insecure_skip_verify": _true,
        "exclusive_root_pools": _true,
    }
    return {name: read.get(name, str)(value) for name, value in _pairs(text).items()}


def _true(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(f"{quoted(text)} is neither true nor false")
    return text == "true"


def _seconds(text: str) -> float | None:
    return None if text.lower() == "none" else _number(text)


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number) and "inf" not in text.lower():
        raise ValueError(f"{quoted(text, _SHOWN_DIGITS)} is too large")
    return number


_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "specs_paths": lambda text: tuple(filter(None, text.split(os.pathsep))),
    "plugins": _pairs,
    "observers": lambda text: tuple(filter(None, map(str.strip, text.split(",")))),
    "engine_tls": _tls_options,
    "transports": _pairs,
    "timeout": _seconds,
    "activation_timeout": _seconds,
    "max_response_bytes": int,
}
