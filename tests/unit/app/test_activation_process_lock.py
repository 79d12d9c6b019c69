"""The lock of one process; forks are tested in ``integration/process/test_forks.py``."""

from concurrent.futures import ThreadPoolExecutor

from moby_plugins.app.activation import ProcessLock


def test_all_threads_of_a_process_have_one_lock() -> None:
    """A ``ProcessLock`` returns the same lock to all threads, also if they call it at once."""
    lock = ProcessLock()

    with ThreadPoolExecutor(8) as pool:
        given = [future.result() for future in [pool.submit(lock) for _ in range(50)]]

    assert {id(one) for one in given} == {id(lock())}


def test_two_process_locks_do_not_exclude_each_other() -> None:
    """One registry does not wait for the lock of another."""
    with ProcessLock()():
        assert not ProcessLock()().locked()
