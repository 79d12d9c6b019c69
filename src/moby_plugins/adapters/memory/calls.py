"""The calls that a test's plugin received: a sequence with queries and assertions.

``differences`` describes how arguments differ from those expected, in short lines.
"""

import json
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, overload

from attrs import field, frozen

from moby_plugins.domain.json import first_value
from moby_plugins.domain.typed import typed

# The most characters of a value, and the most lines of one kind, that are shown.
WIDTH = 120
MOST = 10

# The most calls that are kept; then the oldest are dropped.
REMEMBERED = 100_000


def shown(value: Any, width: int = WIDTH) -> str:
    """Return ``value`` on one line, as JSON if possible; of a long text, ``width`` characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    if len(text) <= width:
        return text
    half = width // 2
    return f"{text[:half]} … {text[-half:]} ({len(text)} characters)"


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """Yield a line for each place where ``actual`` differs from ``expected``.

    A line begins with ``path``, followed by the keys and indices that lead to the place.
    Lists and tuples are equal, as in JSON. All values but lists and mappings are compared by
    ``==``, so an ``expected`` value may define its own comparison.
    """
    parts, others = _parts(expected), _parts(actual)
    if (
        parts is None
        or others is None
        or isinstance(expected, Mapping) != isinstance(actual, Mapping)
    ):
        if not expected == actual:  # noqa: SIM201  an expected value may define == alone
            yield f"{path or 'all'}: expected {shown(expected)}, got {shown(actual)}"
        return
    for key, part in parts.items():
        place = f"{path}[{key!r}]"
        if key in others:
            yield from differences(part, others[key], place)
        else:
            yield f"{place}: missing, expected {shown(part)}"
    for key in others:
        if key not in parts:
            yield f"{path}[{key!r}]: not expected, got {shown(others[key])}"


def listed(lines: Iterator[str]) -> Iterator[str]:
    """Yield the first few of ``lines``, indented, and a line that says how many more there are."""
    yield from (f"  {line}" for line in islice(lines, MOST))
    more = sum(1 for _ in lines)
    if more:
        yield f"  … and {more} more"


def _parts(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    return dict(enumerate(value)) if isinstance(value, (list, tuple)) else None


@frozen(field_transformer=typed)
class Call:
    """One attempt of a call as the plugin received it. A frozen value.

    Args:
        method: The method that was called.
        body: The body of the request.
        attempt: The number of the attempt, from 1.
        time: When the plugin received it, in seconds of the transport's clock.
        address: The address that was called.
    """

    method: str
    body: bytes = field(repr=shown)
    attempt: int
    time: float
    address: str

    @property
    def arguments(self) -> Any:
        """The body as plain JSON; ``None`` if empty; raises ``ValueError`` if it is not JSON."""
        return first_value(self.body) if self.body else None

    def differences(self, expected: Any) -> Iterator[str]:
        """Yield the differences between the arguments and those expected.

        Args:
            expected: Plain JSON, or bytes for the whole body; ``...`` matches any.

        Yields:
            A line for each place where they differ.
        """
        if expected is ...:
            return
        try:
            actual = self.body if isinstance(expected, bytes) else self.arguments
        except ValueError:
            actual = self.body
        yield from differences(expected, actual)

    def __str__(self) -> str:
        try:
            arguments = shown(self.arguments)
        except ValueError:
            arguments = shown(self.body)
        return f"t = {self.time:g}, attempt {self.attempt}: {self.method} {arguments}"


class Calls(Sequence[Call]):
    """A sequence of the received calls, in order; each attempt is a call. Threads may share it.

    A slice, and ``of(method)``, is a ``Calls`` of the calls made so far. Only the last 100,000
    calls are kept.

    Args:
        calls: The initial calls.
        forgotten: How many calls there were before them.

    Examples:
        ```python
        from moby_plugins import Request
        from moby_plugins.testing import MemoryTransport

        shelf = MemoryTransport({"VolumeDriver.Create": {}})
        shelf.send(Request("VolumeDriver.Create", b'{"Name": "books"}'), None)
        assert shelf.calls.methods == ["VolumeDriver.Create"]
        assert shelf.calls.of("VolumeDriver.Create").arguments == [{"Name": "books"}]
        shelf.calls.assert_called("VolumeDriver.Create", {"Name": "books"}, times=1)
        shelf.calls.assert_not_called("VolumeDriver.Remove")
        ```
    """

    def __init__(self, calls: Iterable[Call] = (), *, forgotten: int = 0) -> None:
        self._calls = deque(calls, REMEMBERED)
        self._forgotten = forgotten
        self._lock = threading.Lock()

    def record(self, call: Call) -> None:
        """Add a call; for implementations of a test's plugin.

        Args:
            call: The call.
        """
        with self._lock:
            self._forgotten += len(self._calls) == REMEMBERED
            self._calls.append(call)

    @property
    def forgotten(self) -> int:
        """The number of calls that were dropped, before the first one kept."""
        return self._forgotten

    def of(self, method: str) -> "Calls":
        """Return the calls of one method so far.

        Args:
            method: The method's name. It matches calls with any query (``NAME?id=1``); a name with
                a query matches only calls with the same query.

        Returns:
            The calls.
        """
        return self._those(
            call for call in self._now() if method in {call.method, call.method.partition("?")[0]}
        )

    @property
    def methods(self) -> list[str]:
        """The method of each call."""
        return [call.method for call in self._now()]

    @property
    def arguments(self) -> list[Any]:
        """The arguments of each call as plain JSON; raises ``ValueError`` if one is not JSON."""
        return [call.arguments for call in self._now()]

    @property
    def attempts(self) -> list[int]:
        """The number of the attempt of each call, from 1."""
        return [call.attempt for call in self._now()]

    @property
    def times(self) -> list[float]:
        """When the plugin received each call, in seconds of the transport's clock."""
        return [call.time for call in self._now()]

    def assert_called(self, method: str, arguments: Any = ..., *, times: int | None = None) -> None:
        """Raise ``AssertionError`` unless a method was called with these arguments.

        Args:
            method: The method's name.
            arguments: Plain JSON, or bytes for the whole body; ``...`` matches any.
            times: The exact number of calls, counting each attempt; without it, one or more.

        Raises:
            AssertionError: If there was no such call, or another number of them. The message shows
                the most similar call and the differences.
        """
        __tracebackhide__ = True
        calls = self.of(method)
        matches = [call for call in calls if _agrees(call, arguments)]
        if times is None and matches:
            return
        if times is None or len(matches) != times:
            raise AssertionError("\n".join(self._missed(method, arguments, matches, times)))
        self._assert_all_remembered(f"whether {method} was called {_times(times)}")

    def assert_not_called(self, method: str, arguments: Any = ...) -> None:
        """Raise ``AssertionError`` if a method was called with these arguments.

        Args:
            method: The method's name.
            arguments: Plain JSON, or bytes for the whole body; ``...`` matches any.

        Raises:
            AssertionError: If there was such a call. The message shows each.
        """
        __tracebackhide__ = True
        matches = [call for call in self.of(method) if _agrees(call, arguments)]
        if matches:
            heading = f"{_named(method, arguments)} was called {_times(len(matches))}:"
            raise AssertionError("\n".join([heading, *listed(map(str, matches))]))
        self._assert_all_remembered(f"whether {method} was not called")

    def _missed(
        self, method: str, arguments: Any, matches: list[Call], times: int | None
    ) -> Iterator[str]:
        expected = "" if times is None else f"expected {_times(times)}, "
        was = f"was called {_times(len(matches))}" if matches else "was not called"
        yield f"{_named(method, arguments)}: {expected}{was}"
        yield from listed(map(str, matches))
        others = [call for call in self.of(method) if call not in matches]
        if others:
            nearest = min(others, key=lambda call: sum(1 for _ in call.differences(arguments)))
            yield f"called with other arguments {_times(len(others))}; the nearest:"
            yield f"  {nearest}"
            yield from listed(f"  {line}" for line in nearest.differences(arguments))
        elif not matches:
            counts = Counter(self.methods).items()
            counted = ", ".join(f"{name} {_times(count)}" for name, count in counts)
            yield f"called: {counted or 'nothing'}"

    def _assert_all_remembered(self, what: str) -> None:
        __tracebackhide__ = True
        if self._forgotten:
            raise AssertionError(
                f"it is unknown {what}: the first {self._forgotten} calls were not kept"
            )

    def _now(self) -> list[Call]:
        with self._lock:
            return list(self._calls)

    def _those(self, calls: Iterable[Call]) -> "Calls":
        return Calls(calls, forgotten=self._forgotten)

    @overload
    def __getitem__(self, index: int) -> Call: ...

    @overload
    def __getitem__(self, index: slice) -> "Calls": ...

    def __getitem__(self, index: int | slice) -> "Call | Calls":
        calls = self._now()
        return self._those(calls[index]) if isinstance(index, slice) else calls[index]

    def __iter__(self) -> Iterator[Call]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._calls)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return self._now() == list(other)

    __hash__: None = None  # type: ignore[assignment]  # it is mutable

    def __repr__(self) -> str:
        return repr(self._now())


def _agrees(call: Call, arguments: Any) -> bool:
    return next(call.differences(arguments), None) is None


def _named(method: str, arguments: Any) -> str:
    return method if arguments is ... else f"{method} {shown(arguments)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
