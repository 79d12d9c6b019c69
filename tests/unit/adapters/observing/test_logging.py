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


def test_a_successful_call_is_one_log_record_with_attributes(records: Records) -> None:
    """They are method, address, attempt, status, seconds and bytes, for JSON formatters."""
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
    """A failed attempt, its retry and the final success are each logged at their given level."""
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


def test_events_whose_level_is_none_are_not_logged(records: Records) -> None:
    """With ``ok=None`` and ``retry=None`` only failures are logged."""
    quiet = LoggingObserver(ok=None, retry=None)
    call({"M.x": script(refused(), {})}, "M.x", quiet)

    assert [vars(each)["event"] for each in records()] == ["call"]


def test_a_call_is_logged_although_the_program_sets_the_same_record_attribute(
    records: Records,
) -> None:
    """The record then has the program's attribute, and none of the observer's."""
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


def test_a_handler_that_raises_key_error_receives_the_record_once(records: Records) -> None:
    """``logging`` raises ``KeyError`` for a clash of attributes, which this error is not."""
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
    """As usual for log records, it has the module, the function and the line."""
    call({"M.x": {}}, "M.x", LoggingObserver())

    [record] = records()
    assert (record.module, record.funcName, record.lineno > 0) == ("logging", "_log", True)
    assert record.args == (record.getMessage(),)


def test_the_name_of_an_errors_class_is_printable_and_short(records: Records) -> None:
    """A plugin's author chooses it, so message and attribute have it escaped and shortened."""
    odd: Any = type("Odd\n\x1b[2J" + "x" * 5_000, (Exception,), {})
    observer = LoggingObserver()
    observer.activation_failed(ActivationFailed("shelf", odd("no"), 1.0))

    [record] = records()
    for text in (record.getMessage(), str(vars(record)["error"])):
        assert "Odd\\n\\x1b[2Jxxx" in text
        assert text.isprintable()
        assert len(text) < 400


@pytest.mark.parametrize("level", ["LOUD", 1.5, True, b"INFO", 0, -5, "NOTSET"])
def test_an_invalid_logging_level_is_refused(level: Any) -> None:
    """``LoggingObserver`` raises ``ValueError`` when it is made, and not when it logs."""
    with pytest.raises(ValueError, match=r"retry (is not a|must be a) logging level"):
        LoggingObserver(retry=level)


def test_an_error_in_a_response_with_status_200_is_logged_as_a_failure(records: Records) -> None:
    """The text of the error is the plugin's, so the message has it escaped and shortened."""
    replies = {"VolumeDriver.Get": {"Err": "no\nsuch " + "x" * 5000}}
    settings = Settings(transports={"unix": MemoryTransport(replies).connect})
    client = new_client(ADDR, settings=settings, observers=[LoggingObserver()])
    with client, pytest.raises(DriverError):
        VolumeDriver(client).get("books")

    failed = next(each for each in records() if vars(each)["event"] == "driver_failed")
    assert (failed.levelno, vars(failed)["error"]) == (logging.WARNING, "DriverError")
    assert "\n" not in failed.getMessage()
    assert len(failed.getMessage()) < 1000


def test_activated_dropped_and_missing_plugins_are_logged(records: Records) -> None:
    """So is a handler that failed for an activated plugin."""

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
    """A plugin that refuses to remove a volume."""

    def list(self) -> list[Volume]:
        return []

    def remove(self, name: str) -> None:
        raise StatusError(409, "VolumeDriver.Remove", f"{name} is in use")


def test_served_requests_are_logged(records: Records) -> None:
    """If the plugin raised an exception, the record of the request has it."""
    app = PluginApp(Shelf(), observers=[LoggingObserver()])
    app(Request("VolumeDriver.List", b"{}"))
    app(Request("VolumeDriver.Remove", b'{"Name":"books"}'))

    well, refusal = records()
    assert (well.name, well.levelno) == ("moby_plugins.requests", logging.INFO)
    assert (refusal.levelno, vars(refusal)["status"]) == (logging.WARNING, 409)
    assert "StatusError: VolumeDriver.Remove: books is in use" in refusal.getMessage()
    assert vars(well)["received_bytes"] == 2


def test_a_request_whose_host_hung_up_is_logged_as_a_failure(records: Records) -> None:
    """This holds whatever the plugin responded, even with status 200."""
    end = LoggingObserver().request_started(RequestStarted("M.x", "M.x"))
    end(RequestEnded(RequestStarted("M.x", "M.x"), 1.5, 200, hung_up=True))

    [record] = records()
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "M.x: 200, 0 bytes in 1.5 s, and the host hung up"


def test_foreign_names_are_logged_without_line_breaks_and_passwords(records: Records) -> None:
    """A host, a plugin or a caller may have chosen the name."""
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
def test_nothing_is_logged_below_the_level_of_the_logger(records: Records) -> None:
    """The message is made only for a level that is enabled."""
    with pytest.raises(TransportError):
        call({"M.x": refused()}, "M.x", LoggingObserver())
    with pytest.raises(StatusError):
        call({"M.x": status(500)}, "M.x", LoggingObserver())

    assert records() == []
