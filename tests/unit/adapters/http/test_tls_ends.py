"""How OpenSSL says that the other end hung up without close_notify."""

import ssl

from moby_plugins.adapters.http.tls import is_unclean_end


def test_the_end_of_a_tls_connection_without_close_notify_is_recognized() -> None:
    """It is an ``SSLEOFError``, or up to Python 3.11.3 an ``SSLError`` with a certain reason."""
    plain, other = ssl.SSLError(1, "eof"), ssl.SSLError(1, "alert")
    plain.reason, other.reason = "UNEXPECTED_EOF_WHILE_READING", "TLSV1_ALERT_UNKNOWN_CA"

    assert [*map(is_unclean_end, (ssl.SSLEOFError(8, "eof"), plain, other))] == [True, True, False]
