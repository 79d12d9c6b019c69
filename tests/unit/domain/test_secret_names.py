"""Names of secrets, and where secrets stand in a text."""

from moby_plugins.domain.secret_names import LOOSE, SETTING, is_flag, is_secret, mask_settings
from tests.cases import every


@every("name", ["pass", "DB_PASS", "dbpwd", "pw", "Session-Key", "tls.key", "auths", "jwt", "OTP2"])
def test_the_end_of_a_name_shows_that_it_names_a_secret(name: str) -> None:
    """The case of letters and the marks between words, as in tls.key, do not matter."""
    assert is_secret(name)
    assert is_secret(name.upper())
    assert is_flag(f"--{name}")


@every("name", ["", "compass", "OLDPWD", "key", "monkey", "assigned", "passage"])
def test_a_name_that_ends_like_a_secret_by_chance_is_not_secret(name: str) -> None:
    """Names such as compass and monkey are harmless, though they end in pass and key."""
    assert not is_secret(name)


def test_a_masked_setting_ends_with_its_option_or_its_line() -> None:
    """SETTING masks up to the next comma, and LOOSE, for text outside JSON, the whole line."""
    text = "a=1,token=hunter2,b=2"

    assert mask_settings(text, SETTING) == "a=1,token=***,b=2"
    assert mask_settings(text, LOOSE) == "a=1,token=***"
    assert mask_settings("token: 'a b', c", SETTING) == "token: '***', c"


def test_credentials_after_basic_or_bearer_are_masked() -> None:
    """The scheme may be in any case of letters, and needs no name before it."""
    for scheme in ("Basic", "BASIC", "bearer", "Bearer"):
        text = f"{scheme} aHVudGVyMg=="
        assert mask_settings(text, SETTING) == f"{scheme} ***"


def test_each_of_several_settings_in_a_text_is_masked() -> None:
    """The words between the settings are kept."""
    text = "x token=a y password=b z pass=c"

    assert mask_settings(text, SETTING) == "x token=*** y password=*** z pass=***"
    assert mask_settings("token=password=a b", SETTING) == "token=*** b"
