"""What a client decides about its calls, without a transport."""

import pytest

from moby_plugins import RetryPolicy, StatusError, TransportError, WaitCancelledError, WireError
from moby_plugins.app.accounting import ClientBase
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import Request


class Accounts(ClientBase[Request]):
    """A client that sends nothing, and shows what it decides."""

    numbered = ClientBase._numbered  # noqa: SLF001  its subclasses are its users
    time_out = ClientBase._time_out  # noqa: SLF001
    most = ClientBase._most  # noqa: SLF001
    account = ClientBase._account  # noqa: SLF001

    def end(self, reason: str) -> None:
        """End it as ``close`` does."""
        self._ending.end(reason)


@pytest.fixture
def accounts() -> Accounts:
    """A client of the plugin ``shelf`` with bounds of its own."""
    return Accounts(Address("tcp://h:1"), RetryPolicy(), 7.0, 2 << 20, "shelf")


def test_a_request_carries_the_clients_headers(accounts: Accounts) -> None:
    """The headers are Host, Accept and User-Agent; a later attempt carries its number, too."""
    request = accounts.request("M.x", b"{}")

    assert request.headers["Host"] == "h:1"
    assert {*request.headers} == {"Host", "Accept", "User-Agent"}
    assert accounts.numbered(request, 1) is request
    assert accounts.numbered(request, 3).attempt == 3


def test_a_closed_client_makes_no_attempt(accounts: Accounts) -> None:
    """A first attempt then raises RuntimeError, a later one WaitCancelledError."""
    accounts.end("this client is closed")

    with pytest.raises(RuntimeError, match="closed"):
        accounts.numbered(accounts.request("M.x"), 1)
    with pytest.raises(WaitCancelledError, match="closed"):
        accounts.numbered(accounts.request("M.x"), 2)


@pytest.mark.parametrize(("given", "used"), [(None, 7.0), (2, 2.0), (float("inf"), None)], ids=str)
def test_a_time_out_of_the_call_replaces_that_of_the_client(
    given: float | None, used: float | None, accounts: Accounts
) -> None:
    """``None`` means the time-out of the client, infinity means no time-out."""
    assert accounts.time_out(given) == used


def test_the_response_to_a_handshake_may_have_1_mib_at_most(accounts: Accounts) -> None:
    """The responses to other methods are bounded by the client's own limit, here 2 MiB."""
    assert accounts.most(accounts.request("Plugin.Activate")) == 1 << 20
    assert accounts.most(accounts.request("M.x")) == 2 << 20


def test_errors_name_the_plugin_and_its_address(accounts: Accounts) -> None:
    """A transport error and a WireError get the method of the request, too."""
    request = accounts.request("M.x")
    broken, wrong, refused = TransportError("reset"), WireError("no"), StatusError(500, "M.x", "no")
    for error in (broken, wrong, refused):
        accounts.account(error, request)

        assert (error.plugin, error.address) == ("shelf", "tcp://h:1")
    assert wrong.method == "M.x"


def test_a_transport_error_after_the_client_was_closed_becomes_a_wait_cancelled_error(
    accounts: Accounts,
) -> None:
    """A StatusError, for which a whole response was received, is left as it is."""
    accounts.end("this client is closed")

    with pytest.raises(WaitCancelledError) as caught:
        accounts.account(TransportError("reset"), accounts.request("M.x", attempt=2))
    assert caught.value.attempts == 2
    accounts.account(StatusError(500, "M.x", "no"), accounts.request("M.x"))
