"""How OpenSSL says that the other end hung up without close_notify."""

import ssl

from moby_plugins.adapters.http.tls import is_unclean_end


def test_an_unclean_end_is_known_by_its_class_or_its_reason() -> None:
    """Python 3.11.0 to 3.11.3 raise a plain ``SSLError``; any other error of TLS is none."""
    plain, other = ssl.SSLError(1, "eof"), ssl.SSLError(1, "alert")
    plain.reason, other.reason = "UNEXPECTED_EOF_WHILE_READING", "TLSV1_ALERT_UNKNOWN_CA"

    assert [*map(is_unclean_end, (ssl.SSLEOFError(8, "eof"), plain, other))] == [True, True, False]
