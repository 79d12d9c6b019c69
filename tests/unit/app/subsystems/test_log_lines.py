"""``whole_lines`` joins the pieces of long log lines, in bounded memory."""

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


def test_an_entry_of_a_whole_line_is_returned_unchanged() -> None:
    """An entry that is not partial passes through; no entries give no lines."""
    assert list(whole_lines([WHOLE, WHOLE])) == [WHOLE, WHOLE]
    assert list(whole_lines([])) == []


@every("order", list(permutations([1, 2, 3])))
def test_the_pieces_of_a_line_are_joined_in_the_order_of_their_ordinals(
    order: tuple[int, ...],
) -> None:
    """The order of arrival does not matter; the joined entry is not partial."""
    joined = list(whole_lines([piece(number) for number in order]))

    assert joined == [LogEntry("stdout", 7, b"a1a2a3")]


def test_interleaved_pieces_of_two_lines_are_joined_separately() -> None:
    """Pieces belong to the same line if they have the same source and the same id."""
    entries = (
        piece(1),
        piece(1, source="stderr", line="b", of=2),
        piece(2),
        WHOLE,
        piece(2, source="stderr", line="b", of=2),
        piece(3),
    )

    assert lines(*entries) == [(b"short", False), (b"b1b2", False), (b"a1a2a3", False)]


def test_pieces_without_metadata_are_joined_up_to_one_that_is_not_partial() -> None:
    """Older engines wrote pieces without an id and an ordinal."""
    part = LogEntry("stdout", 1, b"x", True)

    assert lines(part, part, evolve(part, partial=False), WHOLE) == [
        (b"xxx", False),
        (b"short", False),
    ]


def test_the_time_to_join_a_line_does_not_grow_with_the_square_of_its_pieces() -> None:
    """A line may arrive in as many pieces as it has bytes."""
    times = []
    for count in (1_000, 8_000):
        pieces = [LogEntry("stdout", 1, b"a", partial=True)] * count
        began = time.process_time()
        assert lines(*pieces) == [(b"a" * count, True)]
        times.append(time.process_time() - began)
    assert times[1] < max(20 * times[0], 0.1)


def test_a_line_that_is_incomplete_when_the_entries_end_is_returned_as_partial() -> None:
    """The pieces of the line that have arrived are joined."""
    assert lines(piece(1), piece(2)) == [(b"a1a2", True)]


def test_a_line_without_its_first_piece_is_returned_when_the_next_line_begins() -> None:
    """A line whose beginning is missing is not kept until the entries end."""
    assert lines(piece(2), piece(3), WHOLE, piece(1)) == [
        (b"a2a3", False),
        (b"short", False),
        (b"a1", True),
    ]


def test_a_line_longer_than_the_limit_is_returned_in_parts() -> None:
    """All parts but the last one are partial."""
    entries = [piece(number, of=5) for number in (1, 2, 3, 4, 5)]

    given = lines(*entries, max_line_bytes=128)

    assert given == [(b"a1a2", True), (b"a3a4", True), (b"a5", False)]


def test_only_a_limited_number_of_incomplete_lines_is_kept() -> None:
    """Beyond the limit, the oldest is returned as it is; pieces without bytes count, too."""
    begun = [piece(1, line=f"{number:06}") for number in range(1000)]
    stream = whole_lines(iter(begun), max_open_lines=3)

    assert next(stream).line == b"0000001"
    assert len(list(stream)) == 999

    empty = (
        LogEntry("stdout", 7, b"", True, PartialLog(False, "a", number))
        for number in range(1, 6_251)
    )
    assert len(list(whole_lines(empty, max_line_bytes=64 << 10))) >= 6
