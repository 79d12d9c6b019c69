"""Strategies for the messages of any subsystem, derived from its definition."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from types import UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from moby_plugins.app.bodies import Data
from moby_plugins.app.subsystem import RemoteMethod, Subsystem
from moby_plugins.app.subsystems.graph import GraphDriver
from moby_plugins.app.subsystems.ipam import AddressResponse, PoolResponse
from moby_plugins.app.subsystems.log import SOURCES, LogEntry, LogInfo, PartialLog, ReadConfig
from moby_plugins.app.subsystems.network import (
    SCOPES,
    EndpointInterface,
    IPAMData,
    JoinResponse,
    NetworkCapabilities,
    StaticRoute,
)
from moby_plugins.app.subsystems.secret import Secret
from moby_plugins.app.subsystems.volume import Volume, VolumeCapabilities
from moby_plugins.domain.formats import timestamp
from moby_plugins.domain.text import listed, quoted
from moby_plugins.testing.strategies.values import FLOATS, INTEGERS, MAX_ITEMS, json_values, texts

# Strategies by class and field, or ``method.parameter``, for those whose type is too general.
Fields: TypeAlias = Mapping[tuple[type, str], SearchStrategy[Any]]


@attrs.frozen
class MethodCall:
    """A call of a subsystem's method, and what the plugin returns. A frozen value.

    Args:
        method: The method's name in Python.
        arguments: The arguments of the call.
        result: The value that the plugin's method returns.
    """

    method: str
    arguments: tuple[Any, ...]
    result: Any


_PLAIN: Mapping[Any, SearchStrategy[Any]] = {
    str: texts(),
    int: INTEGERS,
    float: FLOATS,
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    type(None): st.none(),
    Any: json_values(),
    object: json_values(),
    Data: st.binary(max_size=20),
}
_CIDRS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)),
).map(lambda pair: f"{pair[0]}/{pair[1]}")
_IPS = st.ip_addresses().map(str)
_MACS = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
_TIMES = st.datetimes(timezones=st.just(UTC)).map(timestamp)
_SCOPES = st.sampled_from(SCOPES)
# Layers are put into a query without quoting (protocol.md B8).
_LAYERS = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)
# Strategies for fields of this library's own classes.
_OURS: Fields = {
    (NetworkCapabilities, "scope"): _SCOPES,
    (NetworkCapabilities, "connectivity_scope"): _SCOPES | st.just(""),
    (VolumeCapabilities, "scope"): _SCOPES,
    (Volume, "created_at"): _TIMES | st.just(""),
    (LogInfo, "container_created"): _TIMES,
    (ReadConfig, "since"): _TIMES,
    (ReadConfig, "until"): _TIMES,
    (IPAMData, "pool"): _CIDRS | st.just(""),
    (IPAMData, "gateway"): _CIDRS | st.just(""),
    (EndpointInterface, "address"): _CIDRS | st.just(""),
    (EndpointInterface, "address_ipv6"): _CIDRS | st.just(""),
    (EndpointInterface, "mac_address"): _MACS | st.just(""),
    (StaticRoute, "destination"): _CIDRS | st.just(""),
    (StaticRoute, "next_hop"): _IPS | st.just(""),
    (JoinResponse, "gateway"): _IPS | st.just(""),
    (JoinResponse, "gateway_ipv6"): _IPS | st.just(""),
    (PoolResponse, "pool"): _CIDRS,
    (AddressResponse, "address"): _CIDRS,
    (Secret, "value"): st.binary(min_size=1, max_size=20),
    (LogEntry, "source"): st.sampled_from(SOURCES),
    (LogEntry, "line"): st.binary(max_size=20).map(lambda line: line + b"\n"),
    (PartialLog, "ordinal"): st.integers(0, (1 << 31) - 1),
    (GraphDriver, "apply_diff.id"): _LAYERS,
    (GraphDriver, "apply_diff.parent"): _LAYERS | st.just(""),
}


def messages(kind: Any, fields: Fields | None = None) -> SearchStrategy[Any]:
    """Draw values of a type that crosses the wire.

    Args:
        kind: An attrs class, or any other type that can be sent.
        fields: Strategies for fields whose type is too general, such as those with a
            validator: ``{(Forecast, "celsius"): floats(-90, 60)}``. The strategies for this
            library's messages are built in.

    Returns:
        The strategy.

    Raises:
        TypeError: For a type that cannot be sent.
    """
    return _of(kind, {**_OURS, **(fields or {})})


def method_calls(
    kind: type[Subsystem], method: str, fields: Fields | None = None
) -> SearchStrategy[MethodCall]:
    """Draw calls of a subsystem's method, with arguments and a result that fit its signature.

    A result that is a stream is drawn as the list of its items.

    Args:
        kind: The subsystem's class.
        method: The method's name in Python.
        fields: Strategies for fields and parameters whose type is too general. The key of a
            parameter has the subsystem's class and a text: ``(WeatherStation, "forecast.days")``.

    Returns:
        The strategy.

    Raises:
        TypeError: If ``kind`` is not a subsystem's class, or for a type that cannot be sent.
        ValueError: For an unknown method.
    """
    known = {**_OURS, **(fields or {})}
    unchecked: object = kind  # the caller may be untyped
    if not (isinstance(unchecked, type) and issubclass(unchecked, Subsystem)):
        raise TypeError(f"kind must be a subsystem's class, not {quoted(unchecked)}")
    remotes = {remote.name: remote for remote in kind.remotes.values()}
    if method not in remotes:
        methods = listed(remotes)
        raise ValueError(f"method: {kind.__name__} has no {quoted(method)}; it has {methods}")
    remote = remotes[method]
    hints = get_type_hints(remote.function)
    parameters = _parameters(remote)
    arguments = [_field((kind, f"{method}.{name}"), hints[name], known) for name in parameters]
    result = _of(hints["return"], known)
    return st.builds(MethodCall, st.just(method), st.tuples(*arguments), result)


def log_entries() -> SearchStrategy[LogEntry]:
    """Draw log entries that an engine shows: a known source, and a newline at the end of a line.

    Returns:
        The strategy.
    """
    return messages(LogEntry)


def _parameters(remote: RemoteMethod) -> list[str]:
    return list(inspect.signature(remote.function).parameters)[1:]


def _of(kind: Any, fields: Fields) -> SearchStrategy[Any]:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if attrs.has(kind):
        return _attrs_values(kind, fields)
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin in {Union, UnionType}:
        return st.one_of(*(_of(part, fields) for part in parts))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, item = parts or (str, Any)
        return st.dictionaries(_of(key, fields), _of(item, fields), max_size=MAX_ITEMS)
    if origin in {tuple, list, Iterator, Sequence}:
        make = tuple if origin in {tuple, Sequence} else list
        item = parts[0] if parts else Any
        return st.lists(_of(item, fields), max_size=MAX_ITEMS).map(make)
    raise TypeError(f"no strategy is known for {kind}: give one in fields for a field of this type")


def _field(key: tuple[type, str], kind: Any, fields: Fields) -> SearchStrategy[Any]:
    return fields[key] if key in fields else _of(kind, fields)


def _attrs_values(kind: Any, fields: Fields) -> SearchStrategy[Any]:
    return st.builds(
        kind,
        **{
            str(a.alias): _field((kind, a.name), a.type, fields)
            for a in attrs.fields(attrs.resolve_types(kind))
            if a.init
        },
    )
