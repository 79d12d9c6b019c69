"""The guide "Observe" describes every metric and log line that exists, and no other."""

import ast
import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from moby_plugins import PrometheusObserver
from tests.cases import every

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src/moby_plugins"
PAGE = (ROOT / "docs/observing.md").read_text("utf-8")
# Lines without a text of their own at the call: what the page says of them instead.
TOLD_OTHERWISE = {
    "adapters/disk/discovery.py": "`PATH: CONCERN`",
    "adapters/observing/logging.py": "lines of `moby_plugins.calls`, `.plugins`, `.requests`",
    "adapters/server/cheroot_server.py": "what cheroot reports",
    "app/config.py": "`ADDRESS: CONCERN`",
    "app/leading.py": "`closing the client of plugin NAME failed`",
    "app/plugin_server.py": "`the server at ADDRESS has ended by itself`",
    "app/serving.py": "`METHOD STATUS N bytes N ms`",
    "failures.py": "`METHOD failed: ERROR`",
}
LOGGERS = {"logger", "access", "calls", "plugins", "requests"}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
FAILURES = {"log_failure", "log_failed_call"}


def logged(call: ast.Call) -> ast.expr | None:
    """The text that ``call`` logs, if it logs one."""
    function = call.func
    if isinstance(function, ast.Name) and function.id in FAILURES:
        return call.args[0]
    if isinstance(function, ast.Name) and function.id == "log_line":
        return call.args[1]
    if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
        return None
    if function.value.id not in LOGGERS or function.attr not in LEVELS:
        return None
    return call.args[1 if function.attr == "log" else 0]


def words_of(text: ast.expr) -> list[str]:
    """What is always the same in a text, without what is filled in."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    whole = "".join(
        str(part.value) if isinstance(part, ast.Constant) else "%s"
        for part in parts
        if isinstance(part, (ast.Constant, ast.FormattedValue))
    )
    pieces = re.split(r"%[-.\d]*[a-zA-Z]", whole)
    return [piece.strip(" :;,/'") for piece in pieces if len(piece.strip(" :;,/'")) > 4]


# Most modules log nothing, and need not be parsed.
FUNCTIONS = "|".join([*FAILURES, "log_line"])
LOGGING = re.compile(rf"\b(({'|'.join(LOGGERS)})\.({'|'.join(LEVELS)})|{FUNCTIONS})\b")
LINES = [
    (path.relative_to(SOURCES).as_posix(), text)
    for path in sorted(SOURCES.rglob("*.py"))
    if LOGGING.search(source := path.read_text("utf-8"))
    for call in ast.walk(ast.parse(source))
    if isinstance(call, ast.Call) and (text := logged(call)) is not None
]


def test_the_guide_explains_every_message_that_is_logged() -> None:
    """A message is found by its fixed words, or by its module's entry in ``TOLD_OTHERWISE``."""
    rows = [row for row in PAGE.splitlines() if row.startswith("| ")]
    missing = []
    for module, text in LINES:
        words = words_of(text)
        told = words or [TOLD_OTHERWISE.get(module, "nothing")]
        beginnings = [" ".join(each.split()[:6]) for each in told]
        if not any(all(each in row for each in beginnings) for row in rows):
            missing.append((module, told))

    assert missing == []
    assert len(LINES) > 45


def exported() -> set[str]:
    """The names of all series that are exported, in full."""
    registry = CollectorRegistry()
    PrometheusObserver(registry)
    return {
        f"{metric.name}{suffix}"
        for metric in registry.collect()
        for suffix in {
            "counter": ("_total",),
            "gauge": ("",),
            "histogram": ("_bucket", "_count", "_sum"),
        }[metric.type]
    }


def test_the_guide_lists_exactly_the_metrics_that_are_exported() -> None:
    """Its tables name each metric of the Prometheus observer, and no other."""
    tables = PAGE.partition("| host: ")[2].partition("The number of series")[0]
    told = {name for name in re.findall(r"`(\w+)`", tables) if name != "moby_plugins_"}
    there = {re.sub(r"^moby_plugins_|_(bucket|count|sum)$", "", name) for name in exported()}

    assert told == there


[BLOCK] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
RULES = [rule for group in yaml.safe_load(BLOCK)["groups"] for rule in group["rules"]]


@every("rule", RULES)
def test_alerting_rules_in_the_guide_use_exported_metrics_and_labels(rule: dict[str, str]) -> None:
    """Each metric that a rule names is exported, and each label is in the tables."""
    names = set(re.findall(r"\bmoby_plugins_\w+", rule["expr"]))
    tables = PAGE.partition("| host: ")[2].partition("The number of series")[0]
    labels = set(re.findall(r"\{(\w+)[!=]|by \((\w+)", rule["expr"]))

    assert names
    assert names <= exported()
    for label in {each for pair in labels for each in pair if each}:
        assert label == "le" or re.search(rf"\| .*\b{label}\b", tables)
    assert rule["expr"].count("(") == rule["expr"].count(")")
    assert rule["annotations"]


def test_the_guide_has_an_alerting_rule_for_each_of_five_failures() -> None:
    """A plugin is unreachable, not activated, failing or slow, or its hosts hang up."""
    assert len(RULES) == 5
