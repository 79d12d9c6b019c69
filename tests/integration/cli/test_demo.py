"""``moby-plugins demo``, run as a process."""

from tests.integration.cli.machine import Machine


def test_the_demo_does_all_that_a_host_does_and_leaves_nothing(machine: Machine) -> None:
    """One line a step, from the plugin's start to an error of its own."""
    place = machine.root / "t"
    place.mkdir()

    ran = machine.run("demo", TMPDIR=str(place))

    steps = [line.split()[0] for line in ran.stdout.splitlines()]
    assert ran.returncode == 0
    assert " ".join(steps) == "$ handle scan get create list mount get unmount remove get shrink"
    assert "shelf is active" in ran.stdout
    assert "StatusError 404" in ran.stdout
    assert list(place.iterdir()) == []
