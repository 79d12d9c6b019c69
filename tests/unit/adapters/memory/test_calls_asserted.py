"""Assertions about calls; a failure shows the nearest call, and where it differs."""

from collections.abc import Callable

import pytest

from moby_plugins.testing import Call, Calls

CREATE, MOUNT = "VolumeDriver.Create", "VolumeDriver.Mount"


class Anything:
    """Equal to whatever it is compared with."""

    def __eq__(self, _: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def calls() -> Calls:
    """A volume made, and another mounted at the second attempt."""
    return Calls(
        [
            Call(CREATE, b'{"Name": "book", "Opts": {"size": "1G"}}', 1, 0.0, "memory://p"),
            Call(MOUNT, b'{"Name": "books"}', 1, 0.0, "memory://p"),
            Call(MOUNT, b'{"Name": "books"}', 2, 1.0, "memory://p"),
            Call("M.raw", b"\xff\x00", 1, 1.0, "memory://p"),
        ]
    )


def said(complain: Callable[[], None]) -> list[str]:
    """The lines of the failure."""
    with pytest.raises(AssertionError) as caught:
        complain()
    return str(caught.value).splitlines()


def test_assert_called_passes_for_a_call_that_was_made(calls: Calls) -> None:
    """It compares the method, arguments and number of calls; each attempt is a call."""
    calls.assert_called(CREATE)
    calls.assert_called(CREATE, {"Opts": {"size": "1G"}, "Name": "book"})
    calls.assert_called(MOUNT, {"Name": "books"}, times=2)
    calls.assert_called(MOUNT, times=2)
    calls.assert_called("VolumeDriver.List", times=0)


def test_assert_not_called_passes_for_a_call_that_was_not_made(calls: Calls) -> None:
    """The method was not called, or not with these arguments."""
    calls.assert_not_called("VolumeDriver.List")
    calls.assert_not_called(CREATE, {"Name": "books"})


def test_a_matcher_may_stand_anywhere_in_the_expected_arguments(calls: Calls) -> None:
    """A matcher is an object whose ``__eq__`` decides what it equals."""
    calls.assert_called(CREATE, {"Name": "book", "Opts": Anything()})
    calls.assert_called(CREATE, Anything())


def test_expected_bytes_are_compared_with_the_body(calls: Calls) -> None:
    """They serve for bodies that are not JSON, and for JSON that must be the same to the letter."""
    calls.assert_called("M.raw", b"\xff\x00")
    calls.assert_called(MOUNT, b'{"Name": "books"}')
    calls.assert_not_called(MOUNT, b'{"Name":"books"}')


def test_the_failure_for_a_method_that_was_not_called_lists_those_called(calls: Calls) -> None:
    """So a misspelt method is seen at once."""
    assert said(lambda: calls.assert_called("VolumeDriver.create")) == [
        "VolumeDriver.create: was not called",
        f"called: {CREATE} once, {MOUNT} 2 times, M.raw once",
    ]
    assert said(lambda: Calls().assert_called("M.x"))[1:] == ["called: nothing"]


def test_the_failure_for_other_arguments_shows_the_nearest_call(calls: Calls) -> None:
    """Each difference has a line, and what is equal has none."""
    calls.record(Call(CREATE, b'{"Name": "journals", "Opts": null}', 1, 2.0, "memory://p"))
    expected = {"Name": "books", "Opts": {"size": "1G", "mode": 7}}

    assert said(lambda: calls.assert_called(CREATE, expected)) == [
        CREATE + ' {"Name": "books", "Opts": {"size": "1G", "mode": 7}}: was not called',
        "called with other arguments 2 times; the nearest:",
        f'  t = 0, attempt 1: {CREATE} {{"Name": "book", "Opts": {{"size": "1G"}}}}',
        '    [\'Name\']: expected "books", got "book"',
        "    ['Opts']['mode']: missing, expected 7",
    ]


def test_the_failure_for_too_many_calls_lists_them_with_time_and_attempt(calls: Calls) -> None:
    """So a retry can be distinguished from a second call."""
    assert said(lambda: calls.assert_called(MOUNT, times=1)) == [
        f"{MOUNT}: expected once, was called 2 times",
        f'  t = 0, attempt 1: {MOUNT} {{"Name": "books"}}',
        f'  t = 1, attempt 2: {MOUNT} {{"Name": "books"}}',
    ]


def test_the_failure_for_too_few_calls_shows_the_nearest_other_call(calls: Calls) -> None:
    """The missing call may be the one that was made with other arguments."""
    calls.record(Call(MOUNT, b'{"Name": "boks"}', 1, 2.0, "memory://p"))

    assert said(lambda: calls.assert_called(MOUNT, {"Name": "books"}, times=3))[3:] == [
        "called with other arguments once; the nearest:",
        f'  t = 2, attempt 1: {MOUNT} {{"Name": "boks"}}',
        '    [\'Name\']: expected "books", got "boks"',
    ]


def test_the_failure_of_assert_not_called_lists_the_calls_that_were_made(calls: Calls) -> None:
    """Each has its time and arguments, or its body if that is not JSON."""
    assert said(lambda: calls.assert_not_called("M.raw")) == [
        "M.raw was called once:",
        "  t = 1, attempt 1: M.raw b'\\xff\\x00'",
    ]
    assert said(lambda: calls.assert_not_called(MOUNT, {"Name": "books"}))[0] == (
        f'{MOUNT} {{"Name": "books"}} was called 2 times:'
    )


def test_a_body_that_is_not_json_is_shown_as_bytes(calls: Calls) -> None:
    """Comparing it with arguments gives a difference, and no other error."""
    assert said(lambda: calls.assert_called("M.raw", {"a": 1}))[-1] == (
        "    all: expected {\"a\": 1}, got b'\\xff\\x00'"
    )


def test_a_long_report_is_cut() -> None:
    """Neither many calls, nor many differences, nor long values fill the screen."""
    many = Calls([Call("M.x", b"1", 1, 0.0, "memory://p")] * 1000)
    long = Calls([Call("M.x", b'"%s"' % (b"x" * 5000), 1, 0.0, "memory://p")])
    wide = Calls([Call("M.x", b"[]", 1, 0.0, "memory://p")])

    assert said(lambda: many.assert_not_called("M.x"))[-2:] == [
        "  t = 0, attempt 1: M.x 1",
        "  … and 990 more",
    ]
    assert said(lambda: wide.assert_called("M.x", list(range(50))))[-1] == "  … and 40 more"
    assert len("\n".join(said(lambda: long.assert_called("M.x", "y" * 5000)))) < 1000
