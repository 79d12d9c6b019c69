"""Settings: where plugins are looked for, how they are reached, and for how long."""

import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, cast

from attrs import Attribute, field, fields_dict, frozen

from moby_plugins.app.client import MAX_RESPONSE_BYTES
from moby_plugins.app.registry import ACTIVATION_TIMEOUT
from moby_plugins.app.retrying import OnRetry
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import PluginError, SettingsError, SpecError
from moby_plugins.domain.observing import Observer
from moby_plugins.domain.plugin import SOCKETS_PATH, SPECS_PATHS, Plugin, plugin_given
from moby_plugins.domain.retry import RetryPolicy, is_seconds
from moby_plugins.domain.text import listed, quoted, shown
from moby_plugins.ports import Connect, Discovery

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

# The built-in transport that is fastest of those that can be imported.
AUTO = "auto"
TRANSPORTS = {"unix": AUTO, "tcp": AUTO, "http": AUTO, "https": AUTO}
# The discovery of the directories that the settings name.
LOCAL = "local"
PREFIX = "MOBY_PLUGINS_"
# Built-in transports by name: the module, whose ``connect`` is the ``Connect``.
BUILT_IN = {
    "httptools": "moby_plugins.adapters.http.httptools",
    "urllib3": "moby_plugins.adapters.http.urllib3",
}
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*")
_MAX_BYTES = (1 << 63) - 1
# A file of settings that is larger is another file.
MAX_SETTINGS_BYTES = 1 << 20
Path: TypeAlias = str | os.PathLike[str]


class MakeDiscovery(Protocol):
    """A function of settings that makes a discovery."""

    # A class, whose name ``get_type_hints`` of ``Settings`` need not resolve, as that of an alias.
    def __call__(self, settings: "Settings", /) -> Discovery:
        """Make the discovery that the settings ask for."""
        ...


class _Awaited(Protocol):
    """An ``AsyncTransport``, whose module and values synchronous programs do without."""

    def send(self, request: Any, timeout: float | None) -> Awaitable[Any]: ...

    def close(self) -> None: ...


class ConnectAwaited(Protocol):
    """An ``AsyncConnect``: what asynchronous programs may have in place of a ``Connect``."""

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> _Awaited:
        """Make an asynchronous transport for an address."""
        ...


def _path(value: Path) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise SettingsError(f"a path is a string, not {quoted(value)}")
    path = os.fsdecode(value)
    if not path or "\0" in path:
        raise SettingsError(f"{quoted(path)} cannot be a path")
    return path


def _paths(value: Iterable[Path]) -> tuple[str, ...]:
    given: object = value  # of a file, or of a program that nothing has checked
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise SettingsError(f"paths are a list of strings, not {quoted(given)}")
    return tuple(map(_path, value))


def _transports(
    value: Mapping[str, str | Connect | ConnectAwaited],
) -> dict[str, str | Connect | ConnectAwaited]:
    given: Any = value  # of a file, or of a program that nothing has checked
    if not isinstance(given, Mapping):
        raise SettingsError(f"transports are a table from scheme to transport, not {quoted(given)}")
    for scheme, transport in given.items():
        usable = transport if isinstance(transport, str) else callable(transport)
        if not usable:
            raise SettingsError(f"{quoted(transport)} is neither a transport's name nor a callable")
        if not isinstance(scheme, str) or not _SCHEME.fullmatch(scheme):
            raise SettingsError(f"{quoted(scheme)} is no scheme of an address")
        if isinstance(transport, str) and not ASYNC_TRANSPORT.has(transport):
            TRANSPORT.check(transport)
    return TRANSPORTS | {scheme.lower(): transport for scheme, transport in value.items()}


@frozen
class Named:
    """What settings call by name: some are built in, others come with installed packages.

    ``noun`` says what they are, ``group`` is their group of entry points.
    """

    noun: str
    group: str
    built_in: tuple[str, ...]

    def check(self, name: str) -> None:
        """Raise ``SettingsError`` for a name that is none, and say which there are."""
        # Read only for a name that is not built in: a slip is told before the first call.
        if name not in self.built_in:
            self._installed(name)

    def has(self, name: str) -> bool:
        """Return whether there is one of that name."""
        if name in self.built_in:
            return True
        from importlib.metadata import entry_points

        return name in entry_points(group=self.group).names

    def load(self, name: str) -> Callable[..., Any]:
        """Return what an installed package registers as ``name``; ``SettingsError`` if it fails."""
        entry = self._installed(name)
        try:
            loaded = entry.load()
        except Exception as error:  # whatever another package raises while it is imported
            raise SettingsError(
                f"the {self.noun} {quoted(name)} cannot be loaded: {shown(error)}"
            ) from error
        if not callable(loaded):
            raise SettingsError(f"the {self.noun} {quoted(name)} is no function: {shown(loaded)}")
        return cast("Callable[..., Any]", loaded)

    def _installed(self, name: str) -> "EntryPoint":
        from importlib.metadata import entry_points

        installed = entry_points(group=self.group)
        if name not in installed.names:
            known = ", ".join(sorted({*self.built_in, *installed.names}))
            raise SettingsError(
                f"no {self.noun} is called {quoted(name)}; there are: {shown(known)}"
            )
        return installed[name]


TRANSPORT = Named("transport", "moby_plugins.transports", (AUTO, *BUILT_IN))
OBSERVER = Named("observer", "moby_plugins.observers", ())
ASYNC_TRANSPORT = Named("asynchronous transport", "moby_plugins.aio_transports", (AUTO, *BUILT_IN))
DISCOVERY = Named("discovery", "moby_plugins.discoveries", (LOCAL,))


def _plugins(value: Mapping[str, str | Plugin]) -> dict[str, str | Plugin]:
    given: Any = value  # of a file, or of a program that nothing has checked
    if not isinstance(given, Mapping):
        raise SettingsError(f"plugins are a table from name to address, not {quoted(given)}")
    for name, plugin in given.items():
        try:
            plugin_given(name, plugin)
        except (PluginError, TypeError) as error:
            raise SettingsError(f"plugins: {quoted(name)}: {shown(error)}") from error
    return dict(given)


def _names_alone(plugins: Mapping[str, object]) -> str:
    # An address may hold a password.
    return listed(map(quoted, plugins))


def _discovery(value: str | MakeDiscovery) -> str | MakeDiscovery:
    given: Any = value
    if not isinstance(given, str) and not callable(given):
        raise SettingsError(
            f"discovery is a name, or a function of the settings, not {quoted(given)}"
        )
    if isinstance(given, str):
        DISCOVERY.check(given)
    return value


def _engine(value: str | None) -> str | None:
    given: object = value
    if given is None or given == "":
        return None
    if not isinstance(given, str):
        raise SettingsError(f"engine is the address of an engine, not {quoted(given)}")
    try:
        address = Address(given)
    except SpecError as error:
        raise SettingsError(f"engine: {error.reason}") from error
    if address.scheme not in TRANSPORTS:
        known = ", ".join(f"{scheme}://" for scheme in sorted(TRANSPORTS))
        raise SettingsError(f"engine: {shown(address.text)} is none of {known}")
    return address.text


def _engine_tls(value: TLSOptions | Mapping[str, Any] | None) -> TLSOptions | None:
    given: Any = value  # of a file, or of a program that nothing has checked
    if given is None or isinstance(given, TLSOptions):
        return given
    if not isinstance(given, Mapping):
        raise SettingsError(f"engine_tls is a table of TLS options, not {quoted(type(given))}")
    _check_keys(given, TLSOptions)
    try:
        return TLSOptions(**given)
    except (TypeError, SpecError) as error:
        raise SettingsError(f"engine_tls: {shown(error)}") from error


def _observers(value: Iterable[str | Observer]) -> tuple[str | Observer, ...]:
    given: object = value  # of a file, or of a program that nothing has checked
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise SettingsError(f"observers are a list of names, not {quoted(given)}")
    observers = tuple(value)
    for each in observers:
        if isinstance(each, str):
            OBSERVER.check(each)
        elif not isinstance(each, Observer):
            raise SettingsError(f"an observer is a name or an Observer, not {quoted(each)}")
    return observers


def _on_retry(_: object, __: "Attribute[OnRetry | None]", value: object) -> None:
    if value is not None and not callable(value):
        raise SettingsError(f"on_retry must be a function, not {quoted(value)}")


def _positive(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if value is not None and not is_seconds(value):
        raise SettingsError(f"{attribute.name} must be a positive number, not {quoted(value)}")


def _size(_: object, attribute: "Attribute[int]", value: object) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole and 0 < value <= _MAX_BYTES):  # type: ignore[operator]  # a number, by now
        raise SettingsError(f"{attribute.name} must be a positive number, not {quoted(value)}")


def _policy(_: object, attribute: "Attribute[RetryPolicy]", value: object) -> None:
    if not isinstance(value, RetryPolicy):
        raise SettingsError(f"{attribute.name} must be a RetryPolicy, not {quoted(value)}")


@frozen
class Settings:
    """What a registry and its clients are made from. Times are seconds. A frozen value.

    From code, from a TOML file (``Settings.load``) or from the environment (``Settings.from_env``).

    Args:
        sockets_path: The directory of the plugins' sockets.
        specs_paths: The directories of their specs, the first first.
        transports: By scheme, which transport carries a call: ``"auto"`` (httptools 0.7 or later
            where it can be imported, else urllib3), ``"httptools"``, ``"urllib3"``; or one that an
            installed package registers under the entry-point group ``moby_plugins.transports``; or
            a ``Connect`` of one's own, which also adds a scheme. Others keep theirs. In programs on
            asyncio the three built-in names all mean the built-in asynchronous transport, the group
            is ``moby_plugins.aio_transports``, and one's own is an ``AsyncConnect``.
        retry: When ``get`` and calls are tried again.
        timeout: Seconds for one attempt of a call, the response's body included; ``None`` is no
            bound.
        activation_timeout: Seconds for one attempt at the handshake; ``None`` is no bound.
        max_response_bytes: How many bytes of a response are decoded; a handshake's has at most 1
            MiB.
        plugins: Addresses by name (or ``Plugin`` values), looked at first: for plugins without a
            socket or spec in a directory.
        discovery: What finds the others: ``"local"`` in the directories above; else one that an
            installed package registers under the entry-point group ``moby_plugins.discoveries``; or
            a function of these settings that returns a ``Discovery``.
        engine: The address of an engine whose managed plugins are looked for before those of
            ``discovery``: ``"unix:///var/run/docker.sock"``; without it no engine is asked. A
            question to it is bounded by ``activation_timeout``.
        engine_tls: ``TLSOptions`` for an engine at ``https``.
        observers: What is told of calls, retries and plugins: ``"logging"``, ``"opentelemetry"``,
            ``"prometheus"`` and other names that installed packages register under the entry-point
            group ``moby_plugins.observers``; or ``Observer`` values.
        on_retry: Called before each wait for another attempt, with the error and the seconds, where
            a call or ``get`` gives none. In code only.

    Raises:
        SettingsError: For what cannot be used: a value out of range, a wrong type, a name that no
            installed package registers.

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
            raise SettingsError("engine_tls is for an engine at https://, and there is none")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read settings from a TOML file, whose keys are the names of the fields.

        ``retry``, ``transports``, ``plugins`` and ``engine_tls`` are tables. What the file leaves
        out has its default; the environment is not read.

        Args:
            path: The file.

        Returns:
            The settings.

        Raises:
            SettingsError: For a file that cannot be read or used, or is larger than 1 MiB; it names
                the file.
        """
        import tomllib

        try:
            with open(path, "rb") as file:
                data = file.read(MAX_SETTINGS_BYTES + 1)
            if len(data) > MAX_SETTINGS_BYTES:
                raise ValueError(f"larger than {MAX_SETTINGS_BYTES} bytes")
            return cls._from(tomllib.loads(data.decode()))
        except RecursionError as error:
            raise SettingsError(f"{shown(os.fspath(path))}: nested too deep") from error
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(f"{shown(os.fspath(path))}: {shown(error)}") from error

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read settings from ``MOBY_PLUGINS_…`` variables: the fields' names in capitals.

        Paths are separated by colons; ``MOBY_PLUGINS_TRANSPORTS`` is ``unix=urllib3,tcp=other``,
        ``MOBY_PLUGINS_PLUGINS`` ``shelf=unix:///run/shelf.sock,…`` (a comma in an address is
        written %2C), ``MOBY_PLUGINS_ENGINE_TLS`` ``ca_file=/ca.pem,…``; the policy is
        ``MOBY_PLUGINS_RETRY_BUDGET`` and so on; a time-out may be ``none``. In a rootless engine's
        environment (``ROOTLESSKIT_STATE_DIR``) specs are looked for in the user's directories.

        Args:
            environ: The variables; those of the process unless given.

        Returns:
            The settings.

        Raises:
            SettingsError: For a variable that cannot be used; it names the variable.
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
    return {name.strip(): value.strip() for name, _, value in pairs}


def _tls_options(text: str) -> dict[str, Any]:
    """TLS options: files as they are, numbers and booleans as TOML writes them."""
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
    return None if text.lower() == "none" else float(text)


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
