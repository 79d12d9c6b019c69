"""JSON of millions of values, and JSON of a few values that takes much memory."""

import json
import tracemalloc
from collections.abc import Callable

import pytest

from moby_plugins.domain.json import MAX_VALUES, first_value

MIB = 1 << 20


@pytest.mark.parametrize(
    ("unit", "count"),
    [('""', 1), ("[ ]", 1), ('{"a" : [0]}', 3)],
)
def test_json_of_more_than_a_million_values_is_refused(unit: str, count: int) -> None:
    """A million values, with the array around them, are read; one more is refused."""
    fits = (MAX_VALUES - 1) // count
    rest = ",0" * (MAX_VALUES - 1 - fits * count)
    just = f"[{','.join([unit] * fits)}{rest}]"

    assert len(first_value(just.encode())) == fits + len(rest) // 2
    with pytest.raises(ValueError, match=r"^the JSON has more than 1,000,000 values$"):
        first_value(f"{just[:-1]},0]".encode())


@pytest.mark.parametrize(
    ("head", "around"),
    [
        ('{"Volumes":[%s]}', 2),
        ('{"Err":{},"Volumes":[%s]}', 3),
        ('{"Volumes":[%s],"Err":{"a" : ":[{,"}}', 4),
        ('{"a\\":":"%s","Volumes":[%%s]}' % ("[{:,}]" * MAX_VALUES), 3),
        ('["%s",%%s]' % ("," * (5 * MAX_VALUES)), 2),
        ('["%s\\\\",%%s]' % (r"\"" * MAX_VALUES), 2),
    ],
    ids=["a key", "two keys", "keys behind", "text as a member", "text as an item", "escapes"],
)
def test_keys_and_the_contents_of_strings_do_not_count_as_json_values(
    head: str, around: int
) -> None:
    """With any keys, and with brackets and commas in strings, exactly a million values are read."""
    unit = '","'
    just = ",".join([unit] * (MAX_VALUES - around))

    first_value((head % just).encode())
    with pytest.raises(ValueError, match=r"^the JSON has more than 1,000,000 values$"):
        first_value((head % f"{just},{unit}").encode())


def test_a_hundred_thousand_volumes_are_read() -> None:
    """A volume driver with so many volumes stays within the bounds."""
    volumes = [
        {
            "Name": f"volume-{n}",
            "Mountpoint": f"/mnt/volume-{n}",
            "CreatedAt": "2024-01-01T00:00:00Z",
            "Status": {"size": "10G", "used": n, "host": "a"},
        }
        for n in range(100_000)
    ]

    assert first_value(json.dumps({"Volumes": volumes, "Err": ""}).encode())["Volumes"] == volumes


BOMBS: dict[str, Callable[[], bytes]] = {
    "empty objects": lambda: b"[" + b"{}," * 300_000 + b"0]",
    "a rare character": lambda: b'["' + b"x" * (2 * MIB) + "😀".encode() + b'"]',
    "escaped pairs": lambda: b'["' + rb"\ud83d\ude00" * 150_000 + b'"]',
    "escaped halves": lambda: b'["' + rb"\ud83d" * 300_000 + b'"]',
    "too many values": lambda: b"[" + b"{}," * (4 * MIB) + b"0]",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_reading_json_takes_a_bounded_amount_of_memory(kind: str) -> None:
    """The bound holds whatever the text is made of; ``make bounds`` measures more texts."""
    data = BOMBS[kind]()
    tracemalloc.start()
    try:
        if kind == "too many values":
            with pytest.raises(ValueError, match="more than"):
                first_value(data)
        else:
            first_value(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < (80 * MIB + 2 * len(data)), f"{peak:,} bytes"


def test_json_that_takes_too_much_memory_is_refused_before_it_is_decoded() -> None:
    """A wide character makes each of half a million keys four times as large, which is too much."""
    one = ('{"' + "x" * 110 + '😀":0},').encode()
    data = b"[%b0]" % (one * 490_000)

    with pytest.raises(
        ValueError, match=r"^decoding the JSON takes more memory than 256 MiB plus twice its size$"
    ):
        first_value(data)
