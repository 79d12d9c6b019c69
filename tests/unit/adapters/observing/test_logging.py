"""The observer that logs: its lines, their levels and the attributes of their records."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from moby_plugins import (
    DriverError,
    LoggingObserver,
    PluginNotFoundError,
    Request,
    Settings,
    StatusError,
    TransportError,
    new_client,
)
from moby_plugins.ports import ActivationFailed, RequestEnded, RequestStarted
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    MemoryRegistry,
    MemoryTransport,
    hangs,
    refused,
    script,
    status,
)

ADDR = "unix:///shelf.sock"
MANIFEST = {"Implements": ["VolumeDriver"]}


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "moby_plugins")


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    """Those of observers; the library's own are left out."""
    return lambda: [each for each in caplog.records if each.name != "moby_plugins"]


def call(replies: Any, method: str, observer: LoggingObserver, **options: Any) -> None:
    """Call the plugin in memory."""
    clock = FakeClock()
    settings = Settings(transports={"unix": MemoryTransport(replies, clock=clock).connect})
    with new_client(ADDR, settings=settings, clock=clock, observers=[observer]) as client:
        client.call(method, **options)


Records = Callable[[], list[logging.LogRecord]]


def test_a_call_that_succeeds_is_a_line_with_attributes(records: Records) -> None:
    """Method, address, attempt, status, seconds and bytes, for a formatter that writes JSON."""
    call({"M.x": hangs(2, then={"a": 1})}, "M.x", LoggingObserver())

    [record] = records()
    assert (record.name, record.levelno) == ("moby_plugins.calls", logging.INFO)
    assert record.getMessage() == f"M.x of '{ADDR}': 200, 9 bytes in 2 s"
    told = vars(record)
    assert (told["event"], told["method"], told["address"], told["attempt"]) == (
        *("call", "M.x", ADDR, 1),
    )
    assert (told["status"], told["seconds"], told["error"]) == (200, 2.0, None)
    assert (told["sent_bytes"], told["received_bytes"], told["new_connection"]) == (0, 9, None)


def test_failures_and_retries_have_levels_of_their_own(records: Records) -> None:
    """Each attempt that failed, what is tried again, and how it ended."""
    call({"M.x": script(refused(), {})}, "M.x", LoggingObserver(ok="DEBUG", retry=25, failure=35))

    assert [(vars(each)["event"], each.levelno) for each in records()] == [
        ("call", 35),
        ("retry_scheduled", 25),
        ("call", 10),
    ]
    failed, retry, _ = records()
    assert vars(failed)["error"] == "TransportError"
    assert failed.getMessage().startswith(f"attempt 1 at M.x of '{ADDR}' failed in 0.0 ms: Trans")
    assert (vars(retry)["delay"], vars(retry)["attempt"]) == (1.0, 1)


def test_what_has_no_level_is_not_logged(records: Records) -> None:
    """``None`` for what is of no interest."""
    quiet = LoggingObserver(ok=None, retry=None)
    call({"M.x": script(refused(), {})}, "M.x", quiet)

    assert [vars(each)["event"] for each in records()] == ["call"]


def test_a_line_is_logged_although_the_program_sets_the_same_attribute(records: Records) -> None:
    """Without attributes."""
    usual = logging.getLogRecordFactory()

    def factory(*args: Any, **named: Any) -> logging.LogRecord:
        record = usual(*args, **named)
        record.plugin = "mine"
        return record

    logging.setLogRecordFactory(factory)
    try:
        call({"M.x": {}}, "M.x", LoggingObserver())
    finally:
        logging.setLogRecordFactory(usual)

    [record] = records()
    assert record.getMessage().startswith("M.x")
    assert vars(record)["plugin"] == "mine"


def test_a_handler_that_raises_key_error_makes_no_line_twice(records: Records) -> None:
    """The line was logged; what another handler then raises is logged as the observer's failure."""
    received: list[logging.LogRecord] = []

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            received.append(record)
            raise KeyError(record.name)

    calls, broken = logging.getLogger("moby_plugins.calls"), Broken()
    calls.addHandler(broken)
    try:
        call({"M.x": {}}, "M.x", LoggingObserver())
    finally:
        calls.removeHandler(broken)

    [record] = received
    assert vars(record)["plugin"] == ""
    assert records() == []


def test_a_record_says_where_it_was_logged(records: Records) -> None:
    """As every record does."""
    call({"M.x": {}}, "M.x", LoggingObserver())

    [record] = records()
    assert (record.module, record.funcName, record.lineno > 0) == ("logging", "_log", True)
    assert record.args == (record.getMessage(),)


def test_the_name_of_an_errors_class_is_printable_and_short(records: Records) -> None:
    """It is the text of a plugin's author, in the line as in the attribute."""
    odd: Any = type("Odd\n\x1b[2J" + "x" * 5_000, (Exception,), {})
    observer = LoggingObserver()
    observer.activation_failed(ActivationFailed("shelf", odd("no"), 1.0))

    [record] = records()
    for text in (record.getMessage(), str(vars(record)["error"])):
        assert "Odd\\n\\x1b[2Jxxx" in text
        assert text.isprintable()
        assert len(text) < 400


@pytest.mark.parametrize("level", ["LOUD", 1.5, True, b"INFO", 0, -5, "NOTSET"])
def test_what_is_no_level_is_refused(level: Any) -> None:
    """When the observer is made."""
    with pytest.raises(ValueError, match=r"retry (is not a|must be a) logging level"):
        LoggingObserver(retry=level)


def test_an_error_in_a_response_with_status_200_is_a_failure(records: Records) -> None:
    """Its text is the plugin's, escaped and bounded."""
    replies = {"VolumeDriver.Get": {"Err": "no\nsuch " + "x" * 5000}}
    settings = Settings(transports={"unix": MemoryTransport(replies).connect})
    client = new_client(ADDR, settings=settings, observers=[LoggingObserver()])
    with client, pytest.raises(DriverError):
        VolumeDriver(client).get("books")

    failed = next(each for each in records() if vars(each)["event"] == "driver_failed")
    assert (failed.levelno, vars(failed)["error"]) == (logging.WARNING, "DriverError")
    assert "\n" not in failed.getMessage()
    assert len(failed.getMessage()) < 1000


def test_plugins_are_told_of_as_they_come_and_go(records: Records) -> None:
    """Active, dropped, not found, and a handler that failed."""

    def fail(_: str, __: object) -> None:
        raise ZeroDivisionError("a handler")

    with MemoryRegistry(observers=[LoggingObserver()]) as registry:
        registry.add("shelf", {"Plugin.Activate": MANIFEST})
        registry.handle("VolumeDriver", fail)
        registry.get("shelf")
        registry.invalidate("shelf")
        with pytest.raises(PluginNotFoundError):
            registry.get("nothing")

    told = {vars(each)["event"]: each for each in records()}
    assert told["plugin_activated"].getMessage() == (
        "plugin 'shelf' is active after 0.0 ms: VolumeDriver"
    )
    assert vars(told["plugin_activated"])["implements"] == "VolumeDriver"
    assert told["plugin_dropped"].name == "moby_plugins.plugins"
    assert vars(told["activation_failed"])["error"] == "PluginNotFoundError"
    assert vars(told["activation_failed"])["plugin"] == "nothing"
    assert vars(told["handler_failed"])["error"] == "ZeroDivisionError"


class Shelf(VolumeDriver):
    """Refuses to remove."""

    def list(self) -> list[Volume]:
        return []

    def remove(self, name: str) -> None:
        raise StatusError(409, "VolumeDriver.Remove", f"{name} is in use")


def test_served_requests_are_logged(records: Records) -> None:
    """With the plugin's exception, where there was one."""
    app = PluginApp(Shelf(), observers=[LoggingObserver()])
    app(Request("VolumeDriver.List", b"{}"))
    app(Request("VolumeDriver.Remove", b'{"Name":"books"}'))

    well, refusal = records()
    assert (well.name, well.levelno) == ("moby_plugins.requests", logging.INFO)
    assert (refusal.levelno, vars(refusal)["status"]) == (logging.WARNING, 409)
    assert "StatusError: VolumeDriver.Remove: books is in use" in refusal.getMessage()
    assert vars(well)["received_bytes"] == 2


def test_a_host_that_hung_up_is_a_failure(records: Records) -> None:
    """Whatever the plugin has answered."""
    end = LoggingObserver().request_started(RequestStarted("M.x", "M.x"))
    end(RequestEnded(RequestStarted("M.x", "M.x"), 1.5, 200, hung_up=True))

    [record] = records()
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "M.x: 200, 0 bytes in 1.5 s, and the host hung up"


def test_names_of_others_make_no_line_and_show_no_password(records: Records) -> None:
    """Whatever a host, a plugin or a caller has written."""
    with MemoryRegistry(observers=[LoggingObserver()]) as registry:
        for name in ("a\nb\x1b[2J", "https://ada:secret@host/x"):
            with pytest.raises(Exception, match="plugin"):
                registry.get(name)

    for record in records():
        assert record.getMessage().isprintable()
        assert str(vars(record)["plugin"]).isprintable()
        assert "secret" not in f"{record.getMessage()}{vars(record)}"


@pytest.fixture
def silent() -> Iterator[None]:
    """The observers' loggers at a level that nothing reaches."""
    logger = logging.getLogger("moby_plugins")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


@pytest.mark.usefixtures("silent")
def test_what_no_handler_takes_is_not_even_written(records: Records) -> None:
    """The text is made only for a level that is on."""
    with pytest.raises(TransportError):
        call({"M.x": refused()}, "M.x", LoggingObserver())
    with pytest.raises(StatusError):
        call({"M.x": status(500)}, "M.x", LoggingObserver())

    assert records() == []
