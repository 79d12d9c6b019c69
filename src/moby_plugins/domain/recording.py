"""Recorded calls: what a host asked of a plugin, and what it was answered."""

from collections.abc import Iterable

from attrs import evolve, field, frozen, validators

from moby_plugins.domain.exchange import check_method
from moby_plugins.domain.masking import mask_body


def _pieces(given: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(given)


@frozen
class RecordedBody:
    """A body, in the ``pieces`` in which it came; ``omitted`` bytes of its end were not kept."""

    pieces: tuple[bytes, ...] = field(default=(), converter=_pieces)
    omitted: int = field(default=0, validator=validators.ge(0))

    @property
    def data(self) -> bytes:
        """All that was kept."""
        return b"".join(self.pieces)

    @property
    def size(self) -> int:
        """How many bytes it had."""
        return sum(map(len, self.pieces)) + self.omitted


@frozen
class RecordedCall:
    """One call; ``at`` is when it came, and ``took`` how long it was: seconds of one clock.

    ``status`` is 0 where no answer came. ``broken`` says how the plugin failed
    to give a whole answer, and is "" where it gave one. ``host_left`` tells that the
    host did not wait for the end, or broke its own request off.
    """

    method: str = field(converter=check_method)
    request: RecordedBody = field(factory=RecordedBody)
    status: int = 0
    answer: RecordedBody = field(factory=RecordedBody)
    broken: str = ""
    host_left: bool = False
    at: float = 0.0
    took: float = 0.0


def _in_order(calls: Iterable[RecordedCall]) -> tuple[RecordedCall, ...]:
    return tuple(sorted(calls, key=lambda call: call.at))


@frozen
class Recording:
    """The calls of one plugin, in the order in which they came; ``masked`` if secrets are."""

    calls: tuple[RecordedCall, ...] = field(default=(), converter=_in_order)
    plugin: str = ""
    masked: bool = True

    @property
    def methods(self) -> list[str]:
        """The method of each call."""
        return [call.method for call in self.calls]


def masked_call(call: RecordedCall) -> RecordedCall:
    """The same call without the secrets in its bodies; one that holds any is in one piece then."""
    return evolve(
        call,
        request=_masked_body(call.method, call.request),
        answer=_masked_body(call.method, call.answer),
    )


def _masked_body(method: str, body: RecordedBody) -> RecordedBody:
    masked = mask_body(method, body.data)
    return body if masked == body.data else RecordedBody((masked,), body.omitted)
