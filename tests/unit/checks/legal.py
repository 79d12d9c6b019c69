"""Plugins that differ from the good one as they may: no check is stricter than engines are."""

import base64
import json
from itertools import count
from typing import Any

from attrs import evolve

from moby_plugins import Request, Response
from moby_plugins.checks import CheckOutcome
from moby_plugins.checks.methods import FAMILIES, Family
from moby_plugins.domain.http import App
from moby_plugins.serving import PluginApp
from tests.unit.checks.broken import (
    HEADERS,
    OPTIONS,
    Breaks,
    Broken,
    adds,
    body_of,
    does,
    edits,
    refuses,
    says,
)
from tests.unit.checks.broken_networks import CAPABILITIES as NETWORK
from tests.unit.checks.broken_volumes import CREATE, GET, LIST, PATH, refuses_if, volume_with
from tests.unit.checks.good_storage import Asynchronous
from tests.unit.checks.processes import Process

# A certificate has more bytes than the lines around it.
LEAST_CERTIFICATE = 200


def passes(breaks: Breaks) -> Broken:
    """Not broken at all."""
    return Broken(breaks, CheckOutcome.PASSED)


def skipped(breaks: Breaks, **options: Any) -> Broken:
    """Nothing to check."""
    return Broken(breaks, CheckOutcome.SKIPPED, evolve(OPTIONS, **options))


def errors_in_200(key: str, *methods: str) -> Breaks:
    """Errors come with status 200, under ``key``."""

    def app(request: Request, good: App) -> Any:
        answer = good(request)
        if answer.status == 200:
            return answer
        return Response(
            200, json.dumps({key: json.loads(body_of(answer))["Err"]}).encode(), HEADERS
        )

    return does(app, *methods)


def small(request: Request, good: App) -> bytes:
    """All keys in small letters, and something behind the answer."""
    told = json.loads(body_of(good(request)))
    return json.dumps({key.lower(): value for key, value in told.items()}).encode() + b"\n{}"


def regardless(request: Request, good: App) -> dict[str, Any]:
    """A success, whatever there was to do."""
    good(request)
    return {}


def no_such_volume(told: dict[str, Any]) -> dict[str, Any]:
    """Without the key, in place of null."""
    return told if told["Volume"] else {}


def reads_certificates() -> Breaks:
    """Certificates are parsed, as opa-docker-authz does: one that is none is an error."""
    return refuses_if(
        lambda args: any(
            len(base64.b64decode(text)) < LEAST_CERTIFICATE
            for text in args.get("RequestPeerCertificates") or ()
        ),
        "AuthZPlugin.AuthZReq",
        "AuthZPlugin.AuthZRes",
    )


def reads_bodies() -> Breaks:
    """Bodies are decoded into an object: an engine sends no other JSON."""

    def no_object(args: dict[str, Any]) -> bool:
        body = base64.b64decode(args.get("RequestBody", ""))
        return bool(body) and not isinstance(json.loads(body), dict)

    return refuses_if(no_object, "AuthZPlugin.AuthZReq")


def traces(family: Family) -> Breaks:
    """Each error, and each reason, names the call that it belongs to."""
    numbers = count()

    def named(request: Request, good: App) -> Any:
        answer = good(request)
        text = f"no (trace {next(numbers)})"
        if answer.status != 200:
            return Response(answer.status, json.dumps({"Err": text}).encode(), HEADERS)
        if family.subsystem != "authz":
            return answer
        return json.loads(body_of(answer)) | {"Allow": False, "Msg": text}

    return does(named, f"{family.interface}.{family.asks}")


def asynchronous() -> Breaks:
    """A log driver that at StopLogging leaves alone what it has not read, as many do."""
    return lambda _: PluginApp(Asynchronous())


def in_a_container() -> Breaks:
    """A log driver that has another root directory."""
    text = "open /tmp/x: no such file or directory"
    return does(
        lambda *_: Response(500, json.dumps({"Err": text}).encode()), "LogDriver.StartLogging"
    )


AUTHZ = ("request", "response", "anonymous request", "same request, same verdict")
LOGS = ("lines come back", "tail", "sources", "logs of one container", "logs after a second start")

LEGAL = (
    ("Plugin: manifest shape", passes(does(small, "Plugin.Activate"))),
    ("VolumeDriver: list", passes(says(LIST, {"Volumes": None}))),
    ("VolumeDriver: list", passes(does(small, LIST))),
    ("VolumeDriver: create", passes(does(small, GET))),
    ("VolumeDriver: capabilities", passes(says("VolumeDriver.Capabilities", None))),
    (
        "VolumeDriver: capabilities",
        passes(says("VolumeDriver.Capabilities", {"Capabilities": {"Scope": "GLOBAL"}})),
    ),
    ("VolumeDriver: times in get", passes(volume_with(CreatedAt=None))),
    (
        "VolumeDriver: times in get",
        passes(volume_with(CreatedAt="2024-02-29T12:00:00.123456789+02:00")),
    ),
    ("VolumeDriver: get of unknown", passes(edits(GET, no_such_volume))),
    ("VolumeDriver: get of unknown", passes(refuses(GET))),
    ("VolumeDriver: mount of unknown", passes(errors_in_200("Err", "VolumeDriver.Mount"))),
    ("VolumeDriver: broken body", passes(errors_in_200("Err", GET))),
    ("VolumeDriver: one mountpoint", passes(volume_with(Mountpoint=""))),
    ("VolumeDriver: mounts are counted", passes(refuses(PATH, status=404))),
    (
        "VolumeDriver: remove of unknown",
        passes(does(regardless, "VolumeDriver.Remove")),
    ),
    (
        "VolumeDriver: create without options",
        skipped(adds("VolumeDriver.Create"), volume_opts={"type": "local"}),
    ),
    ("NetworkDriver: connectivity scope", passes(adds(NETWORK, ConnectivityScope=""))),
    ("NetworkDriver: create endpoint", passes(edits("NetworkDriver.CreateEndpoint", lambda _: {}))),
    ("NetworkDriver: join", passes(says("NetworkDriver.Join", {}))),
    ("NetworkDriver: operational data", passes(says("NetworkDriver.EndpointOperInfo", {}))),
    ("NetworkDriver: ProgramExternalConnectivity", passes(adds("NetworkDriver.Join"))),
    (
        "NetworkDriver: RevokeExternalConnectivity",
        passes(says("NetworkDriver.RevokeExternalConnectivity", {})),
    ),
    ("NetworkDriver: gateway allocation", skipped(adds(NETWORK, GwAllocChecker=False))),
    ("NetworkDriver: allocate network", skipped(adds(NETWORK, Scope="local"))),
    ("IpamDriver: error key", passes(errors_in_200("Error", "IpamDriver.RequestAddress"))),
    ("IpamDriver: pool of version 6", passes(refuses("IpamDriver.RequestPool"))),
    (
        "IpamDriver: release of a gateway that nobody requested",
        skipped(adds("IpamDriver.RequestPool", Data=None)),
    ),
    ("authz: request", passes(says("AuthZPlugin.AuthZReq", {"Allow": False, "Msg": "no"}))),
    ("authz: reason of a denial", passes(says("AuthZPlugin.AuthZReq", {"Allow": True}))),
    ("LogDriver: capabilities", passes(says("LogDriver.Capabilities", {"Cap": {}}))),
    ("LogDriver: lines come back", skipped(says("LogDriver.Capabilities", {"Cap": {}}))),
    (
        "LogDriver: start before a line",
        evolve(skipped(adds("LogDriver.StartLogging")), addr="tcp://192.0.2.1:80"),
    ),
    ("LogDriver: logs of a stranger", passes(says("LogDriver.ReadLogs", b""))),
    ("GraphDriver: capabilities", passes(refuses("GraphDriver.Capabilities", status=404))),
    ("GraphDriver: exists", passes(refuses("GraphDriver.Exists"))),
    ("GraphDriver: exact spelling", skipped(refuses("GraphDriver.Exists"))),
    ("MetricsCollector: start and stop", passes(says("MetricsCollector.StartMetrics", b""))),
    *((f"authz: {name}", passes(reads_certificates())) for name in AUTHZ),
    ("authz: largest body", passes(reads_bodies())),
    *(
        (f"{family.subsystem}: unknown keys", passes(traces(family)))
        for family in FAMILIES
        if family.asks
    ),
    (
        "VolumeDriver: create for Podman",
        passes(does(lambda r, g: Response(g(r).status, b""), CREATE)),
    ),
    ("VolumeDriver: get of unknown for Podman", passes(refuses(GET))),
    *((f"LogDriver: {name}", passes(asynchronous())) for name in LOGS),
    (
        "LogDriver: lines come back",
        evolve(skipped(adds("LogDriver.StartLogging")), process=Process(visible=False)),
    ),
    *(
        (f"LogDriver: {name}", evolve(skipped(in_a_container()), process=process))
        for name in ("start before a line", "lines come back", "FIFO is read")
        for process in (None, Process(visible=None))
    ),
    ("LogDriver: start without a FIFO", evolve(passes(in_a_container()), process=None)),
)
