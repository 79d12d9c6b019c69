"""Checks that are the same for the methods of every subsystem (protocol.md B0, B11).

A ``Family`` names the methods that these checks call for one subsystem.
"""

from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from moby_plugins.checks.answer import Answer
from moby_plugins.checks.handshake import spelled, unknown_is_an_error
from moby_plugins.checks.outcome import Check, check, require, skip
from moby_plugins.checks.session import MANY, Session
from moby_plugins.domain.http import OK
from moby_plugins.domain.json import first_value, fold_keys

UNKNOWN = "moby-plugins-check-unknown"

# Keys of texts for people, in lower case.
TEXTS = ("err", "error", "msg")
PADDING: dict[str, Any] = {"MobyPluginsCheck": {"Nested": [None, True, "x" * 1000]}}
BROKEN_BODIES = (b'{"Name": "moby-plug', b"moby-plugins-check", b"[1]", b'"x"', b"\xff\xfe{}")


@frozen
class Family:
    """The methods of one subsystem that the common checks call; "" or () if there is none.

    ``asks`` is a method that changes nothing if it is called with ``args``. ``acts`` are methods
    for which an empty body in place of arguments is most dangerous. ``reads`` is a method that
    changes nothing if it is called with ``read_args``; its response has ``keys``, each nested in
    the one before.
    """

    subsystem: str
    interface: str
    asks: str = ""
    args: Any = None
    acts: tuple[str, ...] = ()
    reads: str = ""
    read_args: Any = None
    keys: tuple[str, ...] = ()


FAMILIES = (
    Family(
        "VolumeDriver",
        "VolumeDriver",
        asks="Get",
        args={"Name": UNKNOWN},
        acts=("Create", "Mount", "Remove"),
        reads="List",
        read_args={},
        keys=("Volumes",),
    ),
    Family(
        "NetworkDriver",
        "NetworkDriver",
        asks="EndpointOperInfo",
        args={"NetworkID": UNKNOWN, "EndpointID": UNKNOWN},
        acts=("CreateNetwork", "CreateEndpoint", "Join"),
        reads="GetCapabilities",
        keys=("Scope",),
    ),
    Family(
        "IpamDriver",
        "IpamDriver",
        asks="ReleaseAddress",
        args={"PoolID": UNKNOWN, "Address": "192.0.2.1"},
        acts=("RequestPool", "RequestAddress"),
        reads="GetDefaultAddressSpaces",
        keys=("LocalDefaultAddressSpace",),
    ),
    Family(
        "authz",
        "AuthZPlugin",
        asks="AuthZReq",
        args={"RequestMethod": "GET", "RequestUri": f"/v1.40/containers/{UNKNOWN}/json"},
        acts=("AuthZReq", "AuthZRes"),
        reads="AuthZReq",
        read_args={"RequestMethod": "GET", "RequestUri": "/_ping"},
        keys=("Allow",),
    ),
    Family(
        "LogDriver",
        "LogDriver",
        asks="ReadLogs",
        args={"Info": {"ContainerID": UNKNOWN}, "Config": {"Tail": 0, "Follow": False}},
        acts=("StartLogging",),
        reads="Capabilities",
        keys=("Cap", "ReadLogs"),
    ),
    Family("MetricsCollector", "MetricsCollector"),
    Family(
        "GraphDriver",
        "GraphDriver",
        asks="GetMetadata",
        args={"ID": UNKNOWN},
        acts=("Init", "Create"),
        reads="Exists",
        read_args={"ID": UNKNOWN},
        keys=("Exists",),
    ),
    Family(
        "secretprovider",
        "SecretProvider",
        asks="GetSecret",
        args={"SecretName": UNKNOWN},
        acts=("GetSecret",),
    ),
)


def checks_of(family: Family) -> Iterator[Check]:
    """Yield the common checks of ``family``, without those for which it names no method."""
    yield _unknown_method(family)
    if family.asks:
        yield _broken_body(family)
        yield _unknown_keys(family)
    if family.acts:
        yield _empty_body(family)
    if family.reads:
        yield _side_by_side(family)
        yield _exact_spelling(family)


def refuses(answer: Answer) -> bool:
    """Return whether an engine takes the response as an error, or as a denial."""
    if answer.status != OK:
        return True
    if not answer.method.startswith("AuthZPlugin."):
        return bool(answer.error)
    return answer.fields.get("allow") is not True


def _unknown_method(family: Family) -> Check:
    @check(family.subsystem, "unknown method", source="A4, B0", reads_only=True)
    def run_check(plugin: Session) -> None:
        """an unknown method is answered with 404."""
        unknown_is_an_error(plugin, family.interface)

    return run_check


def _broken_body(family: Family) -> Check:
    method = f"{family.interface}.{family.asks}"

    @check(
        family.subsystem,
        "broken body",
        expects=f"{method} refuses a body that is not a JSON object, and still works afterwards",
        source="B0, B10",
        reads_only=True,
    )
    def run_check(plugin: Session) -> None:
        before = plugin.send(method, family.args)
        for body in BROKEN_BODIES:
            answer = plugin.send_bytes(method, body)
            require(refuses(answer), f"to {body!r}, {answer}")
        after = plugin.send(method, family.args)
        require(after.status == before.status, f"afterwards, {after}; before, {before}")

    return run_check


def _unknown_keys(family: Family) -> Check:
    method = f"{family.interface}.{family.asks}"

    @check(
        family.subsystem,
        "unknown keys",
        expects=f"{method} ignores unknown keys: newer engines send more",
        source="B0, B5, B6",
        reads_only=True,
    )
    def run_check(plugin: Session) -> None:
        plain = plugin.send(method, family.args)
        padded = plugin.send(method, {**family.args, **PADDING})
        require(meaning(plain) == meaning(padded), f"{padded}; without them, {plain}")
        if family.read_args is None:
            return
        # If the object is unknown, an error about unknown keys could not be told apart.
        reads = f"{family.interface}.{family.reads}"
        plain = plugin.send(reads, family.read_args)
        padded = plugin.send(reads, {**family.read_args, **PADDING})
        alike = (plain.status, refuses(plain)) == (padded.status, refuses(padded))
        require(alike, f"{padded}; without them, {plain}")

    return run_check


def meaning(answer: Answer) -> object:
    """Return the part of a response that decides what a host does, to compare two responses.

    This is the status if it is not 200, else the JSON value; ``None`` if the body is not JSON. Each
    error message in the value becomes a boolean, since messages may name the method or the call.
    """
    if answer.status != OK:
        return answer.status
    try:
        value = first_value(answer.body)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return value
    return {key: bool(text) if key in TEXTS else text for key, text in fold_keys(value).items()}


def _empty_body(family: Family) -> Check:
    methods = [f"{family.interface}.{name}" for name in family.acts]

    @check(
        family.subsystem,
        "empty body",
        expects=f"an engine's retry, which comes without its body, is refused:"
        f" {', '.join(family.acts)}",
        source="A5, B11 trap 1",
    )
    def run_check(plugin: Session) -> None:
        for method in methods:
            answer = plugin.send(method)
            require(refuses(answer), answer)

    return run_check


def _side_by_side(family: Family) -> Check:
    method = f"{family.interface}.{family.reads}"

    @check(
        family.subsystem,
        "calls side by side",
        expects=f"{MANY} calls of {method} at once get the same status as a single one",
        source="B0",
        reads_only=True,
    )
    def run_check(plugin: Session) -> None:
        ask: Callable[[], Answer] = lambda: plugin.send(method, family.read_args)  # noqa: E731
        alone = ask()
        for answer in plugin.side_by_side(*[ask] * MANY):
            require(answer.status == alone.status, f"{answer}; alone, {alone}")
            if not alone.error:
                answer.fields  # noqa: B018  an object, or the check fails

    return run_check


def _exact_spelling(family: Family) -> Check:
    method = f"{family.interface}.{family.reads}"

    @check(
        family.subsystem,
        "exact spelling",
        expects=f"{method} returns {' / '.join(family.keys)} in exactly this spelling: not all"
        " hosts ignore case",
        source="B11 trap 3",
        reads_only=True,
    )
    def run_check(plugin: Session) -> None:
        answer = plugin.send(method, family.read_args)
        if answer.status != OK or answer.error:
            skip(answer)
        spelled(answer.value, family.keys)

    return run_check


CHECKS = tuple(item for family in FAMILIES for item in checks_of(family))
