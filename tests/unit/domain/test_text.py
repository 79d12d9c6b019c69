"""Text of plugins, users and other libraries is made safe to show."""

import attrs
import pytest

from moby_plugins.domain.text import bounded, is_encodable, listed, quoted, sentence, shown
from tests.cases import every

HOSTILE = "\n2026-01-01 CRITICAL sshd: \x1b[2J\r\x9b31m\x7f\u2028\u202e\udcff\0" * 20_000


@every(
    ("text", "printed"),
    [
        ("plain, ü and 漢", "plain, ü and 漢"),
        ("", ""),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x07\x7f", "\\x1b[2J\\x07\\x7f"),
        ("\x85\x9b31m", "\\x85\\x9b31m"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\u202egnp\u2066", "\\u202egnp\\u2066"),
        ("\udcff", "\\udcff"),
        ("\U000e0001", "\\U000e0001"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_characters_that_are_not_printable_are_escaped(text: str, printed: str) -> None:
    """Control characters, line ends, direction overrides and lone surrogates are escaped."""
    assert shown(text) == printed


@pytest.mark.parametrize("char", ["x", "漢", "\n", "\U000e0001", "\udcff"])
@pytest.mark.parametrize("length", [1, 30, 300, 301, 100_000])
def test_a_text_is_cut_at_three_hundred_characters(char: str, length: int) -> None:
    """Escapes count, none is cut in two, and the end says how many characters there were."""
    text = char * length

    printed = shown(text)

    kept, mark, whole = printed.partition("… of ")
    assert len(kept) <= 300
    assert len(kept) % len(shown(char)) == 0
    assert printed.isprintable()
    if len(shown(char)) * length <= 300:
        assert not mark
    else:
        assert (mark, whole) == ("… of ", str(length))


@every(
    ("text", "printed"),
    [
        ("pull https://me:pw@r.example/x: no", "pull https://***@r.example/x: no"),
        ("tcp://token@h:1, tcp://a:b@h:2", "tcp://***@h:1, tcp://***@h:2"),
        ("http://a@b@h", "http://***@h"),
        ("unix:///run/a@b.sock", "unix:///run/a@b.sock"),
        ("mail me@example.com", "mail me@example.com"),
        ("https://h/a@b", "https://h/a@b"),
        ("tcp://h:2375/a@b", "tcp://h:2375/a@b"),
        ("tcp://[::1]:80/a@b", "tcp://[::1]:80/a@b"),
        ("tcp://me:pa/ss@h:1", "tcp://***@h:1"),
        ("tcp:///me:pw@h", "tcp://***@h"),
        ("http+unix://me:pw@h", "http+unix://***@h"),
        ('{"Addr":"tcp:\\/\\/me:pw@h"}', '{"Addr":"tcp:\\/\\/***@h"}'),
        ("UNIX://a@b, unix://c@d", "UNIX://a@b, unix://c@d"),
        ("tcp://h:1 or https://me:pw@h", "tcp://h:1 or https://***@h"),
    ],
)
def test_the_user_and_password_of_a_url_are_masked_in_any_text(text: str, printed: str) -> None:
    """An "@" that does not end the credentials of a URL is kept."""
    assert shown(text) == printed
    assert quoted(text) == repr(printed)


@every("part", ["://", "a://b", "://@", "@", "://a:", ":\\/\\/a:", "://" + "x" * 1000])
def test_a_long_text_of_repeated_url_parts_is_shown_quickly(part: str) -> None:
    """If the time grew with the square of the length, this test would take minutes."""
    text = part * (100_000 // len(part))

    assert len(shown(text)) < 320
    assert shown(text).endswith(f"… of {len(text)}")


def test_the_credentials_of_a_url_are_masked_where_the_text_is_cut() -> None:
    """The password is masked even if the cut falls between it and the "@" after it."""
    assert "secret" not in shown("x" * 280 + "https://me:" + "secret" * 20 + "@h")
    assert "secret" not in shown("https://me:" + "secret" * 20_000 + "@h")


@every(
    ("value", "printed"),
    [
        (b"a\n", "b'a\\n'"),
        (None, "None"),
        (ValueError("a\nb"), "a\\nb"),
        (KeyError("a\nb"), "'a\\nb'"),
        (OSError(2, "gone", "x\ny"), "[Errno 2] gone: 'x\\ny'"),
    ],
)
def test_exceptions_are_shown_as_their_text_and_other_values_as_repr(
    value: object, printed: str
) -> None:
    """Line ends in these texts are escaped."""
    assert shown(value) == printed


def test_an_error_of_an_attrs_validator_is_shown_as_its_message() -> None:
    """The attrs attribute, which the exception holds as well, is not shown."""
    scope = attrs.make_class("Scope", {"scope": attrs.field(validator=attrs.validators.in_("ab"))})

    with pytest.raises(ValueError, match="scope") as caught:
        scope("moon")

    assert shown(caught.value) == "'scope' must be in 'ab' (got 'moon')"


def test_an_exception_whose_str_fails_is_shown_by_its_class() -> None:
    """The exception that ``__str__`` raises is not passed on."""

    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert shown(OddError()) == "something that cannot be shown: OddError"


@every("text", ["", "shelf", "it's", '"it\'s"', "a\\b", "a\nb", "\udcff\x1b"])
def test_a_short_text_is_quoted_as_a_literal(text: str) -> None:
    """The quotes and escapes are those of ``repr``."""
    assert quoted(text) == repr(text)


def test_only_the_shown_part_of_a_long_text_is_in_quotes() -> None:
    """The closing quote stands before … and the length of the whole text."""
    assert quoted("x" * 301) == "'" + "x" * 300 + "'… of 301"
    assert quoted("\n" * 301) == "'" + "\\n" * 150 + "'… of 301"
    assert quoted(7) == "7"


def test_a_list_is_shown_as_one_bounded_text() -> None:
    """Even a list of a hundred thousand names is cut at 300 characters."""
    assert listed(["a", "b\n"]) == "a, b\\n"
    assert listed([]) == "nothing"
    assert listed(["x"] * 100_000) == ("x, " * 100) + "… of 299998"


def test_a_sentence_that_quotes_a_cut_text_is_not_cut_again() -> None:
    """Sentences have a larger bound of their own, 500 characters."""
    told = f"address {quoted('x' * 1000)} is not of the form scheme://… or unix:/path"

    assert sentence(told) == told
    assert len(sentence(HOSTILE)) < 520
    assert sentence(HOSTILE).isprintable()


def test_the_text_of_an_error_response_is_cut_only_if_it_is_very_long() -> None:
    """A host reads up to 60,000 characters; they are not escaped, since JSON does that."""
    assert bounded("a\nb") == "a\nb"
    assert bounded("x" * 60_000) == "x" * 60_000
    assert bounded("x" * 1_000_000) == "x" * 60_000 + "… of 1000000"


def test_a_path_with_a_lone_high_surrogate_cannot_be_encoded() -> None:
    """Python writes bytes that are not UTF-8 as low surrogates; a high one stands for no byte."""
    assert is_encodable("/a\udcff")
    assert not is_encodable("/a\ud800")
