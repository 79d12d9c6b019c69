"""Checks of the handshake, and of rules for every subsystem (protocol.md B0, B1)."""

from typing import Any

from moby_plugins.checks.answer import SHOWN
from moby_plugins.checks.outcome import check, require, skip, warn
from moby_plugins.checks.session import MANY, Session, Target
from moby_plugins.domain.http import CONTENT_TYPE, OK
from moby_plugins.domain.json import first_value, fold_keys
from moby_plugins.domain.text import shown
from moby_plugins.subsystems import ENGINE_SUBSYSTEMS

ACTIVATE = "Plugin.Activate"
PLUGIN = "Plugin"
KNOWN = tuple(kind.implements for kind in ENGINE_SUBSYSTEMS)
QUICK = 1.0
IN_A_ROW = 50
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def implemented_by(target: Target) -> tuple[str, ...]:
    """Return the subsystems that a plugin implements, from the handshake.

    A managed plugin has no handshake: the subsystems are those of ``options.managed_for``.

    Args:
        target: The plugin.

    Returns:
        The names; none if the response has no valid list.

    Raises:
        TransportError: If no response is received.
        WireError: If the response is incomplete.
    """
    if target.options.managed_for is not None:
        return target.options.managed_for
    answer = target.send(ACTIVATE)
    try:
        value = first_value(answer.body)
    except ValueError:
        return ()
    implements = fold_keys(value).get("implements") if isinstance(value, dict) else None
    names = implements if isinstance(implements, list) else []
    return tuple(entry for entry in names if isinstance(entry, str))


def _implements(plugin: Session) -> list[Any]:
    answer = plugin.send(ACTIVATE)
    implements = answer.fields.get("implements")
    require(isinstance(implements, list), answer)
    return list(implements or ())


@check(PLUGIN, source="B1, B11 trap 2", reads_only=True)
def handshake_succeeds(plugin: Session) -> None:
    """Plugin.Activate is answered with status 200, and no other."""
    answer = plugin.send(ACTIVATE)
    require(answer.status == OK, answer)


@check(PLUGIN, source="B1", reads_only=True)
def manifest_shape(plugin: Session) -> None:
    """the handshake's response is an object with Implements, an array of one or more names."""
    subsystems = _implements(plugin)
    require(
        subsystems and all(isinstance(entry, str) and entry for entry in subsystems),
        f"{subsystems!r}",
    )


@check(PLUGIN, source="A6, B0", reads_only=True)
def names_are_exact(plugin: Session) -> None:
    """names of subsystems are spelled exactly as engines spell them, in upper and lower case."""
    exact = {known.casefold(): known for known in KNOWN} | {"authzplugin": "authz"}
    for entry in _implements(plugin):
        wanted = exact.get(str(entry).casefold(), entry)
        require(entry == wanted, f"engines do not know {entry!r}: the name is {wanted!r}")


@check(PLUGIN, source="B1", reads_only=True)
def names_are_known(plugin: Session) -> None:
    """engines know at least one of the subsystems, and none is named twice."""
    subsystems = [str(entry) for entry in _implements(plugin)]
    warn(len(set(subsystems)) == len(subsystems), f"{subsystems!r} names a subsystem twice")
    warn(set(subsystems) & set(KNOWN), f"engines know none of {subsystems!r}")


@check(PLUGIN, source="B1", reads_only=True)
def handshake_repeats(plugin: Session) -> None:
    """a second handshake has the same response: a restarted engine asks again."""
    first, second = _implements(plugin), _implements(plugin)
    require(first == second, f"{first!r}, then {second!r}")


@check(
    PLUGIN,
    expects=f"{MANY} handshakes at once have the same response",
    source="B0, B1",
    reads_only=True,
)
def handshakes_side_by_side(plugin: Session) -> None:
    manifests = plugin.side_by_side(*[lambda: _implements(plugin)] * MANY)
    require(all(each == manifests[0] for each in manifests), f"{manifests!r}")


@check(
    PLUGIN,
    expects=f"{IN_A_ROW} handshakes one after the other, over a connection that is kept, succeed",
    source="B0",
    reads_only=True,
)
def one_call_after_the_other(plugin: Session) -> None:
    for _ in range(IN_A_ROW):
        plugin.call(ACTIVATE)


@check(
    PLUGIN,
    expects=f"the handshake is answered within {QUICK:g} s: engines have no time-out for it",
    source="B11 trap 4",
    reads_only=True,
)
def handshake_is_quick(plugin: Session) -> None:
    began = plugin.target.clock.now()
    plugin.send(ACTIVATE)
    took = plugin.target.clock.now() - began
    warn(took <= QUICK, f"it took {took:.1f} s; while a plugin hangs, so does every caller")


@check(
    PLUGIN,
    expects=f"the handshake's response has the Content-Type {CONTENT_TYPE}, which engines ask for,"
    " or application/json",
    source="B0, B10",
    reads_only=True,
)
def content_type(plugin: Session) -> None:
    headers = {key.lower(): text for key, text in plugin.send(ACTIVATE).headers.items()}
    value = headers.get("content-type", "")
    known = value.partition(";")[0].strip().lower() in {CONTENT_TYPE, "application/json"}
    warn(known, f"Content-Type: {value or 'none'}; engines do not read it, other hosts may")


@check(PLUGIN, source="B11 trap 3", reads_only=True)
def exact_spelling(plugin: Session) -> None:
    """the handshake's response is one object and nothing else, with the key Implements in exactly
    this spelling: not all hosts are lenient.
    """
    answer = plugin.send(ACTIVATE)
    spelled(answer.value, ("Implements",))
    warn(answer.body.strip().endswith(b"}"), f"{answer}: something follows the object")


@check(PLUGIN, source="A4, B0", reads_only=True)
def unknown_method(plugin: Session) -> None:
    """an unknown method is answered with 404."""
    unknown_is_an_error(plugin, PLUGIN)


@check(PLUGIN, source="B0, B1", reads_only=True)
def body_of_the_handshake(plugin: Session) -> None:
    """a handshake with a body has the same response as one without, and so has the next."""
    plain = _implements(plugin)
    answer = plugin.send(ACTIVATE, {"Padding": "x" * 10_000})
    require(answer.fields.get("implements") == plain, answer)
    require(_implements(plugin) == plain, "the next handshake has another response")


@check(PLUGIN, source="B0", reads_only=True)
def answer_given_up(plugin: Session) -> None:
    """handshakes succeed after hosts closed their connections in the middle of a response."""
    for _ in range(3):
        with plugin.stream(ACTIVATE, None) as answer:
            answer.read(1)
    require(_implements(plugin), "afterwards, Implements is empty")


@check(PLUGIN, source="A2, A3, B11 trap 19", reads_only=True)
def encryption(plugin: Session) -> None:
    """an address on another machine is https://, with verification of the plugin; tcp:// has no
    TLS options, since it is always plain text.
    """
    plugin.send(ACTIVATE)
    address, tls = plugin.target.address, plugin.target.tls
    concern = "" if tls is None else tls.concerns(encrypted=address.encrypted)
    warn(not concern, f"{address.text}: {concern}")
    near = not address.host or address.host in LOOPBACK or address.encrypted
    warn(near, f"{address.text} is not encrypted: its spec cannot change that")


@check(PLUGIN, source="A1, B11 trap 20", reads_only=True)
def spec_directory(plugin: Session) -> None:
    """the plugin's spec is not in ~/.config/docker/plugins, which rootless engines ignore."""
    path = plugin.options.path
    if not path.endswith((".spec", ".json")):
        skip("the plugin was not found by a spec")
    warn(
        "/.config/docker/plugins/" not in path, f"{path}; engines read /etc/docker/plugins instead"
    )


def unknown_is_an_error(plugin: Session, interface: str) -> None:
    """Call an unknown method of ``interface``: fail for status 200, and warn for any but 404."""
    answer = plugin.send(f"{interface}.MobyPluginsCheck", {})
    require(answer.status != OK, f"{answer}; engines take it for a success")
    warn(answer.status == 404, f"{answer}; engines look for 404")  # noqa: PLR2004


def spelled(value: Any, keys: tuple[str, ...]) -> None:
    """Warn unless the nested ``keys`` exist in ``value`` with exactly this spelling."""
    for key in keys:
        known = isinstance(value, dict) and key in value
        warn(known, f"no key {key!r} in exactly this spelling in {shown(value, SHOWN)}")
        value = value[key]
