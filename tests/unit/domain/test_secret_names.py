"""Names of secrets, and where secrets stand in a text."""

from moby_plugins.domain.secret_names import LOOSE, SETTING, is_flag, is_secret, mask_settings
from tests.cases import every


@every("name", ["pass", "DB_PASS", "dbpwd", "pw", "Session-Key", "tls.key", "auths", "jwt", "OTP2"])
def test_a_name_is_secret_by_its_end(name: str) -> None:
    """In any case of letters and with any mark between its words."""
    assert is_secret(name)
    assert is_secret(name.upper())
    assert is_flag(f"--{name}")


@every("name", ["", "compass", "OLDPWD", "key", "monkey", "assigned", "passage"])
def test_other_names_are_not(name: str) -> None:
    """A word that ends like one by chance."""
    assert not is_secret(name)


def test_a_setting_ends_where_the_next_one_begins() -> None:
    """In a list of options it ends with its option; outside JSON it ends with the line."""
    text = "a=1,token=hunter2,b=2"

    assert mask_settings(text, SETTING) == "a=1,token=***,b=2"
    assert mask_settings(text, LOOSE) == "a=1,token=***"
    assert mask_settings("token: 'a b', c", SETTING) == "token: '***', c"


def test_a_scheme_is_masked_by_itself() -> None:
    """In any case of letters, and without a name before it."""
    for scheme in ("Basic", "BASIC", "bearer", "Bearer"):
        text = f"{scheme} aHVudGVyMg=="
        assert mask_settings(text, SETTING) == f"{scheme} ***"


def test_several_settings_are_masked_each() -> None:
    """And what is between them is kept, with what only looks like a secret's name."""
    text = "x token=a y password=b z pass=c"

    assert mask_settings(text, SETTING) == "x token=*** y password=*** z pass=***"
    assert mask_settings("token=password=a b", SETTING) == "token=*** b"
