"""Replies that a test prepared, and that no call used."""

from typing import Any

import pytest

from moby_plugins.domain.address import Address
from moby_plugins.testing import (
    MemoryTransport,
    Request,
    Response,
    drips,
    drops_mid_body,
    hangs,
    refused,
    script,
    status,
)
from tests.cases import every


def leftover(transport: MemoryTransport) -> list[str]:
    """What the failure says is left, line by line."""
    with pytest.raises(AssertionError) as caught:
        transport.assert_used_up()
    heading, *lines = str(caught.value).splitlines()
    assert heading == "these replies were never used:"
    return [line.strip() for line in lines]


def call(transport: MemoryTransport, *methods: str) -> None:
    """Call each method."""
    for method in methods:
        transport.send(Request(method), None)


def test_a_table_is_used_up_once_each_method_was_called() -> None:
    """A method that was never called is named with its reply, even if others were called twice."""
    transport = MemoryTransport({"A.x": 1, "B.y": {"Err": ""}, "C.z": refused()})

    call(transport, "A.x", "A.x")
    assert leftover(transport) == ['B.y: {"Err": ""}', "C.z: refused()"]

    call(transport, "B.y?id=1")
    assert leftover(transport) == ["C.z: refused()"]


def test_a_script_is_used_up_once_each_step_was_taken() -> None:
    """Each step that is left is named by its number."""
    transport = MemoryTransport({"A.x": script(1, status(500, "no"), b"raw")})
    assert len(leftover(transport)) == 3

    call(transport, "A.x")
    assert leftover(transport) == [
        "A.x, step 2 of 3: status(500, 'no')",
        "A.x, step 3 of 3: b'raw'",
    ]

    call(transport, "A.x", "A.x")
    transport.assert_used_up()


def test_a_call_that_is_refused_uses_up_a_step_of_its_script() -> None:
    """The refusal is a reply like any other."""
    transport = MemoryTransport({"A.x": script(refused()), "B.y": refused()})

    for method in ("A.x", "B.y"):
        with pytest.raises(Exception, match="stale socket"):
            call(transport, method)

    transport.assert_used_up()


def test_unused_steps_of_a_script_for_all_methods_are_listed_by_number() -> None:
    """The script is in no table, so there is no method to name."""
    assert leftover(MemoryTransport(script(1, 2))) == ["step 1 of 2: 1", "step 2 of 2: 2"]


def test_assert_used_up_always_passes_for_a_function() -> None:
    """Whether it was called can be asserted with ``calls``."""
    MemoryTransport(lambda _: Response(200, b"")).assert_used_up()


def test_a_reply_that_is_used_at_another_address_is_used_up() -> None:
    """A transport that ``connect`` returns shares its replies with the first one."""
    transport = MemoryTransport({"A.x": script(1)})

    call(transport.connect(Address("tcp://host:1")), "A.x")

    transport.assert_used_up()


@every(
    ("reply", "text"),
    [
        (refused(), "refused()"),
        (hangs(2.5), "hangs(2.5)"),
        (status(404, "gone"), "status(404, 'gone')"),
        (drops_mid_body(b"{"), "drops_mid_body(b'{')"),
        (drips(b"ab"), "drips(b'ab')"),
        (script(1, refused()), "script(1, refused())"),
    ],
)
def test_a_reply_is_shown_as_it_was_written(reply: Any, text: str) -> None:
    """Its ``repr`` is its code, by which the step is found in the test."""
    assert repr(reply) == text
