"""Text of others, as it is shown."""

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
def test_what_is_not_printable_is_escaped(text: str, printed: str) -> None:
    """Control characters, ends of lines, overrides of direction and halves of characters."""
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
def test_credentials_are_left_out(text: str, printed: str) -> None:
    """Those of a URL, wherever it stands; an "@" elsewhere is text."""
    assert shown(text) == printed
    assert quoted(text) == repr(printed)


@every("part", ["://", "a://b", "://@", "@", "://a:", ":\\/\\/a:", "://" + "x" * 1000])
def test_no_text_takes_long_to_read(part: str) -> None:
    """Time that grew with the square of the length would be minutes here."""
    text = part * (100_000 // len(part))

    assert len(shown(text)) < 320
    assert shown(text).endswith(f"… of {len(text)}")


def test_credentials_are_left_out_where_the_text_is_cut() -> None:
    """Also where the cut would fall between a password and the "@" behind it."""
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
def test_other_values_have_a_text(value: object, printed: str) -> None:
    """An exception its own, anything else that of ``repr``."""
    assert shown(value) == printed


def test_an_error_of_a_validator_is_its_message() -> None:
    """Not what the validator looked at: its attribute and all."""
    scope = attrs.make_class("Scope", {"scope": attrs.field(validator=attrs.validators.in_("ab"))})

    with pytest.raises(ValueError, match="scope") as caught:
        scope("moon")

    assert shown(caught.value) == "'scope' must be in 'ab' (got 'moon')"


def test_an_exception_without_a_text_is_named() -> None:
    """An exception class whose own text fails hides nothing."""

    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert shown(OddError()) == "something that cannot be shown: OddError"


@every("text", ["", "shelf", "it's", '"it\'s"', "a\\b", "a\nb", "\udcff\x1b"])
def test_a_short_text_is_quoted_as_a_literal(text: str) -> None:
    """As ``repr`` does."""
    assert quoted(text) == repr(text)


def test_a_long_text_is_quoted_as_far_as_it_is_shown() -> None:
    """The quotes end before what says how long it was."""
    assert quoted("x" * 301) == "'" + "x" * 300 + "'… of 301"
    assert quoted("\n" * 301) == "'" + "\\n" * 150 + "'… of 301"
    assert quoted(7) == "7"


def test_a_list_is_one_text() -> None:
    """A hundred thousand names take no more room than one."""
    assert listed(["a", "b\n"]) == "a, b\\n"
    assert listed([]) == "nothing"
    assert listed(["x"] * 100_000) == ("x, " * 100) + "… of 299998"


def test_a_sentence_may_hold_a_text_that_was_cut() -> None:
    """It is not cut a second time; but it has an end too."""
    told = f"address {quoted('x' * 1000)} is not of the form scheme://… or unix:/path"

    assert sentence(told) == told
    assert len(sentence(HOSTILE)) < 520
    assert sentence(HOSTILE).isprintable()


def test_an_error_that_is_sent_keeps_its_text_up_to_a_bound() -> None:
    """It is not escaped, for JSON does that; but a host must be able to read it."""
    assert bounded("a\nb") == "a\nb"
    assert bounded("x" * 60_000) == "x" * 60_000
    assert bounded("x" * 1_000_000) == "x" * 60_000 + "… of 1000000"


def test_a_path_stands_for_bytes_unless_it_has_half_a_pair() -> None:
    """Python escapes a byte that is no text as one half; of others there are no bytes."""
    assert is_encodable("/a\udcff")
    assert not is_encodable("/a\ud800")
