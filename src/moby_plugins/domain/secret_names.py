"""Find secrets in a text by their names and by their usual forms.

The end of a name shows whether it names a secret (``DB_PASSWORD``, ``accountKey``, ``token2``), in
any case of letters. In a text, secrets are what follows such a name and ``=`` or ``:``, or a flag
such as ``--password``. Without a name, they are the user in a URL, private keys, tokens with a
known prefix, and values of HTTP's ``Authorization``. Since plugins may send any text, the time
taken is at most proportional to its length.
"""

import re
from collections.abc import Callable, Iterator
from unicodedata import normalize

MASK = "***"

_KEYS = (
    *("access", "account", "api", "auth", "ca", "client", "crypt(?:o|ion)?", "encryption"),
    *("master", "private", "secret", "server", "session", "shared", "signing", "ssh", "storage"),
    *("tls", "unlock"),
)
_NAMES = (
    r"(?:pass[ _.-]*(?:word|wd|phrase|code)|passwort|secret|token|authorization|cookie|jwt|auth"
    r"|cred(?:ential)?|signature|(?<!by)(?<!com)(?<!sur)(?<!tres)(?<!over)(?<!under)pass"
    r"|(?<![a-z])(?:sig|pw|otp)|(?<=[a-z0-9_.-])(?<!old)pwd|(?-i:(?<!\w)[pP]wd)"
    rf"|(?:{'|'.join(_KEYS)})[ _.-]*key)s?|x-registry-config"
)
# What may follow such a name in a key: PasswordHash, secret_value, TOKEN2.
_TAIL = (
    r"(?:[ _.-]*(?:value|string|confirm(?:ation)?|\[\d*\]|binary|data|hash|base64|b64|plain|text"
    r"|content|old|new|\d{1,4}))?"
)
_SECRET = rf"(?:{_NAMES}){_TAIL}"
# How names of ``_NAMES`` begin. Searching for these first takes a hundredth of the time.
_BEGINNINGS = (
    *("pass", "secret", "token", "auth", "cookie", "jwt", "cred", "sig", "pw", "otp"),
    *(word.partition("(")[0] for word in _KEYS),
    "x-registry-config",
)
_STARTS = re.compile(
    "|".join(
        "".join({"s": "[sS\u017f]", "k": "[kK\u212a]"}.get(c, f"[{c}{c.upper()}]") for c in word)
        for word in _BEGINNINGS
    )
)
_ENDS_SECRET = re.compile(rf"{_SECRET}[\s_.:-]*\Z", re.IGNORECASE)
_NAMED = re.compile(_SECRET, re.IGNORECASE)
_QUOTED = r""""(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?"""
_OPTION = rf"{_QUOTED}|(?:(?:basic|bearer|digest|negotiate)\s+)?[^,;&\s]+"
# A block of YAML continues over all indented lines.
_BLOCK = r"[|>][-+\d]{0,2}[ \t]*(?:\r?\n(?:[ \t]+[^\r\n]*|(?=\r?\n)))+"
_LINE = rf"{_QUOTED}|{_BLOCK}|[^\s][^\r\n]*"
_ELEMENT = rf"(?P<keep3>{_SECRET}\s*>)(?P<hide3>[^<]+)"
# In a text: an option after "=", or the rest of the line after a colon.
SETTING = re.compile(
    rf"""(?P<keep>{_SECRET}[\\"']*\s*:\s*)(?P<hide>{_LINE})"""
    rf"""|(?P<keep2>{_SECRET}[\\"']*\s{{0,4}}=\s{{0,4}})(?P<hide2>{_OPTION})"""
    rf"""|{_ELEMENT}""",
    re.IGNORECASE,
)
# In a text that is not JSON.
LOOSE = re.compile(
    rf"""(?P<keep>{_SECRET}[\\"']*\s*[:=]\s*)(?P<hide>{_LINE})|{_ELEMENT}""", re.IGNORECASE
)
_PRIVATE_KEY = re.compile(
    r"(?P<keep>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)"
    r"(?P<hide>.*?)(?=-----END [A-Z0-9 ]{0,40}PRIVATE KEY|\Z)",
    re.DOTALL,
)
# How tokens of ``_KNOWN_TOKEN`` begin. Searching for these first takes less time.
_TOKENS = ("eyJ", "gh", "glpat-", "dckr_pat_", "SWM")
_KNOWN_TOKEN = re.compile(
    r"(?P<keep>(?<![\w-]))(?P<hide>eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?:gh[pousr]_|glpat-|dckr_pat_|SWMTKN-|SWMKEY-)[\w-]{16,})"
)
_SCHEME = re.compile(
    r"(?P<keep>\bbearer\s+)(?P<hide>[\w.~+/=-]{6,})"
    r"|(?P<keep2>\bbasic\s+)(?P<hide2>(?=[a-z]*[\d+/=]|(?-i:[A-Za-z]+[A-Z]))[a-z0-9+/_=-]{4,})",
    re.IGNORECASE,
)
_AFTER_FLAG = re.compile(
    rf"(?P<keep>(?<!\S)--?[\w.-]{{0,64}}{_SECRET}\s+)(?P<hide>{_QUOTED}|\S+)", re.IGNORECASE
)
_WORD = re.compile(r"""[^\s"'<>]+""")
_USER = re.compile(r"(?P<keep>//)(?P<hide>[^/?#:@]*:(?!\d{1,5}[/?#]).*|[^/?#]+)(?=@)")
# A longer word that holds a URL with a user is masked whole.
_LONGEST_URL = 4096
_FLAG = re.compile(rf"--?[\w.-]*{_SECRET}", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """Return whether the value under ``key`` is secret; Unicode variants of letters too."""
    if not key.isascii():
        key = "".join(filter(str.isprintable, normalize("NFKC", key)))
    return any(_ENDS_SECRET.match(key, start) for start in _starts(key))


def is_flag(text: str) -> bool:
    """Return whether ``text`` is a command-line option whose value is secret."""
    return _FLAG.fullmatch(text) is not None


def names_secret(text: str) -> bool:
    """Return whether the name of a secret occurs anywhere in ``text``."""
    return any(_NAMED.match(text, start) for start in _starts(text))


def holds_token(text: str) -> bool:
    """Return whether a token with a known prefix, such as ``ghp_``, occurs in ``text``."""
    return any(prefix in text for prefix in _TOKENS) and _KNOWN_TOKEN.search(text) is not None


def masked_value(value: str) -> str:
    """Return ``***`` in place of ``value``, in quotes if ``value`` begins with a quote."""
    if value[:1] in ("'", '"'):
        return value[0] + MASK + value[0]
    return MASK


def mask_settings(
    text: str, named: "re.Pattern[str]", replace: Callable[[str], str] = masked_value
) -> str:
    """Return ``text`` with the secrets replaced.

    Secrets are private keys, tokens, credentials, and what ``named`` matches after a secret's name.
    ``replace`` returns the text to put in place of a secret.
    """

    def hide(match: "re.Match[str]") -> str:
        keep, hidden = (group for group in match.groups() if group is not None)
        return str(keep + replace(hidden))

    folded = text.casefold()
    if "private key" in folded:
        text = _PRIVATE_KEY.sub(hide, text)
    if "//" in text and "@" in text:
        text = _WORD.sub(lambda word: _without_user(word[0], replace), text)
    if "bearer" in folded or "basic" in folded:
        text = _SCHEME.sub(hide, text)
    if holds_token(text):
        text = _KNOWN_TOKEN.sub(hide, text)
    if "-" in text and next(_starts(text), None) is not None:
        text = _AFTER_FLAG.sub(hide, text)
    pieces, end = [], 0
    for start in _starts(text):
        match = named.match(text, start) if start >= end else None
        if match is not None:
            pieces += [text[end:start], hide(match)]
            end = match.end()
    return "".join((*pieces, text[end:]))


def _starts(text: str) -> Iterator[int]:
    """Yield the positions in ``text`` at which the name of a secret may begin."""
    folded = text.casefold()
    if not any(word in folded for word in _BEGINNINGS):
        return
    match = _STARTS.search(text)
    while match is not None:
        yield match.start()
        match = _STARTS.search(text, match.start() + 1)


def _without_user(word: str, replace: Callable[[str], str]) -> str:
    if "//" not in word or "@" not in word:
        return word
    if len(word) > _LONGEST_URL:
        return replace(word)
    return _USER.sub(lambda match: match["keep"] + replace(match["hide"]), word, count=1)
