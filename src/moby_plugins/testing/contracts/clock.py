"""The contract of every ``Clock``; the tests take milliseconds of real time."""

import threading

import pytest

from moby_plugins.ports import Clock, SleepEvent

SHORT = 0.005


class ClockContract:
    """The contract of every ``Clock``, as a suite for pytest: subclass it with a fixture ``clock``.

    The fixture returns the clock under test. The tests take milliseconds of real time.

    Examples:
        ```python
        import pytest

        from moby_plugins.testing import FakeClock
        from moby_plugins.testing.contracts import ClockContract


        class TestMyClock(ClockContract):
            @pytest.fixture
            def clock(self):
                return FakeClock()
        ```
    """

    def test_now_never_runs_backwards(self, clock: Clock) -> None:
        """Each reading of the clock is no earlier than the one before."""
        looks = [clock.now() for _ in range(100)]

        assert looks == sorted(looks)

    def test_a_sleep_takes_at_least_its_seconds(self, clock: Clock) -> None:
        """After ``sleep(s)`` the clock has advanced by at least ``s`` seconds."""
        before = clock.now()

        clock.sleep(SHORT)

        assert clock.now() - before >= SHORT

    @pytest.mark.parametrize("seconds", [0, -60])
    def test_a_sleep_of_nothing_returns_at_once(self, clock: Clock, seconds: float) -> None:
        """A sleep of zero or of negative seconds returns at once."""
        before = clock.now()

        clock.sleep(seconds)

        assert clock.now() - before < 1

    @pytest.mark.parametrize("timeout", [None, 60.0, 0.0])
    def test_waiting_for_what_has_happened_returns_at_once(
        self, clock: Clock, timeout: float | None
    ) -> None:
        """Waiting for an event that is set returns true at once."""
        event = threading.Event()
        event.set()
        before = clock.now()

        assert clock.wait(event, timeout) is True
        assert clock.now() - before < 1

    @pytest.mark.parametrize("timeout", [SHORT, 0.0, -1.0])
    def test_a_wait_for_an_event_that_nothing_sets_ends_with_its_timeout(
        self, clock: Clock, timeout: float
    ) -> None:
        """Waiting for an event that is not set returns false, and no sooner than its time-out."""
        before = clock.now()

        assert clock.wait(threading.Event(), timeout) is False
        assert clock.now() - before >= timeout

    def test_a_wait_ends_when_another_thread_sets_the_event(self, clock: Clock) -> None:
        """A waiting thread is woken by an event, long before the time-out."""
        event, entered = threading.Event(), threading.Event()

        def set_soon() -> None:
            with clock.working():
                entered.set()
                clock.sleep(SHORT)
                event.set()

        setter = threading.Thread(target=set_soon)
        before = clock.now()
        with clock.working():
            setter.start()
            entered.wait()

            assert clock.wait(event, 60.0) is True
        setter.join()
        assert SHORT <= clock.now() - before < 30

    def test_a_sleep_can_be_ended_by_another_thread(self, clock: Clock) -> None:
        """A wait for a ``SleepEvent`` ends after its time, or sooner once the event is set."""
        event = SleepEvent()
        before = clock.now()
        assert clock.wait(event, SHORT) is False
        assert clock.now() - before >= SHORT

        def end_soon() -> None:
            with clock.working():
                entered.set()
                clock.sleep(SHORT)
                event.set()

        entered = threading.Event()
        setter = threading.Thread(target=end_soon)
        with clock.working():
            setter.start()
            entered.wait()

            assert clock.wait(event, 60.0) is True
        setter.join()
        assert clock.now() - before < 30

    def test_work_may_be_nested_and_may_sleep(self, clock: Clock) -> None:
        """A block of ``working`` may be inside another, and may sleep."""
        before = clock.now()

        with clock.working():
            with clock.working():
                clock.sleep(SHORT)
            clock.sleep(SHORT)

        assert clock.now() - before >= 2 * SHORT

    def test_work_lets_an_exception_pass(self, clock: Clock) -> None:
        """An exception of an operation is raised unchanged: the same object."""
        error = KeyError("mine")

        with pytest.raises(KeyError) as caught, clock.working():
            raise error

        assert caught.value is error
