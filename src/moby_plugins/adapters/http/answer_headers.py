"""An answer's headers, which most callers never look at."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property


class AnswerHeaders(Mapping[str, str]):
    """The headers in ``lines``, read from there when they are first looked at.

    Names are title-cased, each is there once, and the values of one that came
    again are joined by commas. For one thread at a time.
    """

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._lines = lines

    @cached_property
    def _fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for name, value in self._lines:
            key = name.title()
            fields[key] = f"{fields[key]}, {value}" if key in fields else value
        return fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.title()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)
