"""Joining of log lines that an engine has split into pieces of 16 KiB (protocol.md B6).

Each piece has the id of its line and a number, from 1; the last piece is marked. Engines before
18.06 only mark pieces as partial: such pieces are joined by their source, up to an entry that is
not partial.
"""

from collections.abc import Iterable, Iterator

from attrs import define, evolve, field

from moby_plugins.app.subsystems.log import LogEntry

# The most bytes of one line, and the most lines, that are kept until their last piece arrives.
MAX_LINE_BYTES = 1 << 20
MAX_OPEN_LINES = 64
# The memory that a piece takes besides its bytes, roughly.
_OVERHEAD = 64


@define
class _Line:
    """An incomplete line; ``yielded`` is the number of its pieces that were already yielded."""

    first: LogEntry
    pieces: dict[int, bytes] = field(factory=dict)
    size: int = 0
    yielded: int = 0
    # The highest number of a piece, of those that were yielded too.
    last: int = 0
    count: int | None = None

    def add(self, entry: LogEntry) -> None:
        piece = entry.partial_log_metadata
        number = piece.ordinal if piece is not None else 0
        if number < 1 or number in self.pieces:
            number = self.last + 1
        self.last = max(self.last, number)
        self.pieces[number] = entry.line
        self.size += len(entry.line)
        if not entry.partial or (piece is not None and piece.last):
            self.count = number

    def is_full(self, limit: int) -> bool:
        return max(self.size, len(self.pieces) * _OVERHEAD) >= limit

    @property
    def ended(self) -> bool:
        return self.count is not None

    @property
    def whole(self) -> bool:
        return self.count is not None and len(self.pieces) + self.yielded >= self.count

    def take(self) -> LogEntry:
        """Remove the pieces so far; return them as one entry, partial if the last is missing."""
        line = b"".join(piece for _, piece in sorted(self.pieces.items()))
        self.yielded += len(self.pieces)
        self.pieces, self.size = {}, 0
        return evolve(self.first, line=line, partial=not self.ended, partial_log_metadata=None)


def whole_lines(
    entries: Iterable[LogEntry],
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
    max_open_lines: int = MAX_OPEN_LINES,
) -> Iterator[LogEntry]:
    """Yield the entries, with the pieces of each long line joined in order.

    A joined line has the time, source and attributes of its first piece, and no
    ``partial_log_metadata``. Entries between its pieces are yielded before it. A line that grows to
    ``max_line_bytes`` is yielded in parts, each of them ``partial`` except the last. If more than
    ``max_open_lines`` lines are incomplete, the oldest is yielded as it is. Lines that are
    incomplete when ``entries`` ends are yielded then. A line whose first pieces are missing,
    because the reader began in the middle of it, is yielded once its source begins another line.
    """
    begun: dict[tuple[str, str], _Line] = {}
    for entry in entries:
        piece = entry.partial_log_metadata
        key = (entry.source, piece.id if piece is not None else "")
        # A source writes its lines one after the other, so an ended line gets no further pieces.
        for other in [k for k, line in begun.items() if k[0] == key[0] and line.ended and k != key]:
            yield begun.pop(other).take()
        if not entry.partial and key not in begun:
            yield entry
            continue
        line = begun.setdefault(key, _Line(entry))
        line.add(entry)
        if line.whole:
            yield begun.pop(key).take()
        elif line.is_full(max_line_bytes):
            yield line.take()
        if len(begun) > max_open_lines and (oldest := begun.pop(next(iter(begun)))).pieces:
            yield oldest.take()
    for line in begun.values():
        if line.pieces:
            yield line.take()
