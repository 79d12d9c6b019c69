"""Every check against plugins with odd responses: a thousand runs, which take long."""

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
def test_no_odd_response_makes_a_check_fail_by_itself(body: bytes) -> None:
    """Whatever a plugin responds with, a check judges the plugin and raises no exception."""
    odd = Broken(does(lambda *_: body), options=HASTY)
    app = odd.breaks(good_plugin())

    for item in CHECKS.values():
        found = result(item, app, odd)

        assert "the check itself failed" not in found.came_back, item.id


@pytest.mark.parametrize("value", [7, {"x": 7}])
def test_no_odd_value_makes_a_check_fail_by_itself(value: object) -> None:
    """The same is so for a response with the right keys and values of a wrong type."""

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
