"""Running checks: verdicts, clean-up, and that nothing takes for ever."""

from typing import Any

import pytest

from moby_plugins import TransportError
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
def test_how_a_check_ends_is_its_verdict(ends: Any, outcome: CheckOutcome, came_back: str) -> None:
    """It returns, or raises: ours, the plugin's, or a mistake of its own."""
    result = found(ends, refused())

    assert result.outcome is outcome
    assert result.came_back.startswith(came_back)


def test_what_was_made_is_undone_in_reverse() -> None:
    """At the end of the check, and although it failed."""
    target, plugin = target_of({MAKE: {}, UNMAKE: {}})

    def makes(session: Session) -> None:
        for number in (1, 2):
            session.make(MAKE, {"N": number}, UNMAKE, {"N": number})
        fail("anyway")

    (result,) = run_checks([made(makes)], target)

    assert result.came_back == "anyway"
    assert plugin.calls.of(UNMAKE).arguments == [{"N": 2}, {"N": 1}]


def test_what_a_check_undid_itself_is_not_undone_again() -> None:
    """The same call with the same arguments counts."""
    target, plugin = target_of({MAKE: {}, UNMAKE: {}})

    def makes(session: Session) -> None:
        session.make(MAKE, {}, UNMAKE, {})
        session.call(UNMAKE, {})

    (result,) = run_checks([made(makes)], target)

    assert result.outcome is CheckOutcome.PASSED
    plugin.calls.assert_called(UNMAKE, times=1)


def test_what_may_have_been_made_is_undone() -> None:
    """An error is not a proof that nothing was done; a failure to undo it is then expected."""
    target, plugin = target_of({MAKE: status(500, "half"), UNMAKE: status(500, "what?")})

    (result,) = run_checks([made(lambda session: session.make(MAKE, {}, UNMAKE, {}))], target)

    assert result.came_back == f'{MAKE} answered 500 {{"Err": "half"}}'
    plugin.calls.assert_called(UNMAKE, times=1)


def test_what_cannot_be_undone_is_told() -> None:
    """A check that passed warns of it."""
    result = found(
        lambda session: session.make(MAKE, {}, UNMAKE, {}),
        {MAKE: {}, UNMAKE: status(500, "in use")},
    )

    assert result.outcome is CheckOutcome.WARNED
    assert result.came_back == f'not cleaned up: {UNMAKE} answered 500 {{"Err": "in use"}}'


def test_an_interruption_cleans_up_first() -> None:
    """Ctrl-C ends the run, once nothing is left behind."""
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


def test_a_method_that_hangs_costs_one_time_out() -> None:
    """It is not asked again, by no check; the others are."""
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


def test_what_has_hung_before_all_checks_fails_one() -> None:
    """The first request belongs to no check; still one check fails for it."""
    target, _ = target_of({MAKE: hangs(1e9)}, Options(timeout=3))
    with pytest.raises(TransportError):
        target.send(MAKE)

    first, second = run_checks([made(lambda session: session.call(MAKE))] * 2, target)

    assert first.outcome is CheckOutcome.FAILED
    assert first.came_back == f"{MAKE} did not answer in time before, and was not asked again"
    assert second.outcome is CheckOutcome.SKIPPED


def test_a_warning_is_no_failure_to_follow_from() -> None:
    """What only a check that cannot fail has met, fails the next one."""
    target, _ = target_of({MAKE: hangs(1e9)}, Options(timeout=3))
    lenient = check("Thing", "may hang", expects="it", source="B0", worst=CheckOutcome.WARNED)
    checks = [lenient(lambda session: session.call(MAKE)), *[made(lambda p: p.call(MAKE))] * 2]

    outcomes = [each.outcome.value for each in run_checks(checks, target)]

    assert outcomes == ["warned", "failed", "skipped"]


def test_all_checks_together_have_a_limit() -> None:
    """Of what is left when it has passed one fails, without being run, and the others follow."""
    target, _ = target_of({MAKE: hangs(3, {})}, Options(timeout=5, limit=4))
    calls = [made(lambda session: session.call(MAKE))] * 4

    results = list(run_checks(calls, target))

    assert [each.outcome.value for each in results] == ["passed", "passed", "failed", "skipped"]
    assert results[2].came_back == "not run: all checks together may take 4 s"


def test_a_long_response_is_cut() -> None:
    """What came back is to be read by people."""
    result = found(lambda _: fail("x" * 10_000), {})

    assert result.came_back == "x" * 500 + "… of 10000"


def test_a_name_is_enough_to_choose_by() -> None:
    """As documents and JSON have it; its subsystem may stand before it."""
    known = built_in_checks()
    kinds = ("authz", "VolumeDriver")

    chosen_by_name = select(known, subsystems=kinds, names="Unknown keys")

    assert [item.id for item in chosen_by_name] == [
        "VolumeDriver: unknown keys",
        "authz: unknown keys",
    ]
    assert select(known, subsystems=kinds, names="authz: unknown keys") == chosen_by_name[1:]


def test_a_host_has_its_own_checks() -> None:
    """Those of Podman never call what it never calls; those of the process are for all hosts."""
    known = built_in_checks()
    docker = select(known, subsystems=("Plugin", "VolumeDriver"))
    podman = select(known, subsystems=("Plugin", "VolumeDriver"), host="podman")

    assert {item.name for item in docker} & {item.name for item in podman} == {
        "idle after its calls",
        "descriptors are closed",
    }
    assert all(item.source.startswith("P") or item in docker for item in podman)
    assert len(podman) > 6


def test_a_check_that_cannot_fail_warns() -> None:
    """Where no engine depends on what it expects."""
    lenient = check("Thing", "made", expects="it", source="B0", worst=CheckOutcome.WARNED)

    (result,) = run_checks([lenient(lambda _: fail("x"))], target_of({})[0])

    assert (result.outcome, result.came_back) == (CheckOutcome.WARNED, "x")


def test_checks_are_chosen_by_subsystem_and_name() -> None:
    """A pattern as in a shell, whatever the capitals."""
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
def test_what_a_plugin_implements_is_read_kindly(told: Any, implements: tuple[str, ...]) -> None:
    """What is wrong with the handshake is for the checks to say."""
    target, _ = target_of({"Plugin.Activate": told})

    assert implemented_by(target) == implements


def test_a_plugin_that_is_not_there_is_no_finding() -> None:
    """Its handshake raises what any call would."""
    with pytest.raises(TransportError, match="stale socket"):
        implemented_by(target_of(script(refused()))[0])
