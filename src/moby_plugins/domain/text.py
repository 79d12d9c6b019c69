"""Text of others in messages: of a plugin, a file, a name, a caller or another library.

Such text may be of any size, and may hold line ends that forge a line of a log, sequences that
move a terminal's cursor, or a password within an address. ``shown`` is what stands for it
wherever a person reads it: in an error's text, in the log, and on the screen. The whole stays
in the attributes of errors, and in what is printed as JSON.
"""

import re
from collections.abc import Callable, Iterable

import attrs

# The characters of one text of others, at most; "… of N" follows where there were more.
MAX_TEXT = 300
# The same for a sentence of ours that holds such a text, cut already.
MAX_SENTENCE = 500
# The text of an error that is sent to a host: less than hosts read of one, however it is encoded.
MAX_ERROR_TEXT = 60_000
HIDDEN = "***"
# How alike two texts have to be to be taken for the same with a mistake, of 1 at most.
NEAR, VERY_NEAR = 0.6, 0.7

# How much of a text is read, so that one of many megabytes costs no more than another.
_WINDOW = 1 << 16

# A URL's user name and password: up to the last "@" before a slash, and after a slash too where
# no port stands before it, for a password may hold one. What follows a UNIX socket's slashes is
# a path. JSON may write a slash with a backslash. Nothing is read twice: up to the next URL.
_CREDENTIALS = re.compile(
    r"(?<![^\w+.-]unix)(?<!\Aunix)(?P<keep>:(?:\\?/){2})"
    r"(?:[^\s/]*@|/?(?!\[)[^\s/?#:@]*:(?!\d{1,5}(?:[/?#]|\s|\Z))(?:(?!:\\?/)\S)*@)",
    re.IGNORECASE,
)
# Read past what a class of others may put in their place.
_CLASS_NAME = vars(type)["__name__"].__get__
_ARGUMENTS = vars(BaseException)["args"].__get__
# What is read of a text ends within a user name or a password, of which as much is read again.
_GOES_ON = re.compile(r"[^\s/]*@")


def shown(value: object, most: int = MAX_TEXT) -> str:
    r"""Return ``value`` on one line, printable, in ``most`` characters.

    A string and an exception stand as their text, anything else as its ``repr``. What is not
    printable is escaped: ``\n``, ``\x1b``, ``\u202e``, ``\udcff``. User names and passwords of
    URLs are left out. A text that is cut ends in ``… of N``, the number of its characters.
    """
    text = _text_of(value)
    if _is_plain(text, most):
        return text
    return "".join(_cut(text, most, _escaped))


def quoted(value: object, most: int = MAX_TEXT) -> str:
    """Return what ``shown`` makes of ``value``, a string in quotes: ``'shelf'``."""
    if not isinstance(value, str):
        return shown(value, most)
    if _is_plain(value, most) and "'" not in value and "\\" not in value:
        return f"'{value}'"
    mark = repr(value[:most])[0]

    def escape(char: str) -> str:
        return f"\\{mark}" if char == mark else repr(char)[1:-1]

    kept, rest = _cut(value, most, escape)
    return f"{mark}{kept}{mark}{rest}"


def sentence(value: object) -> str:
    """Return ``shown`` of a sentence of ours, in which the text of others was cut before."""
    return shown(value, MAX_SENTENCE)


def bounded(text: str) -> str:
    """Return ``text`` as it is sent in the body of an error: cut where it is very long."""
    if len(text) <= MAX_ERROR_TEXT:
        return text
    return f"{text[:MAX_ERROR_TEXT]}… of {len(text)}"


def listed(values: Iterable[object], empty: str = "nothing") -> str:
    """Return ``values`` as one text, joined by commas; ``empty`` where there are none."""
    return shown(", ".join(map(_text_of, values))) or empty


def nearest(given: str, known: Iterable[str], alike: float = NEAR) -> str:
    """Return the one of ``known`` that ``given`` was meant to be, it seems, or "" for none.

    Letters may differ in case, and a few may be wrong, missing, too many or in another order.
    """
    from difflib import get_close_matches  # which hosts never need

    by_fold = {each.casefold(): each for each in known}
    found = get_close_matches(given.casefold(), by_fold, 1, alike)
    return by_fold[found[0]] if found else ""


def class_name(value: object) -> str:
    """Return the name of the class of ``value``, whatever a metaclass of others makes of it."""
    name: str = _CLASS_NAME(type(value))
    return name


def plain_text(value: object) -> str:
    """Return ``str(value)``, and no instance of a class of others; raises what that raises."""
    return str.__str__(str(value))


def _text_of(value: object) -> str:
    if type(value) is str:
        return value
    try:
        if not issubclass(type(value), BaseException):
            return plain_text(value if issubclass(type(value), str) else repr(value))
        # A validator of attrs raises its message together with what it looked at.
        args = _ARGUMENTS(value)
        is_attrs = len(args) > 1 and issubclass(type(args[1]), attrs.Attribute)
        return plain_text(args[0] if is_attrs else value)
    except BaseException:  # a class of others, or a number that is too long for Python to write
        return f"something that cannot be shown: {class_name(value)}"


def _is_plain(text: str, most: int) -> bool:
    # Nearly every text is: short and printable, and no "@" may end the credentials of a URL.
    if len(text) > most or not text.isprintable():
        return False
    return "@" not in text or not (":/" in text or ":\\" in text)


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _cut(text: str, most: int, escape: Callable[[str], str]) -> tuple[str, str]:
    # First the credentials: where they are cut in two, no "@" tells them any more.
    at = "@" if len(text) > _WINDOW and _GOES_ON.match(text, _WINDOW, 2 * _WINDOW) else ""
    window = text[:_WINDOW] + at
    public = _CREDENTIALS.sub(rf"\g<keep>{HIDDEN}@", window)
    rest = f"… of {len(text)}"
    pieces: list[str] = []
    left = most
    for char in public[: most + 1]:
        piece = escape(char)
        left -= len(piece)
        if left < 0:
            return "".join(pieces), rest
        pieces.append(piece)
    return "".join(pieces), rest if len(text) > _WINDOW else ""
