"""``moby-plugins demo``, run as a process."""

from tests.integration.cli.machine import Machine


def test_the_demo_runs_each_step_of_a_host_and_leaves_no_file(machine: Machine) -> None:
    """A line is printed for each step, from the plugin's start to an error of the plugin."""
    place = machine.root / "t"
    place.mkdir()

    ran = machine.run("demo", TMPDIR=str(place))

    steps = [line.split()[0] for line in ran.stdout.splitlines()]
    assert ran.returncode == 0
    assert " ".join(steps) == "$ handle scan get create list mount get unmount remove get shrink"
    assert "shelf is active" in ran.stdout
    assert "StatusError 404" in ran.stdout
    assert list(place.iterdir()) == []
