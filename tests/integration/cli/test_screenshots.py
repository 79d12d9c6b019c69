"""The pictures of the command line, compared with what it does."""

import pytest

from tests.screenshots import IMAGES, pictures, text_of


@pytest.fixture(scope="module")
def taken() -> dict[str, str]:
    """Pictures of today."""
    return pictures()


@pytest.mark.parametrize("name", ["ls", "check", "trace", "doctor"])
def test_a_committed_picture_shows_what_the_command_prints_now(
    name: str, taken: dict[str, str]
) -> None:
    """``make screenshots`` takes the pictures again; their text is compared, not the drawing."""
    committed = (IMAGES / f"{name}.svg").read_text(encoding="utf-8")

    assert text_of(committed) == text_of(taken[name])
    assert len(text_of(committed)) > 5
    assert "http" not in committed.replace("http://www.w3.org/", "").replace(
        "https://www.textualize.io", ""
    )


def test_every_committed_picture_is_one_that_the_script_takes(taken: dict[str, str]) -> None:
    """None is left of a command that is no longer shown; two other images are made elsewhere."""
    assert {path.stem for path in IMAGES.iterdir()} - {"perfetto", "who-waits"} == {*taken}
