"""Responses of engines, in ``tests/vectors/engine.json``, are read as plugins."""

import json
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.domain.managed import found_plugin, read_plugin, read_plugins

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "engine.json").read_text()
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["told"]["Name"])
def test_an_engines_description_gives_the_expected_plugin(vector: dict[str, Any]) -> None:
    """One vector was recorded from Docker, another was made from the types of Moby's source."""
    plugin = read_plugin(vector["told"])
    found = found_plugin(plugin, "/d")
    want = vector["want"]

    assert (plugin.name, plugin.enabled) == (vector["told"]["Name"], vector["told"]["Enabled"])
    assert [*found.manifest.implements] == want["implements"]
    assert (found.name, found.addr) == (plugin.name, want["addr"])
    assert [*plugin.environment] == want["environment"]
    mounts = [[each.name, each.source, each.destination] for each in plugin.mounts]
    assert mounts == want["mounts"]
    assert {path: found.scoped_path(path) for path in want["scoped"]} == want["scoped"]


def test_plugins_of_an_engine_are_sorted_by_name() -> None:
    """Engines list plugins in no particular order; null is read as an empty list."""
    told = [vector["told"] for vector in VECTORS]

    assert [each.name for each in read_plugins(told)] == sorted(each["Name"] for each in told)
    assert read_plugins(None) == ()
