"""Running checks: outcomes, clean-up and time limits."""

import math
from contextlib import suppress
from typing import Any

import pytest

from moby_plugins import TransportError, TransportTimeoutError
from moby_plugins.checks import (
    Check,
    CheckOutcome,
    CheckResult,
    Options,
    Session,
    Target,
    built_in_checks,
    check,
    fail,
    implemented_by,
    require,
    run_checks,
    select,
    skip,
    warn,
)
from moby_plugins.checks.outcome import Function
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import Response
from moby_plugins.testing import FakeClock, MemoryTransport, hangs, refused, script, status

MAKE, UNMAKE = "Thing.Make", "Thing.Unmake"


def made(function: Function, name: str = "made") -> Check:
    """A check of things."""
    return check("Thing", name, expects="it works", source="B0")(function)


def target_of(plugin: Any, options: Options | None = None) -> tuple[Target, MemoryTransport]:
    """A plugin in memory on a clock of its own, and what records its calls."""
    clock = FakeClock()
    transport = MemoryTransport(plugin, clock=clock)
    return Target(transport, Address("unix:///x.sock"), clock=clock, options=options), transport


def found(function: Function, plugin: Any, options: Options | None = None) -> CheckResult:
    """What a check made of ``function`` finds."""
    (result,) = run_checks([made(function)], target_of(plugin, options)[0])
    return result


@pytest.mark.parametrize(
    ("ends", "outcome", "came_back"),
    [
        (lambda _: None, CheckOutcome.PASSED, ""),
        (lambda _: require(1, "x"), CheckOutcome.PASSED, ""),
        (lambda _: require(0, "x"), CheckOutcome.FAILED, "x"),
        (lambda _: fail("x"), CheckOutcome.FAILED, "x"),
        (lambda _: warn(0, "x"), CheckOutcome.WARNED, "x"),
        (lambda _: skip("x"), CheckOutcome.SKIPPED, "x"),
        (lambda plugin: plugin.send(MAKE), CheckOutcome.FAILED, "memory://plugin: stale socket"),
        (
            lambda _: dict[str, str]()["x"],
            CheckOutcome.FAILED,
            "the check itself failed: KeyError: 'x'",
        ),
    ],
)
def test_the_end_of_a_check_decides_its_outcome(
    ends: Any, outcome: CheckOutcome, came_back: str
) -> None:
    """A check that returns passes; an exception makes it fail, warn or be skipped."""
    result = found(ends, refused())

    assert result.outcome is outcome
    assert result.came_back.startswith(came_back)


def test_the_calls_of_a_check_are_undone_in_reverse_order() -> None:
    """Calls are undone when the check ends, even if the check failed."""
    target, plugin = target_of({MAKE: {}, UNMAKE: {}})

    def makes(session: Session) -> None:
        for number in (1, 2):
            session.make(MAKE, {"N": number}, UNMAKE, {"N": number})
        fail("anyway")

    (result,) = run_checks([made(makes)], target)

    assert result.came_back == "anyway"
    assert plugin.calls.of(UNMAKE).arguments == [{"N": 2}, {"N": 1}]


def test_a_call_that_the_check_itself_has_undone_is_not_undone_again() -> None:
    """The check has undone a call if it made the undoing call with the same arguments."""
    target, plugin = target_of({MAKE: {}, UNMAKE: {}})

    def makes(session: Session) -> None:
        session.make(MAKE, {}, UNMAKE, {})
        session.call(UNMAKE, {})

    (result,) = run_checks([made(makes)], target)

    assert result.outcome is CheckOutcome.PASSED
    plugin.calls.assert_called(UNMAKE, times=1)


def test_a_call_that_failed_is_undone_as_well() -> None:
    """A plugin may create something despite its error; a failure to undo it is ignored."""
    target, plugin = target_of({MAKE: status(500, "half"), UNMAKE: status(500, "what?")})

    (result,) = run_checks([made(lambda session: session.make(MAKE, {}, UNMAKE, {}))], target)

    assert result.came_back == f'{MAKE} answered 500 {{"Err": "half"}}'
    plugin.calls.assert_called(UNMAKE, times=1)


def test_a_check_that_cannot_undo_its_call_warns() -> None:
    """A check that passed otherwise warns that the plugin was not cleaned up."""
    result = found(
        lambda session: session.make(MAKE, {}, UNMAKE, {}),
        {MAKE: {}, UNMAKE: status(500, "in use")},
    )

    assert result.outcome is CheckOutcome.WARNED
    assert result.came_back == f'not cleaned up: {UNMAKE} answered 500 {{"Err": "in use"}}'


def test_a_check_is_cleaned_up_before_an_interruption_ends_the_run() -> None:
    """After Ctrl-C, calls are undone and files removed before KeyboardInterrupt is raised."""
    target, plugin = target_of({MAKE: {}, UNMAKE: {}})
    paths = []

    def interrupted(session: Session) -> None:
        paths.append(session.directory())
        session.make(MAKE, {}, UNMAKE, {})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_checks([made(interrupted)], target))

    plugin.calls.assert_called(UNMAKE, times=1)
    assert not paths[0].exists()


class Slow:
    """A plugin that goes on with a call for ``seconds`` after its host has given it up."""

    def __init__(self, seconds: float) -> None:
        self.clock = FakeClock()
        self.seconds = seconds
        self.there_at = math.inf

    def make(self, _: object) -> Response:
        self.there_at = self.clock.now() + self.seconds
        raise TransportTimeoutError("timed out", "memory://plugin")

    def unmake(self, _: object) -> Response:
        if self.clock.now() < self.there_at:
            return Response(500, b'{"Err": "no such thing"}')
        self.there_at = -math.inf
        return Response(200, b"{}")

    def target(self) -> Target:
        """The plugin, for checks."""
        plugin = {MAKE: self.make, UNMAKE: self.unmake}
        transport = MemoryTransport(plugin, clock=self.clock)
        return Target(transport, Address("unix:///x.sock"), clock=self.clock)


def makes(session: Session) -> None:
    """Make a thing, which the end of the check removes."""
    session.make(MAKE, {}, UNMAKE, {})


def test_what_a_plugin_makes_after_a_time_out_is_removed() -> None:
    """The check has given the call up, but the plugin goes on with it for a while."""
    plugin = Slow(1.5)

    (result,) = run_checks([made(makes)], plugin.target())

    assert result.came_back == "memory://plugin: timed out (tried once)"
    assert plugin.there_at == -math.inf


def test_what_a_plugin_may_still_make_is_reported() -> None:
    """The check fails as before; it waits for a few seconds only."""
    plugin = Slow(30)

    (result,) = run_checks([made(makes)], plugin.target())

    assert result.outcome is CheckOutcome.FAILED
    assert result.came_back == (
        "memory://plugin: timed out (tried once);"
        f' perhaps not cleaned up: {UNMAKE} answered 500 {{"Err": "no such thing"}}'
    )
    assert plugin.clock.now() < 3


def test_many_calls_that_were_given_up_are_waited_for_together() -> None:
    """The time for undoing them is the same as for one."""
    plugin = Slow(30)

    def many(session: Session) -> None:
        for number in range(16):
            with suppress(TransportTimeoutError), session.making(UNMAKE, {"N": number}):
                raise TransportTimeoutError("timed out", "memory://plugin")
        plugin.there_at = math.inf

    (result,) = run_checks([made(many)], plugin.target())

    assert result.outcome is CheckOutcome.WARNED
    assert result.came_back.startswith("perhaps not cleaned up: ")
    assert plugin.clock.now() < 3


def test_an_interruption_has_a_note_of_what_may_be_left() -> None:
    """After Ctrl-C the plugin may still go on with the call that was interrupted."""
    target, _ = target_of({MAKE: {}, UNMAKE: status(500, "in use")})

    def interrupted(session: Session) -> None:
        with session.making(UNMAKE, {}):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        list(run_checks([made(interrupted)], target))

    assert caught.value.__notes__ == [
        f'Thing: made: perhaps not cleaned up: {UNMAKE} answered 500 {{"Err": "in use"}}'
    ]


def test_a_method_that_hangs_costs_one_time_out() -> None:
    """Later checks that need the method are skipped; those of other methods are run."""
    target, plugin = target_of({MAKE: hangs(1e9), UNMAKE: {}}, Options(timeout=3))
    calls = [made(lambda session: session.call(MAKE))] * 5
    calls += [made(lambda session: session.call(UNMAKE))]

    results = list(run_checks(calls, target))

    assert target.clock.now() == 3
    outcomes = [each.outcome for each in results]
    assert outcomes == [CheckOutcome.FAILED, *[CheckOutcome.SKIPPED] * 4, CheckOutcome.PASSED]
    assert "timed out" in results[0].came_back
    assert results[1].came_back == (
        f"{MAKE} did not answer in time before, and was not asked again"
        " (follows from 'Thing: made')"
    )
    assert results[0].seconds == 3
    plugin.calls.assert_called(MAKE, times=1)


def test_a_method_that_timed_out_before_the_checks_fails_one_check() -> None:
    """The first check that needs the method fails, and the next one is skipped."""
    target, _ = target_of({MAKE: hangs(1e9)}, Options(timeout=3))
    with pytest.raises(TransportError):
        target.send(MAKE)

    first, second = run_checks([made(lambda session: session.call(MAKE))] * 2, target)

    assert first.outcome is CheckOutcome.FAILED
    assert first.came_back == f"{MAKE} did not answer in time before, and was not asked again"
    assert second.outcome is CheckOutcome.SKIPPED


def test_a_time_out_in_a_check_that_only_warns_still_fails_one_later_check() -> None:
    """A check is skipped only if an earlier one failed because of the same method."""
    target, _ = target_of({MAKE: hangs(1e9)}, Options(timeout=3))
    lenient = check("Thing", "may hang", expects="it", source="B0", worst=CheckOutcome.WARNED)
    checks = [lenient(lambda session: session.call(MAKE)), *[made(lambda p: p.call(MAKE))] * 2]

    outcomes = [each.outcome.value for each in run_checks(checks, target)]

    assert outcomes == ["warned", "failed", "skipped"]


def test_all_checks_together_have_a_time_limit() -> None:
    """After the limit one check fails without being run, and the others are skipped."""
    target, _ = target_of({MAKE: hangs(3, {})}, Options(timeout=5, limit=4))
    calls = [made(lambda session: session.call(MAKE))] * 4

    results = list(run_checks(calls, target))

    assert [each.outcome.value for each in results] == ["passed", "passed", "failed", "skipped"]
    assert results[2].came_back == "not run: all checks together may take 4 s"


def test_a_long_text_in_the_result_of_a_check_is_cut() -> None:
    """People read the result: it has at most 500 characters and the length of the text."""
    result = found(lambda _: fail("x" * 10_000), {})

    assert result.came_back == "x" * 500 + "… of 10000"


def test_checks_are_selected_by_name_with_or_without_the_subsystem() -> None:
    """Both "unknown keys" and "authz: unknown keys" select checks, in any case of letters."""
    known = built_in_checks()
    kinds = ("authz", "VolumeDriver")

    chosen_by_name = select(known, subsystems=kinds, names="Unknown keys")

    assert [item.id for item in chosen_by_name] == [
        "VolumeDriver: unknown keys",
        "authz: unknown keys",
    ]
    assert select(known, subsystems=kinds, names="authz: unknown keys") == chosen_by_name[1:]


def test_docker_and_podman_have_different_checks() -> None:
    """Only the two checks of the plugin's process are run for both hosts."""
    known = built_in_checks()
    docker = select(known, subsystems=("Plugin", "VolumeDriver"))
    podman = select(known, subsystems=("Plugin", "VolumeDriver"), host="podman")

    assert {item.name for item in docker} & {item.name for item in podman} == {
        "idle after its calls",
        "descriptors are closed",
    }
    assert all(item.source.startswith("P") or item in docker for item in podman)
    assert len(podman) > 6


def test_a_check_whose_worst_outcome_is_a_warning_does_not_fail() -> None:
    """Such a check warns instead, since no engine depends on what it expects."""
    lenient = check("Thing", "made", expects="it", source="B0", worst=CheckOutcome.WARNED)

    (result,) = run_checks([lenient(lambda _: fail("x"))], target_of({})[0])

    assert (result.outcome, result.came_back) == (CheckOutcome.WARNED, "x")


def test_checks_are_selected_by_subsystem_and_name_pattern() -> None:
    """The pattern has the wildcards of a shell, and the case of letters does not matter."""
    known = built_in_checks()

    assert {item.subsystem for item in select(known, subsystems=["authz"])} == {"authz"}
    named = select(known, subsystems=["VolumeDriver"], names="volumedriver: MOUNT*")
    assert [item.name for item in named] == [
        "mount",
        "mount of unknown",
        "mount again",
        "mounts are counted",
        "mounts side by side",
    ]


@pytest.mark.parametrize(
    ("told", "implements"),
    [
        ({"Implements": ["authz", 7]}, ("authz",)),
        ({"implements": ["authz"]}, ("authz",)),
        ({"Implements": None}, ()),
        ([], ()),
        (b"authz", ()),
        (status(500, "no"), ()),
    ],
)
def test_the_subsystems_in_a_malformed_handshake_are_read_without_an_error(
    told: Any, implements: tuple[str, ...]
) -> None:
    """Items that are not names are ignored; checks of the handshake report what is wrong."""
    target, _ = target_of({"Plugin.Activate": told})

    assert implemented_by(target) == implements


def test_the_handshake_with_a_plugin_that_is_not_there_raises_an_error() -> None:
    """``implemented_by`` raises the TransportError that any other call would raise."""
    with pytest.raises(TransportError, match="stale socket"):
        implemented_by(target_of(script(refused()))[0])
