"""No call gets the response of another call, whatever a plugin sends and when."""

import random
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Semaphore
from typing import TypeAlias

import pytest

from moby_plugins import (
    Client,
    PluginError,
    StatusError,
    TransportError,
    TransportTimeoutError,
)
from tests.cases import case
from tests.dummy_plugin import Behaviour, Conversation, http
from tests.integration.hostile.bounds import MIB, ROUNDS, bounded
from tests.integration.hostile.plugins import (
    OK,
    PATIENCE,
    Against,
    answer_to,
    call,
    number_of,
)

WRONG = 999_999
STOLEN = http(b"%d" % WRONG)

# What stands behind a whole answer; an answer of its own among them, for the next call to take.
LEFTOVERS = {
    "an answer": STOLEN,
    "an answer in chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n6\r\n999999\r\n0\r\n\r\n",
    "an answer without a length": OK + b"\r\n%d" % WRONG,
    "a hundred answers": STOLEN * 100,
    "an answer after a line": b"\r\n" + STOLEN,
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "the beginning of an answer": STOLEN[:30],
    "the beginning of a body": STOLEN[:-3],
    "one byte": b"1",
    "a line": b"\r\n",
    "more than a buffer": b" " * 10_000 + STOLEN,
}
FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "with a length": http,
    "in chunks": lambda body: (
        OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    ),
    "of an error": lambda body: http(body, 500),
    "without content": lambda _: http(b""),
}


Outcomes: TypeAlias = list[tuple[int, object]]


def served(conversation: Conversation) -> Iterator[bytes]:
    """The requests of a connection, until the host hangs up."""
    conversation.sock.settimeout(PATIENCE)
    with suppress(OSError):
        while request := conversation.read_request():
            yield request


def outcome(client: Client, number: int, timeout: float = PATIENCE) -> object:
    """What a numbered call comes to: an answer, or its error."""
    try:
        return call(client, number, timeout)
    except PluginError as error:
        return error


def crossed(outcomes: Outcomes) -> Outcomes:
    """The calls that got what was another's: neither their own number, nor nothing, nor an error.

    An error that carries a number must carry that of its call.
    """
    found = []
    for number, came in outcomes:
        mine = came in (number, None)
        if isinstance(came, StatusError):
            mine = came.message in (str(number), "")
        elif isinstance(came, PluginError):
            mine = True
        if not mine:
            found.append((number, came))
    return found


def followed_by(more: bytes, framed: Callable[[bytes], bytes]) -> Behaviour:
    """A plugin that sends ``more`` right behind each answer."""

    def behave(conversation: Conversation) -> None:
        for request in served(conversation):
            conversation.send(framed(answer_to(request)) + more)

    return behave


@pytest.mark.parametrize("frame", FRAMES)
def test_bytes_after_the_end_of_a_response_are_not_taken_for_the_next_response(
    frame: str, against: Against
) -> None:
    """A plugin sends more bytes behind each response, and each call still gets its own response."""
    for leftover, more in LEFTOVERS.items():
        with (
            case(leftover),
            bounded(seconds=15),
            against(followed_by(more, FRAMES[frame])) as client,
        ):
            outcomes = [(number, outcome(client, number)) for number in range(10)]

            assert crossed(outcomes) == []
            # Each answer itself was whole.
            assert not any(isinstance(came, TransportError) for _, came in outcomes)


def interrupting(more: bytes, sent: Semaphore) -> Behaviour:
    """A plugin that sends ``more`` a moment after each answer."""

    def behave(conversation: Conversation) -> None:
        for request in served(conversation):
            conversation.send(http(answer_to(request)))
            conversation.stopped.wait(0.02)
            conversation.send(more)
            sent.release()

    return behave


def test_bytes_that_come_between_two_calls_are_not_taken_for_a_response(against: Against) -> None:
    """A connection on which bytes came while it was idle is not used again."""
    for leftover, more in LEFTOVERS.items():
        sent = Semaphore(0)
        with (
            case(leftover),
            bounded(seconds=15),
            against(interrupting(more, sent)) as client,
        ):
            for number in range(5):
                assert outcome(client, number) == number
                assert sent.acquire(timeout=PATIENCE)


def test_a_response_after_the_time_out_is_not_given_to_the_next_call(
    against_everywhere: Against,
) -> None:
    """A call that timed out leaves no response behind for the next call."""

    def late(conversation: Conversation) -> None:
        for request in served(conversation):
            # Every other call is answered when its caller no longer waits.
            conversation.stopped.wait(0.3 if number_of(request) % 2 == 0 else 0)
            conversation.send(http(answer_to(request)))

    with bounded(seconds=15), against_everywhere(late) as client:
        outcomes = [(number, outcome(client, number, 0.1 + number % 2)) for number in range(10)]

    assert crossed(outcomes) == []
    assert [type(came) for number, came in outcomes if number % 2 == 0] == [
        TransportTimeoutError
    ] * 5
    assert [came for number, came in outcomes if number % 2] == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("read", [0, 1, 8])
def test_the_unread_rest_of_a_stream_is_not_taken_for_the_next_response(
    read: int, against: Against
) -> None:
    """The calls after a stream that was closed before its end get their own responses."""

    def behave(conversation: Conversation) -> None:
        for request in served(conversation):
            if b"/M.stream" in request:
                conversation.send(http(b"x" * 8 + STOLEN, length=8 + 10 * len(STOLEN)))
            else:
                conversation.send(http(answer_to(request)))

    outcomes: Outcomes = []
    with bounded(seconds=15), against(behave) as client:
        for number in range(10):
            with client.stream("M.stream", {"Number": number}) as stream:
                for _ in range(read):
                    assert stream.read(1) == b"x"
            outcomes.append((number, outcome(client, number)))

    assert outcomes == [(number, number) for number in range(10)]


def mischief(chance: random.Random) -> Behaviour:
    """A plugin that answers most calls, and does something else to the others."""

    def reset(conversation: Conversation, _: bytes) -> None:
        conversation.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionAbortedError

    def hang_up(_: Conversation, __: bytes) -> None:
        raise ConnectionAbortedError

    def is_late(conversation: Conversation, answer: bytes) -> None:
        conversation.stopped.wait(0.15)
        conversation.send(answer)

    deeds = (
        reset,
        hang_up,
        is_late,
        lambda conversation, answer: conversation.send(answer + STOLEN),
        lambda conversation, answer: conversation.send(answer[:-1]),
        lambda conversation, answer: conversation.send(answer * 2),
        lambda conversation, answer: conversation.send(b"\r\n" + answer),
        lambda conversation, answer: conversation.drip(answer, 0.001),
    )

    def behave(conversation: Conversation) -> None:
        with suppress(ConnectionAbortedError):
            for request in served(conversation):
                answer = http(answer_to(request))
                if chance.random() < 0.2:
                    chance.choice(deeds)(conversation, answer)
                else:
                    conversation.send(answer)

    return behave


def test_threads_that_share_a_client_of_a_faulty_plugin_get_their_own_responses(
    against_everywhere: Against,
) -> None:
    """Despite resets and late or repeated responses, a call gets its own response or an error."""
    numbers = range(400 * ROUNDS)

    with (
        bounded(seconds=30 * ROUNDS, memory=16 * MIB),
        against_everywhere(mischief(random.Random(7))) as client,  # noqa: S311  nothing is secret here
        ThreadPoolExecutor(8) as pool,
    ):
        came = list(pool.map(lambda number: outcome(client, number, 0.1), numbers))

    assert crossed(list(zip(numbers, came, strict=True))) == []
    # Both sides of it happened.
    assert sum(isinstance(one, int) for one in came) > len(numbers) // 2
    assert sum(isinstance(one, PluginError) for one in came) > 0
