"""Every check on plugins that answer anything: a thousand runs, which take their time by nature."""

import json

import pytest

from moby_plugins import Request
from moby_plugins.checks import built_in_checks
from moby_plugins.domain.http import App
from tests.unit.checks.broken import Broken, body_of, does, result
from tests.unit.checks.broken_logs import HASTY
from tests.unit.checks.good_plugin import good_plugin

CHECKS = {item.id: item for item in built_in_checks()}


@pytest.mark.parametrize("body", [b"404 page not found", b'[{"x": [7]}]', b""])
def test_no_response_breaks_a_check(body: bytes) -> None:
    """A check judges any response of any method; it makes no mistake of its own."""
    odd = Broken(does(lambda *_: body), options=HASTY)
    app = odd.breaks(good_plugin())

    for item in CHECKS.values():
        found = result(item, app, odd)

        assert "the check itself failed" not in found.came_back, item.id


@pytest.mark.parametrize("value", [7, {"x": 7}])
def test_no_value_breaks_a_check(value: object) -> None:
    """The same for an answer whose keys are right, and whose values are of another kind."""

    def odd(request: Request, good: App) -> object:
        if request.method.startswith(("LogDriver.ReadLogs", "GraphDriver.Diff")):
            return good(request)
        told = json.loads(body_of(good(request)) or b"{}")
        return dict.fromkeys(told, value)

    broken = Broken(does(odd), options=HASTY)
    app = broken.breaks(good_plugin())
    for item in CHECKS.values():
        found = result(item, app, broken)

        assert "the check itself failed" not in found.came_back, item.id
