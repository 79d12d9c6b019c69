"""Ways to break a plugin: it goes wrong in one place, and is as before in all others."""

import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from typing import Any, TypeAlias

from attrs import field, frozen

from moby_plugins import Request, Response, TLSOptions, TransportTimeoutError
from moby_plugins.checks import Check, CheckOutcome, CheckResult, Options, Target, run_checks
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import CONTENT_TYPE, App
from moby_plugins.testing import FakeClock, MemoryTransport
from tests.unit.checks.processes import IDLE, Process

HEADERS = {"Content-Type": CONTENT_TYPE}
OPTIONS = Options(
    timeout=10.0, secret="password", path="/etc/docker/plugins/good.spec", tag="0123abcd"
)

# What is answered instead, given the request and what the good plugin would answer.
Answers: TypeAlias = Callable[[Request, App], Any]
Breaks: TypeAlias = Callable[[App], App]


@frozen
class Broken:
    """A way to break a plugin so that a check does not pass, and the outcome of that check."""

    breaks: Breaks = field(eq=False)
    outcome: CheckOutcome = CheckOutcome.FAILED
    options: Options = OPTIONS
    # Seconds, on a clock of the test's own, that each answer takes.
    delay: float = 0.0
    addr: str = "unix:///run/docker/plugins/good.sock"
    tls: TLSOptions | None = None
    process: Process | None = IDLE


def warned(breaks: Breaks, options: Options = OPTIONS) -> Broken:
    """Broken in a way that engines put up with."""
    return Broken(breaks, CheckOutcome.WARNED, options)


def does(answers: Answers, *methods: str) -> Breaks:
    """``methods``, or all, are answered by ``answers``."""

    def breaks(good: App) -> App:
        def app(request: Request) -> Response:
            if methods and request.method.partition("?")[0] not in methods:
                return good(request)
            told = answers(request, good)
            return told if isinstance(told, Response) else Response(200, as_body(told), HEADERS)

        return app

    return breaks


def says(method: str, told: Any) -> Breaks:
    """``method`` is always answered with 200 and ``told``."""
    return does(lambda _, __: told, method)


def refuses(*methods: str, status: int = 500) -> Breaks:
    """``methods`` are always answered with an error."""
    return does(lambda _, __: Response(status, b'{"Err": "no"}', HEADERS), *methods)


def adds(method: str, **keys: Any) -> Breaks:
    """The good answer of ``method``, with ``keys`` in it as well."""
    return edits(method, lambda told: told | keys)


def edits(method: str, edit: Callable[[dict[str, Any]], Any]) -> Breaks:
    """The good answer of ``method``, as ``edit`` makes it."""
    return does(lambda request, good: edit(json.loads(body_of(good(request)))), method)


def after(calls: int, answers: Answers, *methods: str) -> Breaks:
    """From so many calls of ``methods`` on, they are answered by ``answers``."""
    so_far: list[str] = []

    def late(request: Request, good: App) -> Any:
        so_far.append(request.method)
        return answers(request, good) if len(so_far) > calls else good(request)

    return does(late, *methods)


def at_once(*methods: str) -> Breaks:
    """Answers an error while another call of ``methods`` is being answered.

    From the second call on, each waits for another to come at the same time.
    """
    busy, company = threading.Lock(), threading.Event()
    numbers = count()

    def one_at_a_time(request: Request, good: App) -> Any:
        if not busy.acquire(blocking=False):
            company.set()
            return Response(500, b'{"Err": "busy"}', HEADERS)
        with ExitStack() as stack:
            stack.callback(busy.release)
            if next(numbers):
                company.wait(1.0)
            return good(request)

    return does(one_at_a_time, *methods)


def never(_: Request, __: App) -> Any:
    """No answer within the time-out."""
    raise TransportTimeoutError("timed out")


def as_body(told: Any) -> bytes:
    """Bytes as they are, anything else as JSON."""
    return told if isinstance(told, bytes) else json.dumps(told).encode()


def body_of(response: Response) -> bytes:
    """A response's whole body."""
    return b"".join(iter(lambda: response.body.read(1 << 16), b""))


def args_of(request: Request) -> dict[str, Any]:
    """A request's arguments."""
    return dict(request.json() or {})


def result(item: Check, app: App, broken: Broken) -> CheckResult:
    """What one check finds, without a socket, on a clock of its own."""
    clock = FakeClock()

    def slow(request: Request) -> Response:
        clock.sleep(broken.delay)
        return app(request)

    plugin = MemoryTransport(slow if broken.delay else app, clock=clock)
    address = Address(broken.addr)
    process = broken.process.of(clock, plugin) if broken.process else None
    target = Target(
        plugin,
        address,
        clock=clock,
        tls=broken.tls,
        options=broken.options,
        find_process=lambda: process,
    )
    (found,) = run_checks([item], target)
    return found
