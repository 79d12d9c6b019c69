"""Make foreign text safe to display: that of a plugin, a file, a caller or another library.

Such text may have any size, and may hold line ends that forge a line of a log, sequences that
move a terminal's cursor, or a password in an address. ``shown`` returns what is displayed in its
place: in texts of errors, in the log, and on the screen. Attributes of errors and JSON output keep
the complete text.
"""

import re
from collections.abc import Callable, Iterable

import attrs

# The most characters shown of a foreign text; "… of N" follows if there are more.
MAX_TEXT = 300
# The same for a sentence of this library that quotes such a text, which was cut before.
MAX_SENTENCE = 500
# The most characters of an error that are sent to a host: in any encoding fewer bytes than the
# 1 MiB that hosts read of an error.
MAX_ERROR_TEXT = 60_000
HIDDEN = "***"
# How similar two texts must be for one to count as a misspelling of the other, from 0 to 1.
NEAR, VERY_NEAR = 0.6, 0.7

# How much of a text is processed, so that a text of many megabytes takes no longer.
_WINDOW = 1 << 16

# A URL's user name and password: up to the last "@" before a slash, and beyond a slash if no port
# precedes it, since a password may hold one. After "unix://" follows a path instead. JSON may
# escape a slash with a backslash. The match stops at the next URL, so nothing is read twice.
_CREDENTIALS = re.compile(
    r"(?<![^\w+.-]unix)(?<!\Aunix)(?P<keep>:(?:\\?/){2})"
    r"(?:[^\s/]*@|/?(?!\[)[^\s/?#:@]*:(?!\d{1,5}(?:[/?#]|\s|\Z))(?:(?!:\\?/)\S)*@)",
    re.IGNORECASE,
)
# Descriptors of the built-in classes, which foreign classes cannot override.
_CLASS_NAME = vars(type)["__name__"].__get__
_ARGUMENTS = vars(BaseException)["args"].__get__
# Whether the processed part of a text may end within a user name or a password.
_GOES_ON = re.compile(r"[^\s/]*@")


def shown(value: object, most: int = MAX_TEXT) -> str:
    r"""Return ``value`` as one printable line of at most ``most`` characters.

    Strings and exceptions are shown as their text, other values as their ``repr``. Characters that
    are not printable are escaped: ``\n``, ``\x1b``, ``\u202e``, ``\udcff``. User names and
    passwords of URLs are hidden. After a text that is cut follows ``… of N``, its length.
    """
    text = _text_of(value)
    if _is_plain(text, most):
        return text
    return "".join(_cut(text, most, _escaped))


def quoted(value: object, most: int = MAX_TEXT) -> str:
    """Return ``shown(value)``, with a string in quotes: ``'shelf'``."""
    if not isinstance(value, str):
        return shown(value, most)
    if _is_plain(value, most) and "'" not in value and "\\" not in value:
        return f"'{value}'"
    mark = repr(value[:most])[0]

    def escape(char: str) -> str:
        return f"\\{mark}" if char == mark else repr(char)[1:-1]

    start, rest = _cut(value, most, escape)
    return f"{mark}{start}{mark}{rest}"


def sentence(value: object) -> str:
    """Return a sentence of this library as one printable line; its foreign texts are cut before."""
    return shown(value, MAX_SENTENCE)


def is_encodable(path: str) -> bool:
    """Return whether ``path`` can be encoded to bytes, as ``os.fsencode`` does it in UTF-8."""
    try:
        path.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def bounded(text: str) -> str:
    """Return ``text`` for the body of an error response, cut if it is very long."""
    if len(text) <= MAX_ERROR_TEXT:
        return text
    return f"{text[:MAX_ERROR_TEXT]}… of {len(text)}"


def listed(values: Iterable[object], empty: str = "nothing") -> str:
    """Return the texts of ``values``, joined by commas and made printable; ``empty`` for none."""
    return shown(", ".join(map(_text_of, values))) or empty


def nearest(word: str, known: Iterable[str], alike: float = NEAR) -> str:
    """Return the item of ``known`` that is most similar to ``word``, or "" if none is.

    Letters may differ in case, and a few may be wrong, missing, added or swapped.
    """
    from difflib import get_close_matches  # imported here, as hosts do not need it

    by_fold = {each.casefold(): each for each in known}
    matches = get_close_matches(word.casefold(), by_fold, 1, alike)
    return by_fold[matches[0]] if matches else ""


def class_name(value: object) -> str:
    """Return the name of the class of ``value``, even if a metaclass overrides ``__name__``."""
    name: str = _CLASS_NAME(type(value))
    return name


def plain_text(value: object) -> str:
    """Return ``str(value)`` as a plain ``str``, never a subclass; exceptions pass through."""
    return str.__str__(str(value))


def _text_of(value: object) -> str:
    if type(value) is str:
        return value
    try:
        if not issubclass(type(value), BaseException):
            return plain_text(value if issubclass(type(value), str) else repr(value))
        # A validator of attrs raises its message together with the attribute and the value.
        args = _ARGUMENTS(value)
        is_attrs = len(args) > 1 and issubclass(type(args[1]), attrs.Attribute)
        return plain_text(args[0] if is_attrs else value)
    except BaseException:  # from a foreign class, or a number that is too long for Python to print
        return f"something that cannot be shown: {class_name(value)}"


def _is_plain(text: str, most: int) -> bool:
    # The usual case: short and printable, and without an "@" that may end credentials of a URL.
    if len(text) > most or not text.isprintable():
        return False
    return "@" not in text or not (":/" in text or ":\\" in text)


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _cut(text: str, most: int, escape: Callable[[str], str]) -> tuple[str, str]:
    # Hide credentials first: if they were cut in two, the "@" that marks them would be missing.
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
