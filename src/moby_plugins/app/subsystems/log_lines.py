"""Whole lines of pieces: what an engine cuts at 16 KiB is joined again (protocol.md B6).

The pieces of a line have its id and count from 1, and the last one says so. Engines before 18.06
mark pieces as partial and no more: they are joined by their source, up to one that is not partial.
"""

from collections.abc import Iterable, Iterator

from attrs import define, evolve, field

from moby_plugins.app.subsystems.log import LogEntry

# What is kept of one line, and of how many at once, while their last pieces have not come.
MAX_LINE_BYTES = 1 << 20
MAX_OPEN_LINES = 64
# What a piece takes beside its bytes.
_OVERHEAD = 64


@define
class _Line:
    """A line of which pieces came; ``given`` is how many of them were yielded already."""

    first: LogEntry
    pieces: dict[int, bytes] = field(factory=dict)
    size: int = 0
    given: int = 0
    count: int | None = None

    def add(self, entry: LogEntry) -> None:
        piece = entry.partial_log_metadata
        number = piece.ordinal if piece is not None else 0
        if number < 1 or number in self.pieces:
            number = max(self.pieces, default=self.given) + 1
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
        return self.count is not None and len(self.pieces) + self.given >= self.count

    def take(self) -> LogEntry:
        """The pieces so far as one entry; partial, where the last was not among them."""
        line = b"".join(piece for _, piece in sorted(self.pieces.items()))
        self.given += len(self.pieces)
        self.pieces, self.size = {}, 0
        return evolve(self.first, line=line, partial=not self.ended, partial_log_metadata=None)


def whole_lines(
    entries: Iterable[LogEntry],
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
    max_open_lines: int = MAX_OPEN_LINES,
) -> Iterator[LogEntry]:
    """Yield the entries with the pieces of long lines put together, in their order.

    A joined line has the time, source and attributes of its first piece, and no
    ``partial_log_metadata``. What comes between its pieces comes before it. A line that grows
    to ``max_line_bytes`` is given in parts, each ``partial`` but the last; where more than
    ``max_open_lines`` are begun, the oldest is given as far as it came. What is not finished
    at the end is given then. A line whose first pieces are missing, because the reader began
    in the middle of it, is given once its source begins another.
    """
    begun: dict[tuple[str, str], _Line] = {}
    for entry in entries:
        piece = entry.partial_log_metadata
        key = (entry.source, piece.id if piece is not None else "")
        # A source writes one line after another: of one that has ended no piece is to come.
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
