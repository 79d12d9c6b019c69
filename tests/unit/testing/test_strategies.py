"""Hypothesis strategies for a user's own messages and methods, made from their definitions."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby_plugins.subsystems import Subsystem, remote
from moby_plugins.testing.strategies import MethodCall, messages, method_calls

CELSIUS = st.floats(-90, 60)


def _possible(_: object, __: object, value: float) -> None:
    if not -90 <= value <= 60:
        raise ValueError(f"{value} °C is no weather")


@attrs.frozen
class Forecast:
    """A message with a field that its type says too little of."""

    celsius: float = attrs.field(validator=_possible)
    warnings: tuple[str, ...] = ()
    by_hour: Mapping[str, list[int | None]] = attrs.field(factory=dict)


class WeatherStation(Subsystem):
    """A subsystem of a user's own."""

    @remote()
    def forecast(self, city: str, days: int) -> Forecast:
        raise NotImplementedError

    @remote()
    def watch(self, until: Callable[[], bool]) -> None:
        raise NotImplementedError


@given(messages(Forecast, {(Forecast, "celsius"): CELSIUS}))
def test_a_drawn_message_has_fields_of_their_types(forecast: Forecast) -> None:
    """Each field is drawn by its type, or from the strategy that is given for it."""
    assert isinstance(forecast, Forecast)
    assert all(isinstance(warning, str) for warning in forecast.warnings)
    assert all(isinstance(hours, list) for hours in forecast.by_hour.values())


@given(
    method_calls(
        WeatherStation,
        "forecast",
        {(Forecast, "celsius"): CELSIUS, (WeatherStation, "forecast.days"): st.integers(1, 7)},
    )
)
def test_a_drawn_call_has_arguments_and_a_result(call: MethodCall) -> None:
    """Both are drawn by the method's signature, or from the strategies that are given for them."""
    city, days = call.arguments

    assert isinstance(city, str)
    assert 1 <= days <= 7
    assert isinstance(call.result, Forecast)


@pytest.mark.parametrize(
    "make", [lambda: messages(set), lambda: method_calls(WeatherStation, "watch")]
)
def test_a_type_without_a_form_in_json_is_an_error(make: Callable[[], Any]) -> None:
    """The TypeError says to give a strategy for the type in ``fields``."""
    with pytest.raises(TypeError, match="give one in fields"):
        make()
