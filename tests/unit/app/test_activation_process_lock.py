"""The lock of a process; what a fork makes of it is in ``integration/process/test_forks.py``."""

from concurrent.futures import ThreadPoolExecutor

from moby_plugins.app.activation import ProcessLock


def test_all_threads_of_a_process_have_one_lock() -> None:
    """For each thread that asks, and however many ask at once."""
    lock = ProcessLock()

    with ThreadPoolExecutor(8) as pool:
        given = [future.result() for future in [pool.submit(lock) for _ in range(50)]]

    assert {id(one) for one in given} == {id(lock())}


def test_two_locks_are_two() -> None:
    """One registry does not wait for another."""
    with ProcessLock()():
        assert not ProcessLock()().locked()
