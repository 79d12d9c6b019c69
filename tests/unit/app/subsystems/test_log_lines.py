"""The pieces of long lines are put together, in bounded memory."""

import time
from itertools import permutations

from attrs import evolve

from moby_plugins.subsystems import LogEntry, PartialLog, whole_lines
from tests.cases import every

WHOLE = LogEntry("stdout", 1, b"short")


def piece(number: int, *, of: int = 3, line: str = "a", source: str = "stdout") -> LogEntry:
    """A piece of a line, as an engine writes it."""
    metadata = PartialLog(number == of, line, number)
    return LogEntry(source, 7, f"{line}{number}".encode(), True, metadata)


def lines(*entries: LogEntry, **bounds: int) -> list[tuple[bytes, bool]]:
    """What comes of these entries: each line, and whether it is partial."""
    return [(entry.line, entry.partial) for entry in whole_lines(entries, **bounds)]


def test_a_whole_line_passes_as_it_is() -> None:
    """The very entry."""
    assert list(whole_lines([WHOLE, WHOLE])) == [WHOLE, WHOLE]
    assert list(whole_lines([])) == []


@every("order", list(permutations([1, 2, 3])))
def test_pieces_are_joined_by_their_ordinals(order: tuple[int, ...]) -> None:
    """In whichever order they come; time and source are the line's, and nothing is partial."""
    joined = list(whole_lines([piece(number) for number in order]))

    assert joined == [LogEntry("stdout", 7, b"a1a2a3")]


def test_lines_of_two_sources_and_ids_are_told_apart() -> None:
    """Pieces that come between each other belong to their own line."""
    entries = (
        piece(1),
        piece(1, source="stderr", line="b", of=2),
        piece(2),
        WHOLE,
        piece(2, source="stderr", line="b", of=2),
        piece(3),
    )

    assert lines(*entries) == [(b"short", False), (b"b1b2", False), (b"a1a2a3", False)]


def test_pieces_without_metadata_end_with_one_that_is_not_partial() -> None:
    """As engines wrote them once."""
    part = LogEntry("stdout", 1, b"x", True)

    assert lines(part, part, evolve(part, partial=False), WHOLE) == [
        (b"xxx", False),
        (b"short", False),
    ]


def test_the_time_grows_with_the_pieces() -> None:
    """A host may send a line of a megabyte byte by byte."""
    times = []
    for count in (1_000, 8_000):
        pieces = [LogEntry("stdout", 1, b"a", partial=True)] * count
        began = time.process_time()
        assert lines(*pieces) == [(b"a" * count, True)]
        times.append(time.process_time() - began)
    assert times[1] < max(20 * times[0], 0.1)


def test_what_is_not_finished_at_the_end_is_given_then() -> None:
    """And says that it is partial."""
    assert lines(piece(1), piece(2)) == [(b"a1a2", True)]


def test_a_line_whose_beginning_was_missed_is_given_with_the_next() -> None:
    """It does not wait for the end of the stream."""
    assert lines(piece(2), piece(3), WHOLE, piece(1)) == [
        (b"a2a3", False),
        (b"short", False),
        (b"a1", True),
    ]


def test_a_line_that_is_too_long_is_given_in_parts() -> None:
    """Each as soon as it is full, the last is not partial."""
    entries = [piece(number, of=5) for number in (1, 2, 3, 4, 5)]

    given = lines(*entries, max_line_bytes=128)

    assert given == [(b"a1a2", True), (b"a3a4", True), (b"a5", False)]


def test_lines_that_are_begun_and_never_ended_are_given_up() -> None:
    """The oldest first, so that only so many are kept; pieces without bytes count too."""
    begun = [piece(1, line=f"{number:06}") for number in range(1000)]
    stream = whole_lines(iter(begun), max_open_lines=3)

    assert next(stream).line == b"0000001"
    assert len(list(stream)) == 999

    empty = (
        LogEntry("stdout", 7, b"", True, PartialLog(False, "a", number))
        for number in range(1, 6_251)
    )
    assert len(list(whole_lines(empty, max_line_bytes=64 << 10))) >= 6
