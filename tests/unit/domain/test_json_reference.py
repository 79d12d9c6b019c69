"""JSON has the value that a slow decoder, which follows the grammar by character, gives it."""

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from moby_plugins.domain.json import first_value
from moby_plugins.domain.json_pieces import in_pieces
from tests.cases import every

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_SIMPLE = dict(zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True))
_LITERALS = {"null": None, "true": True, "false": False}
PARTS = [
    *("[", "]", "{", "}", ",", ":", '"', '"a"', '"a":', '"\\ud83d":', '"\\udc00\\ud800":', " \n"),
    *(
        '"x,[{\\\\"',
        '"\\""',
        "0",
        "-1.5e3",
        "true",
        "null",
        "\\",
        "\\u00e9",
        "\\ud83d\\ude00",
        "é😀",
    ),
]


class Slow:
    """A slow JSON decoder, which follows the grammar character by character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def skip(self, expected: str = "") -> bool:
        """Go over white space, and over one of the characters expected."""
        while self.text[self.at : self.at + 1] in set(" \t\r\n"):
            self.at += 1
        found = bool(expected) and self.text.startswith(expected, self.at)
        self.at += len(expected) if found else 0
        return found

    def need(self, expected: str) -> None:
        """The same, and an error where there is something else."""
        if not self.skip(expected):
            raise ValueError(expected)

    def value(self) -> Any:
        """The value that comes next."""
        self.skip()
        if self.skip("["):
            items: list[Any] = []
            while not (not items and self.skip("]")):
                items.append(self.value())
                if self.skip("]"):
                    break
                self.need(",")
            return items
        if self.skip("{"):
            return self.members()
        if self.text.startswith('"', self.at):
            return self.string()
        for word, value in _LITERALS.items():
            if self.skip(word):
                return value
        number = _NUMBER.match(self.text, self.at)
        if not number:
            raise ValueError(self.at)
        self.at = number.end()
        return (int if number[0].lstrip("-").isdigit() else float)(number[0])

    def members(self) -> dict[str, Any]:
        """The members of an object, and its end."""
        members: dict[str, Any] = {}
        if self.skip("}"):
            return members
        while True:
            self.skip()
            key = self.string()
            self.need(":")
            members[key] = self.value()
            if self.skip("}"):
                return members
            self.need(",")

    def simple(self, escape: str) -> str:
        """What a short escape stands for."""
        if escape not in _SIMPLE:
            raise ValueError(self.at)
        return _SIMPLE[escape]

    def string(self) -> str:
        """The string that begins here, with U+FFFD for halves."""
        if not self.text.startswith('"', self.at):
            raise ValueError(self.at)
        self.at += 1
        units: list[str] = []
        while (char := self.text[self.at : self.at + 1]) != '"':
            if not char or char < " ":
                raise ValueError(self.at)
            escape = self.text[self.at + 1 : self.at + 2] if char == "\\" else ""
            if escape == "u":
                code = self.text[self.at + 2 : self.at + 6]
                if not re.fullmatch("[0-9a-fA-F]{4}", code):
                    raise ValueError(self.at)
                units.append(chr(int(code, 16)))
                self.at += 6
            elif escape:
                units.append(self.simple(escape))
                self.at += 2
            else:
                units.append(char)
                self.at += 1
        self.at += 1
        whole = "".join(units)
        pairs = re.sub(
            "[\ud800-\udbff][\udc00-\udfff]",
            lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"),
            whole,
        )
        return re.sub("[\ud800-\udfff]", "\ufffd", pairs)


def made(chance: random.Random, depth: int = 0) -> str:
    """Some JSON text."""
    strings = [
        '"a"',
        '"\\ud83d"',
        '"\\ud83d\\ude00"',
        '"\\udc00\\ud800,[{"',
        '"é\\\\"',
        '""',
        '"😀"',
    ]
    kind = chance.random()
    if depth > 4 or kind < 0.4:
        return chance.choice([*strings, "0", "-1.5e3", "true", "null", "12345678901234567890"])
    space = chance.choice(["", "", " ", "\n\t"])
    inner = [made(chance, depth + 1) for _ in range(chance.randint(0, 5))]
    if kind < 0.7:
        return f"[{f'{space},'.join(inner)}{space}]"
    members = [f"{chance.choice(strings)}{space}:{item}" for item in inner]
    return f"{{{f'{space},'.join(members)}{space}}}"


def outcome(read: Callable[..., Any], *given: Any) -> Any:
    """What is read, in the order of its keys; an error's class where there is one."""
    try:
        return repr(read(*given))
    except ValueError:
        return ValueError


@every("seed", range(10))
def test_each_text_is_read_as_the_grammar_says(seed: int) -> None:
    """Valid texts and randomly broken ones are decoded at once and in pieces of any size."""
    chance = random.Random(seed)  # noqa: S311  no secret
    for _ in range(30):
        text = made(chance)
        if chance.random() < 0.5:
            at = chance.randint(0, len(text))
            text = text[:at] + chance.choice(PARTS) + text[at + chance.randint(0, 2) :]
        wanted = outcome(Slow(text).value)

        assert outcome(first_value, text.encode()) == wanted, text
        for size in (1, 7, 60):
            assert outcome(in_pieces, text.encode(), size) == wanted, (text, size)


@pytest.mark.parametrize("read", [first_value, in_pieces])
@pytest.mark.parametrize(
    ("members", "value"),
    [
        (r'"\ud800":1,"\udc00":2,"\ud800":3', {"\ufffd": 3}),
        (r'"\ud800":1,"�":2', {"\ufffd": 2}),
        (r'"�":1,"\udbff":[2],"a":0', {"\ufffd": [2], "a": 0}),
        (
            r'"\ud800a":{"\udc00":1,"\ud801":"\udc00"},"b":2',
            {"\ufffda": {"\ufffd": "\ufffd"}, "b": 2},
        ),
    ],
)
def test_the_last_of_keys_that_become_equal_is_used(read: Any, members: str, value: Any) -> None:
    """Keys that differ in halves of surrogate pairs alone are one key, as Go reads them."""
    assert read(f"{{{members}}}".encode()) == value
    assert read(f"[0,{{{members}}}]".encode()) == [0, value]
