"""Findings as JUnit XML, which build servers read."""

import re
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from moby_plugins.checks.check import Finding, Verdict

# What XML cannot hold, not even escaped.
_CONTROL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(findings: Iterable[Finding], plugin: str) -> str:
    """A document with one suite, of ``plugin``, and a case for each finding.

    JUnit knows no warnings: a check that warned has passed, with the warning as its output.
    """
    cases = list(findings)
    count = {verdict: sum(each.verdict is verdict for each in cases) for verdict in Verdict}
    suite = ET.Element(
        "testsuite",
        name=_text(f"moby-plugins check {plugin}"),
        tests=str(len(cases)),
        failures=str(count[Verdict.FAILED]),
        errors="0",
        skipped=str(count[Verdict.SKIPPED]),
        time=f"{sum(each.seconds for each in cases):.3f}",
    )
    for each in cases:
        suite.append(_case(each))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(finding: Finding) -> ET.Element:
    item = finding.check
    case = ET.Element(
        "testcase", classname=item.subsystem, name=item.name, time=f"{finding.seconds:.3f}"
    )
    told = _text(finding.came_back)
    if finding.verdict is Verdict.FAILED:
        failure = ET.SubElement(case, "failure", message=told)
        failure.text = _text(f"expected: {item.expects} ({item.source})\ncame back: {told}")
    elif finding.verdict is Verdict.SKIPPED:
        ET.SubElement(case, "skipped", message=told)
    elif finding.verdict is Verdict.WARNED:
        ET.SubElement(case, "system-out").text = f"warning: {told}"
    return case


def _text(value: str) -> str:
    return _CONTROL.sub("\ufffd", value)
