"""Suggestions for misspelled texts."""

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
def test_the_most_similar_known_word_is_suggested(given: str, meant: str) -> None:
    """Letters may be wrong, missing, doubled, swapped or in another case."""
    assert nearest(given, KNOWN) == meant
    assert nearest(given, []) == ""


def test_the_required_similarity_of_a_suggestion_can_be_chosen() -> None:
    """One of five letters may differ by default, but not where 90 % must be alike."""
    assert nearest("shell", ["shelf"]) == "shelf"
    assert nearest("shell", ["shelf"], 0.9) == ""
