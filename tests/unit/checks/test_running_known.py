"""All checks: what they cover, which packages offer them, and what they change."""

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from moby_plugins import Request, SettingsError
from moby_plugins.checks import (
    Session,
    Target,
    all_checks,
    built_in_checks,
    check,
    checks_in,
    run_checks,
    select,
)
from moby_plugins.domain.address import Address
from moby_plugins.subsystems import ENGINE_SUBSYSTEMS
from moby_plugins.testing import FakeClock, MemoryTransport
from tests.unit.checks.broken import OPTIONS
from tests.unit.checks.good_plugin import good_plugin

SUBSYSTEMS = [kind.implements for kind in ENGINE_SUBSYSTEMS]
# What an engine may ask at any time without changing anything.
HARMLESS = {
    "Plugin.Activate",
    "AuthZPlugin.AuthZReq",
    "AuthZPlugin.AuthZRes",
    "GraphDriver.Exists",
    "GraphDriver.GetMetadata",
    "IpamDriver.GetCapabilities",
    "IpamDriver.GetDefaultAddressSpaces",
    "IpamDriver.ReleaseAddress",  # of a pool that there is not
    "LogDriver.Capabilities",
    "LogDriver.ReadLogs",
    "NetworkDriver.EndpointOperInfo",
    "NetworkDriver.GetCapabilities",
    "SecretProvider.GetSecret",
    "VolumeDriver.Capabilities",
    "VolumeDriver.Get",
    "VolumeDriver.List",
    "VolumeDriver.Path",
}


def calls_of(*, reads_only: bool) -> MemoryTransport:
    """What all checks, or those that read only, call on a good plugin that is asked in memory."""
    clock = FakeClock()
    plugin = MemoryTransport(good_plugin(), clock=clock)
    target = Target(plugin, Address("unix:///x.sock"), clock=clock, options=OPTIONS)
    subsystems = ["Plugin", *SUBSYSTEMS]
    checks = select(built_in_checks(), subsystems=subsystems, reads_only=reads_only)
    assert len(list(run_checks(checks, target))) == len(checks)
    return plugin


def test_each_subsystem_has_checks_of_its_own() -> None:
    """No two checks have the same id."""
    known = built_in_checks()

    assert len(known) > 150
    assert {item.subsystem for item in known} == {"Plugin", *SUBSYSTEMS}
    assert len({item.id for item in known}) == len(known)


def test_the_checks_call_every_method_that_engines_call() -> None:
    """Every subsystem is covered, and the volumes that checks create are removed."""
    plugin = calls_of(reads_only=False)

    called = {call.method.partition("?")[0] for call in plugin.calls}
    methods = {remote.method for kind in ENGINE_SUBSYSTEMS for remote in kind.remotes.values()}
    assert methods - called == set()
    left = plugin.send(Request("VolumeDriver.List"), None).body.read(1000)
    assert json.loads(left) == {"Volumes": []}


def test_every_trap_of_the_protocol_has_a_check() -> None:
    """Each of the twenty traps in protocol.md is named as the source of a check."""
    sources = " ".join(item.source for item in built_in_checks()).replace(",", " ").split()
    named = {int(number) for trap, number in pairwise(sources) if trap == "trap"}

    assert sorted(named) == list(range(1, 21))


def test_checks_that_read_only_change_nothing_in_the_plugin() -> None:
    """Checks marked as reading only call no method that changes anything."""
    called = {call.method for call in calls_of(reads_only=True).calls}

    unknown = {method for method in called if method.endswith(".MobyPluginsCheck")}
    assert called - unknown == HARMLESS


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A directory where packages are installed for the test."""
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("weather_checks")]:
        del sys.modules[name]


def install(site: Path, module: str, entry: str, code: str) -> None:
    """A package that offers checks."""
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[moby_plugins.checks]\nweather = {entry}\n")


CODE = """
from moby_plugins.checks import Session, check, require

@check("WeatherStation", "forecast", expects="there is one", source="its README")
def forecast(plugin: Session) -> None:
    require(plugin.call("WeatherStation.Forecast", {"City": "Oslo"}).get("celsius"), "none")

ONE = (forecast,)
NONE = 7
"""


@pytest.mark.parametrize(
    "entry", ["weather_checks", "weather_checks:forecast", "weather_checks:ONE"]
)
def test_an_installed_package_adds_checks(site: Path, entry: str) -> None:
    """Its entry point may name a module, a check, or a tuple of checks."""
    install(site, "weather_checks", entry, CODE)

    *built_in, added = all_checks()

    assert tuple(built_in) == built_in_checks()
    assert (added.id, added.reads_only) == ("WeatherStation: forecast", False)


@pytest.mark.parametrize(
    ("code", "why"), [(CODE, "7 is not a check"), ("import nothing_like_it", "No module named")]
)
def test_the_error_of_checks_that_cannot_be_loaded_names_their_entry_point(
    site: Path, code: str, why: str
) -> None:
    """The error also says what is wrong."""
    install(site, "weather_checks", "weather_checks:NONE", code)

    with pytest.raises(SettingsError, match=f"the checks 'weather' cannot be loaded: {why}"):
        all_checks()


def test_the_docstring_of_a_check_says_what_it_expects() -> None:
    """The first paragraph is used; a check without a name gets that of its function."""

    @check("Thing", source="B0")
    def made_and_kept(_: Session) -> None:
        """A thing that was made is there.

        How it was made does not matter.
        """

    assert (made_and_kept.id, made_and_kept.expects) == (
        "Thing: made and kept",
        "A thing that was made is there",
    )


def test_the_argument_expects_takes_precedence_over_the_docstring() -> None:
    """Without either of them, the name of the check is used."""

    def made(_: Session) -> None:
        """Nothing of this is shown."""

    told = check("Thing", "made", expects="it is there", source="B0")(made)
    silent = check("Thing", "made at once", source="B0")(lambda _: None)

    assert told.expects == "it is there"
    assert silent.expects == "made at once"


def test_checks_are_collected_from_a_module() -> None:
    """Each check is collected once, in the module's order, from tuples as well."""
    one, two = (
        check("Thing", name, expects="x", source="B0")(lambda _: None) for name in ("one", "two")
    )
    module = ModuleType("things")
    vars(module).update(first=two, both=(one, two), other="x")

    assert checks_in(module) == (two, one)
