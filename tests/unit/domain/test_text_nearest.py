"""What a text with a mistake in it was meant to be."""

from moby_plugins.domain.text import nearest
from tests.cases import every

KNOWN = ["shelf", "VolumeDriver.List", "VolumeDriver.Mount", "ls", "inspect"]


@every(
    ("given", "meant"),
    [
        ("shlf", "shelf"),
        ("SHELF", "shelf"),
        ("volumedriver.list", "VolumeDriver.List"),
        ("VolumeDriver.Lst", "VolumeDriver.List"),
        ("VolumeDriver.Mont", "VolumeDriver.Mount"),
        ("lss", "ls"),
        ("inspcet", "inspect"),
        ("shelf", "shelf"),
        ("database", ""),
        ("", ""),
    ],
)
def test_the_nearest_is_found(given: str, meant: str) -> None:
    """Letters that are wrong, missing, doubled, in another order or another case."""
    assert nearest(given, KNOWN) == meant
    assert nearest(given, []) == ""


def test_how_near_it_must_be_can_be_chosen() -> None:
    """One letter of five is too many where nine tenths must be alike."""
    assert nearest("shell", ["shelf"]) == "shelf"
    assert nearest("shell", ["shelf"], 0.9) == ""
