"""Results of checks as JUnit XML."""

from xml.etree import ElementTree as ET

from moby_plugins.checks import Check, CheckOutcome, CheckResult, as_junit

CHECK = Check("authz", "a & b", expects="<it>", source="B5", function=lambda _: None)


def test_results_of_checks_are_written_as_junit_xml() -> None:
    """Failures, skips and warnings say what came back; counts and times add up."""
    results = [
        CheckResult(CHECK, CheckOutcome.PASSED, seconds=0.25),
        CheckResult(CHECK, CheckOutcome.FAILED, 'a "quoted" <tag>', 0.5),
        CheckResult(CHECK, CheckOutcome.SKIPPED, "why"),
        CheckResult(CHECK, CheckOutcome.WARNED, "careful"),
    ]

    (suite,) = ET.fromstring(as_junit(results, "shelf"))  # noqa: S314  our own

    counts = [suite.get(key) for key in ("tests", "failures", "errors", "skipped", "time")]
    assert counts == ["4", "1", "0", "1", "0.750"]
    assert suite.get("name") == "moby-plugins check shelf"
    passed, failed, skipped, warned = suite
    assert (passed.get("classname"), passed.get("name")) == ("authz", "a & b")
    assert not list(passed)
    assert failed[0].get("message") == 'a "quoted" <tag>'
    assert failed[0].text == 'expected: <it> (B5)\ncame back: a "quoted" <tag>'
    assert (skipped[0].tag, skipped[0].get("message")) == ("skipped", "why")
    assert (warned[0].tag, warned[0].text) == ("system-out", "warning: careful")


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    """A plugin's control characters do not break the file."""
    text = as_junit([CheckResult(CHECK, CheckOutcome.FAILED, "\x1b[31m\ud800\x00")], "\x07")

    (suite,) = ET.fromstring(text)  # noqa: S314  our own
    assert suite[0][0].get("message") == "\ufffd[31m\ufffd\ufffd"
