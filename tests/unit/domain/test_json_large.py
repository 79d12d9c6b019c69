"""JSON over a mebibyte: read in pieces, as it would be read at once, within bounds."""

import json
import random
from typing import Any

import pytest

from moby_plugins.domain.json import LARGE_BYTES, MAX_DEPTH, MAX_VALUES, first_value


def made_up(chance: random.Random, depth: int = 0) -> Any:
    """Some value, of any kind, nested at random."""
    kind = chance.random()
    if depth > 6 or kind < 0.4:
        choices = [1, -2.5, True, None, "", 'x\\"y,[{', "é,\n", "\\" * 9 + "😀", 10**20, "k" * 300]
        return chance.choice(choices)
    if kind < 0.7:
        return [made_up(chance, depth + 1) for _ in range(chance.randint(0, 5))]
    keys = [chance.choice(["a", 'b"', "ü", "", "\\"]) + str(n) for n in range(chance.randint(0, 5))]
    return {key: made_up(chance, depth + 1) for key in keys}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_is_large_is_read_as_what_is_small(seed: int, *, ascii_only: bool) -> None:
    """Pieces are put together so that nobody can tell where they were cut."""
    chance = random.Random(seed)  # noqa: S311  no secret
    value: Any = made_up(chance)
    for _ in range(40):
        value = [value, {f"key {n}": made_up(chance) for n in range(60)}]
    data = json.dumps([value, "x" * LARGE_BYTES], ensure_ascii=ascii_only).encode()

    assert first_value(data + b" and, what, follows") == [value, "x" * LARGE_BYTES]


@pytest.mark.parametrize(
    "text",
    [
        '"x😀é"',
        r'"\ud83d\ude00"',
        r'"\ud83d\ud83d\ude00\ude00"',
        r'"\\\\\\ud83d"',
        r'"\\\"\\\\,["',
        r'{"a":[{"b":1}],"a":{"c":[2,3]},"":{"":[]}}',
        "[[[[[[[[1]]]],{}]]]]",
        " [ 1 , 2 ] ",
    ],
)
def test_a_cut_anywhere_changes_nothing(text: str) -> None:
    """However an array is shifted against the places of its cuts, its items are the same."""
    one = first_value(text.encode())
    for shift in range(2):
        items = [text] * (150_000 // len(text))
        around = f'"{"x" * (LARGE_BYTES // 2 + shift)}"'
        data = f"[{around},{','.join(items)},{around}]".encode()

        assert first_value(data)[1:-1] == [one] * len(items)


def test_equal_keys_around_a_cut_give_the_last_one() -> None:
    """A key that comes again is replaced, also where its first value was cut in two."""
    many = ",".join(["1"] * (LARGE_BYTES // 2 + 1))

    assert first_value(f'{{"a":[0],"b":0,"a":[{many}],"a":[2]}}'.encode()) == {"a": [2], "b": 0}
    assert first_value(f'{{"a":0,"b":[{many}],"b":1,"a":3}}'.encode()) == {"a": 3, "b": 1}


def test_text_is_not_counted() -> None:
    """What is in strings, and what follows the value, holds no values."""
    text = ',[{"x":' * 300_000

    assert first_value(json.dumps([text]).encode()) == [text]
    assert first_value(b"[" + b" " * LARGE_BYTES + b"1]" + b",1" * MAX_VALUES) == [1]


@pytest.mark.parametrize(
    "broken",
    ["{0},]", "{0}", "{0}}}", "{0},,1]", "{0} 1]", '{0},"a":1]', "{0},{{1}}]", '{0},"a]', "{0},1"],
)
def test_broken_json_is_an_error_behind_a_cut_too(broken: str) -> None:
    """What breaks off or follows no grammar is refused wherever it stands."""
    many = ",".join(["1"] * (LARGE_BYTES // 2 + 1))

    with pytest.raises(ValueError, match=r"^not JSON: "):
        first_value(("[" + broken.format(many)).encode())
    with pytest.raises(ValueError, match=r"^not JSON: "):
        first_value(('{"a":[' + broken.format(many)).encode())


@pytest.mark.parametrize("end", [b'"\xff"]', b'"x"]\xff', b"1] \xc3"])
def test_bytes_that_are_no_text_are_an_error_anywhere(end: bytes) -> None:
    """They are told by their place, behind the value too."""
    data = b"[" + b"1," * (LARGE_BYTES // 2) + end
    place = next(at for at in range(LARGE_BYTES, len(data)) if data[at] > 127)

    with pytest.raises(ValueError, match=rf"^not UTF-8: .* at byte {place}$"):
        first_value(data)


def test_nesting_has_the_same_limit() -> None:
    """The depth is that of the whole, wherever it was cut."""
    inside = ",".join(["[]"] * 400_000)

    deepest = "[" * (MAX_DEPTH - 1) + inside + "]" * (MAX_DEPTH - 1)
    assert first_value(deepest.encode())
    with pytest.raises(ValueError, match=f"^nested deeper than {MAX_DEPTH}$"):
        first_value(f"[{deepest}]".encode())
