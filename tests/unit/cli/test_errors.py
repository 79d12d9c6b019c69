"""How an error decides the exit status; ``docs/cli.md`` lists the same."""

from pathlib import Path

from moby_plugins import (
    DriverError,
    InvalidPluginNameError,
    NotImplementedByPluginError,
    PluginDisabledError,
    PluginError,
    PluginNotFoundError,
    SettingsError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WaitCancelledError,
    WireError,
)
from moby_plugins.cli import errors
from moby_plugins.cli.errors import error_as_json, exit_code, in_brief
from moby_plugins.domain.errors import RecordingError
from tests.cases import every

ERRORS: list[tuple[BaseException, int]] = [
    (PluginNotFoundError("a"), 3),
    (PluginDisabledError("a:latest"), 5),
    (NotImplementedByPluginError("a", "X"), 4),
    (TransportError("refused"), 5),
    (TransportTimeoutError("timed out"), 6),
    (StatusError(500, "A.B", "no"), 7),
    (DriverError("A.B", "no"), 7),
    (WireError("no JSON"), 8),
    (SpecError("bad"), 9),
    (SettingsError("bad"), 9),
    (InvalidPluginNameError(".."), 9),
    (RecordingError("bad", "/a.jsonl"), 9),
    (PluginError(), 1),
    (WaitCancelledError("the wait was cancelled"), 130),
    (KeyboardInterrupt(), 130),
]


@every(("error", "status"), ERRORS)
def test_the_class_of_an_error_decides_the_exit_status(error: BaseException, status: int) -> None:
    """Each class of error has one exit status; the most specific class decides."""
    assert exit_code(error) == status


def test_every_class_of_error_has_an_expected_exit_status() -> None:
    """A new subclass of ``PluginError`` must be given an exit status in the table of this file."""
    assert {type(error) for error, _ in ERRORS} == {
        PluginError,
        KeyboardInterrupt,
        *subclasses(PluginError),
    }


def subclasses(kind: type[BaseException]) -> set[type[BaseException]]:
    """All of them that are this library's, at any depth."""
    found: set[type[BaseException]] = set()
    for sub in kind.__subclasses__():
        found |= {sub, *subclasses(sub)}
    return {sub for sub in found if sub.__module__ == "moby_plugins"}


def test_each_exit_status_is_documented() -> None:
    """The table in docs/cli.md has all exit statuses, and no other."""
    page = Path(__file__).parents[3] / "docs" / "cli.md"
    cells = [
        line.split("|")[1].strip()
        for line in page.read_text("utf-8").splitlines()
        if line.startswith("| ")
    ]
    codes = [value for name, value in vars(errors).items() if name.isupper()]

    documented = [int(cell) for cell in cells if cell.isdigit()]
    assert documented == sorted(code for code in codes if isinstance(code, int))


@every(
    ("error", "brief"),
    [
        (TransportError("refused", "tcp://h:1", "a"), "refused"),
        (SpecError("bad", "/a.spec"), "bad"),
        (WireError("no JSON", "A.B", "tcp://h:1", "a"), "A.B: no JSON"),
        (PluginNotFoundError("a", ["/a.sock"]), "not found"),
        (StatusError(500, "A.B", "no"), "A.B: no"),
    ],
)
def test_an_error_in_brief_leaves_out_the_plugin_its_address_and_the_attempts(
    error: PluginError, brief: str
) -> None:
    """A table shows these in other columns; as JSON, an error has its complete message."""
    assert in_brief(error) == brief
    status = {"status": error.status} if isinstance(error, StatusError) else {}
    told = {"kind": type(error).__name__, "message": str(error)}
    assert error_as_json(error) == told | status
