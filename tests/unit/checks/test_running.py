"""Running checks: verdicts, clean-up, and that nothing takes for ever."""

from typing import Any

import pytest

from moby_plugins import TransportError
from moby_plugins.checks import (
    Check,
    Finding,
    Probe,
    Setup,
    Subject,
    Verdict,
    advise,
    built_in_checks,
    check,
    chosen,
    fail,
    implemented_by,
    require,
    run_checks,
    skip,
)
from moby_plugins.checks.verdict import Function
from moby_plugins.domain.address import Address
from moby_plugins.testing import FakeClock, MemoryTransport, hangs, refused, script, status

MAKE, UNMAKE = "Thing.Make", "Thing.Unmake"


def made(function: Function, name: str = "made") -> Check:
    """A check of things."""
    return check("Thing", name, expects="it works", source="B0")(function)


def subject_of(plugin: Any, setup: Setup | None = None) -> tuple[Subject, MemoryTransport]:
    """A plugin in memory on a clock of its own, and what records its calls."""
    clock = FakeClock()
    transport = MemoryTransport(plugin, clock=clock)
    return Subject(transport, Address("unix:///x.sock"), clock=clock, setup=setup), transport


def found(function: Function, plugin: Any, setup: Setup | None = None) -> Finding:
    """What a check made of ``function`` finds."""
    (finding,) = run_checks([made(function)], subject_of(plugin, setup)[0])
    return finding


@pytest.mark.parametrize(
    ("ends", "verdict", "came_back"),
    [
        (lambda _: None, Verdict.PASSED, ""),
        (lambda _: require(1, "x"), Verdict.PASSED, ""),
        (lambda _: require(0, "x"), Verdict.FAILED, "x"),
        (lambda _: fail("x"), Verdict.FAILED, "x"),
        (lambda _: advise(0, "x"), Verdict.WARNED, "x"),
        (lambda _: skip("x"), Verdict.SKIPPED, "x"),
        (lambda plugin: plugin.send(MAKE), Verdict.FAILED, "memory://plugin: stale socket"),
        (lambda _: dict[str, str]()["x"], Verdict.FAILED, "the check broke: KeyError: 'x'"),
    ],
)
def test_how_a_check_ends_is_its_verdict(ends: Any, verdict: Verdict, came_back: str) -> None:
    """It returns, or raises: ours, the plugin's, or a mistake of its own."""
    finding = found(ends, refused())

    assert finding.verdict is verdict
    assert finding.came_back.startswith(came_back)


def test_what_was_made_is_undone_in_reverse() -> None:
    """At the end of the check, and although it failed."""
    subject, plugin = subject_of({MAKE: {}, UNMAKE: {}})

    def makes(probe: Probe) -> None:
        for number in (1, 2):
            probe.make(MAKE, {"N": number}, UNMAKE, {"N": number})
        fail("anyway")

    (finding,) = run_checks([made(makes)], subject)

    assert finding.came_back == "anyway"
    assert plugin.calls.of(UNMAKE).arguments == [{"N": 2}, {"N": 1}]


def test_what_a_check_undid_itself_is_not_undone_again() -> None:
    """The same call with the same arguments counts."""
    subject, plugin = subject_of({MAKE: {}, UNMAKE: {}})

    def makes(probe: Probe) -> None:
        probe.make(MAKE, {}, UNMAKE, {})
        probe.call(UNMAKE, {})

    (finding,) = run_checks([made(makes)], subject)

    assert finding.verdict is Verdict.PASSED
    plugin.calls.assert_called(UNMAKE, times=1)


def test_what_may_have_been_made_is_undone() -> None:
    """An error is no proof that nothing was done; that the undoing fails then is no wonder."""
    subject, plugin = subject_of({MAKE: status(500, "half"), UNMAKE: status(500, "what?")})

    (finding,) = run_checks([made(lambda probe: probe.make(MAKE, {}, UNMAKE, {}))], subject)

    assert finding.came_back == f'{MAKE} answered 500 {{"Err": "half"}}'
    plugin.calls.assert_called(UNMAKE, times=1)


def test_what_cannot_be_undone_is_told() -> None:
    """A check that passed warns of it."""
    finding = found(
        lambda probe: probe.make(MAKE, {}, UNMAKE, {}),
        {MAKE: {}, UNMAKE: status(500, "in use")},
    )

    assert finding.verdict is Verdict.WARNED
    assert finding.came_back == f'not cleaned up: {UNMAKE} answered 500 {{"Err": "in use"}}'


def test_an_interruption_cleans_up_first() -> None:
    """Ctrl-C ends the run, once nothing is left behind."""
    subject, plugin = subject_of({MAKE: {}, UNMAKE: {}})
    paths = []

    def interrupted(probe: Probe) -> None:
        paths.append(probe.directory())
        probe.make(MAKE, {}, UNMAKE, {})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_checks([made(interrupted)], subject))

    plugin.calls.assert_called(UNMAKE, times=1)
    assert not paths[0].exists()


def test_a_method_that_hangs_costs_one_time_out() -> None:
    """It is not asked again, by no check; the others are."""
    subject, plugin = subject_of({MAKE: hangs(1e9), UNMAKE: {}}, Setup(timeout=3))
    calls = [made(lambda probe: probe.call(MAKE))] * 5
    calls += [made(lambda probe: probe.call(UNMAKE))]

    findings = list(run_checks(calls, subject))

    assert subject.clock.now() == 3
    verdicts = [each.verdict for each in findings]
    assert verdicts == [Verdict.FAILED, *[Verdict.SKIPPED] * 4, Verdict.PASSED]
    assert "timed out" in findings[0].came_back
    assert findings[1].came_back == (
        f"{MAKE} did not answer in time before, and was not asked again"
        " (follows from 'Thing: made')"
    )
    assert findings[0].seconds == 3
    plugin.calls.assert_called(MAKE, times=1)


def test_what_has_hung_before_all_checks_fails_one() -> None:
    """The first request belongs to no check; still one check fails for it."""
    subject, _ = subject_of({MAKE: hangs(1e9)}, Setup(timeout=3))
    with pytest.raises(TransportError):
        subject.send(MAKE)

    first, second = run_checks([made(lambda probe: probe.call(MAKE))] * 2, subject)

    assert first.verdict is Verdict.FAILED
    assert first.came_back == f"{MAKE} did not answer in time before, and was not asked again"
    assert second.verdict is Verdict.SKIPPED


def test_a_warning_is_no_failure_to_follow_from() -> None:
    """What only a check that cannot fail has met, fails the next one."""
    subject, _ = subject_of({MAKE: hangs(1e9)}, Setup(timeout=3))
    lenient = check("Thing", "may hang", expects="it", source="B0", worst=Verdict.WARNED)
    checks = [lenient(lambda probe: probe.call(MAKE)), *[made(lambda p: p.call(MAKE))] * 2]

    verdicts = [each.verdict.value for each in run_checks(checks, subject)]

    assert verdicts == ["warned", "failed", "skipped"]


def test_all_checks_together_have_a_limit() -> None:
    """Of what is left when it has passed one fails, without being run, and the others follow."""
    subject, _ = subject_of({MAKE: hangs(3, {})}, Setup(timeout=5, limit=4))
    calls = [made(lambda probe: probe.call(MAKE))] * 4

    findings = list(run_checks(calls, subject))

    assert [each.verdict.value for each in findings] == ["passed", "passed", "failed", "skipped"]
    assert findings[2].came_back == "not run: all checks together may take 4 s"


def test_a_long_answer_is_cut() -> None:
    """What came back is to be read by people."""
    finding = found(lambda _: fail("x" * 10_000), {})

    assert finding.came_back == "x" * 500 + "… of 10000"


def test_a_name_is_enough_to_choose_by() -> None:
    """As documents and JSON have it; its subsystem may stand before it."""
    known = built_in_checks()
    kinds = ("authz", "VolumeDriver")

    chosen_by_name = chosen(known, subsystems=kinds, names="Unknown keys")

    assert [item.id for item in chosen_by_name] == [
        "VolumeDriver: unknown keys",
        "authz: unknown keys",
    ]
    assert chosen(known, subsystems=kinds, names="authz: unknown keys") == chosen_by_name[1:]


def test_a_host_has_its_own_checks() -> None:
    """Those of Podman never call what it never calls; those of the process are for all hosts."""
    known = built_in_checks()
    docker = chosen(known, subsystems=("Plugin", "VolumeDriver"))
    podman = chosen(known, subsystems=("Plugin", "VolumeDriver"), host="podman")

    assert {item.name for item in docker} & {item.name for item in podman} == {
        "idle after its calls",
        "descriptors are closed",
    }
    assert all(item.source.startswith("P") or item in docker for item in podman)
    assert len(podman) > 6


def test_a_check_that_cannot_fail_warns() -> None:
    """Where no engine depends on what it expects."""
    lenient = check("Thing", "made", expects="it", source="B0", worst=Verdict.WARNED)

    (finding,) = run_checks([lenient(lambda _: fail("x"))], subject_of({})[0])

    assert (finding.verdict, finding.came_back) == (Verdict.WARNED, "x")


def test_checks_are_chosen_by_subsystem_and_name() -> None:
    """A pattern as in a shell, whatever the capitals."""
    known = built_in_checks()

    assert {item.subsystem for item in chosen(known, subsystems=["authz"])} == {"authz"}
    named = chosen(known, subsystems=["VolumeDriver"], names="volumedriver: MOUNT*")
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
    subject, _ = subject_of({"Plugin.Activate": told})

    assert implemented_by(subject) == implements


def test_a_plugin_that_is_not_there_is_no_finding() -> None:
    """Its handshake raises what any call would."""
    with pytest.raises(TransportError, match="stale socket"):
        implemented_by(subject_of(script(refused()))[0])
