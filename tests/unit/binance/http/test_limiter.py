"""Budgets: exact waits on a clock that moves by itself, and the cap that no window may ever exceed."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.binance.http.bans import Gate
from cryptoservice.binance.http.limiter import LimitPolicy, Paused, RateLimiter, Spacing
from cryptoservice.errors import Interrupted
from tests.unit.fakes import FakeClock

WINDOW = 60.0
# A wait for the window is a second longer: two requests sent a minute apart can arrive a little closer.
WAIT = 61.0


def limiter(
    weight: int | None = 10, *, spacing: float = 0.0, clock: FakeClock | None = None, max_wait: float = 300.0
) -> tuple[RateLimiter, FakeClock, Gate]:
    clock = clock or FakeClock()
    gate = Gate("host", clock, max_wait)
    return RateLimiter(LimitPolicy(max_weight=weight), gate, clock, Spacing(spacing)), clock, gate


def heaviest_window(grants: list[tuple[float, float]], length: float = WINDOW) -> float:
    """The most weight that any window of that length holds, both ends included."""
    return max((sum(w for t, w in grants if start <= t <= start + length) for start, _ in grants), default=0.0)


def test_a_budget_is_granted_at_once_and_then_waits_for_the_window() -> None:
    budget, clock, _ = limiter(10)
    assert [budget.acquire(2) for _ in range(5)] == [0.0] * 5
    assert clock.sleeps == []
    assert budget.acquire(2) == WAIT
    assert clock.sleeps == [WAIT]
    assert budget.waited_seconds == WAIT


def test_only_as_much_weight_as_is_needed_must_leave_the_window() -> None:
    budget, clock, _ = limiter(10)
    budget.acquire(2)
    clock.advance(10)
    budget.acquire(4)
    clock.advance(10)
    budget.acquire(4)
    assert budget.acquire(2) == WAIT
    assert budget.acquire(3) == 10 + WAIT
    assert clock.sleeps == [WAIT - 20, 10.0]


def test_a_light_request_does_not_pass_a_full_window() -> None:
    budget, _, _ = limiter(10)
    budget.acquire(10)
    assert budget.acquire(1) == WAIT


def test_a_request_heavier_than_the_whole_budget_goes_alone() -> None:
    budget, _, _ = limiter(4)
    assert budget.acquire(5) == 0.0
    assert budget.acquire(1) == WAIT
    assert budget.acquire(5) == 2 * WAIT


def test_spacing_is_kept_between_any_two_grants() -> None:
    budget, clock, _ = limiter(None, spacing=0.25)
    assert [budget.acquire(1) for _ in range(4)] == [0.0, 0.25, 0.5, 0.75]
    clock.advance(10)
    assert [budget.acquire(1) for _ in range(2)] == [10.75, 11.0]
    assert budget.budget() is None


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, 4), min_size=3, max_size=9), st.sampled_from([0.25, 1.0]))
def test_budgets_of_one_host_share_its_spacing_but_not_their_weight(numbers: list[int], seconds: float) -> None:
    clock = FakeClock()
    gate, spacing = Gate("host", clock, 300.0), Spacing(seconds)
    budgets = [RateLimiter(LimitPolicy(max_weight=50), gate, clock, spacing) for _ in range(3)]
    grants: list[float] = []
    lock = threading.Lock()

    def work(budget: RateLimiter, number: int) -> None:
        for _ in range(number):
            moment = budget.acquire(1)
            with lock:
                grants.append(moment)

    threads = [threading.Thread(target=work, args=(budgets[i % 3], number)) for i, number in enumerate(numbers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # No budget is ever exhausted, so the requests leave one after the other, exactly as far apart as was asked for.
    assert sorted(grants) == [seconds * number for number in range(sum(numbers))]


def test_a_budget_that_recovers_does_not_slow_the_others_of_its_host_down() -> None:
    clock = FakeClock()
    gate, spacing = Gate("host", clock, 300.0), Spacing(0.5)
    refused, other = (RateLimiter(LimitPolicy(max_weight=20), gate, clock, spacing) for _ in range(2))
    refused.penalise(refused.acquire(1))
    # Half of 20 a minute is one in six seconds, for the refused budget alone.
    assert [refused.acquire(1), other.acquire(1), other.acquire(1), refused.acquire(1)] == [0.5, 1.0, 1.5, 6.5]


def test_no_spacing_and_no_weight_never_wait() -> None:
    budget, clock, _ = limiter(None)
    assert [budget.acquire(50) for _ in range(1000)] == [0.0] * 1000
    assert clock.sleeps == []


ARRIVALS = st.lists(st.tuples(st.floats(0, 70), st.integers(1, 10)), max_size=60)


@settings(deadline=None)
@given(ARRIVALS, st.integers(10, 40), st.sampled_from([0.0, 0.3, 7.0]))
def test_no_window_ever_exceeds_the_cap_whatever_arrives(arrivals: list[tuple[float, int]], cap: int, spacing: float) -> None:
    budget, clock, _ = limiter(cap, spacing=spacing)
    grants: list[tuple[float, float]] = []
    for gap, weight in arrivals:
        clock.advance(gap)
        grants.append((budget.acquire(weight), weight))
    assert heaviest_window(grants) <= cap
    times = [moment for moment, _ in grants]
    assert all(later - earlier >= spacing - 1e-9 for earlier, later in itertools.pairwise(times))


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 40), st.sampled_from(["acquire", "acquire", "acquire", "refused", "others", "announce"]), st.integers(1, 10)
    ),
    max_size=60,
)


@settings(deadline=None)
@given(EVENTS, st.integers(10, 40))
def test_refusals_announcements_and_others_never_raise_the_cap(events: list[tuple[float, str, int]], cap: int) -> None:
    budget, clock, _ = limiter(cap)
    grants: list[tuple[float, float]] = []
    for gap, kind, number in events:
        clock.advance(gap)
        if kind == "refused" and grants:
            budget.penalise(grants[-1][0])
        elif kind == "others":
            budget.observe(number)
        elif kind == "announce":
            budget.announce(number * 10)
        else:
            grants.append((budget.acquire(number), number))
        now = budget.budget()
        assert now is not None
        assert 2.0 <= now <= cap
    assert heaviest_window(grants) <= cap


@settings(deadline=None, max_examples=10)
@given(st.lists(st.lists(st.integers(1, 6), min_size=5, max_size=20), min_size=2, max_size=8), st.sampled_from([0.0, 0.5]))
def test_many_threads_share_one_cap(weights_of_threads: list[list[int]], spacing: float) -> None:
    budget, _, _ = limiter(12, spacing=spacing)
    grants: list[tuple[float, float]] = []
    lock = threading.Lock()

    def work(weights: list[int]) -> None:
        for weight in weights:
            moment = budget.acquire(weight)
            with lock:
                grants.append((moment, weight))

    threads = [threading.Thread(target=work, args=(weights,)) for weights in weights_of_threads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(grants) == sum(map(len, weights_of_threads))
    assert heaviest_window(grants) <= 12
    times = sorted(moment for moment, _ in grants)
    assert all(later - earlier >= spacing - 1e-9 for earlier, later in itertools.pairwise(times))


def test_no_thread_holds_the_lock_while_it_waits() -> None:
    asleep, woken = threading.Event(), threading.Event()

    class Held(FakeClock):
        def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
            asleep.set()
            assert woken.wait(10)
            super().sleep(seconds, stop)

    budget, _, _ = limiter(2, clock=Held())
    budget.acquire(2)
    waiter = threading.Thread(target=budget.acquire, args=(2,))
    waiter.start()
    assert asleep.wait(10)
    # All of these need the lock that a sleeping waiter must not hold.
    budget.observe(1)
    budget.penalise(0.0)
    assert budget.waited_seconds == 0.0
    woken.set()
    waiter.join(10)
    assert not waiter.is_alive()


# -- what the host says ------------------------------------------------------------------------------------------


def test_others_on_the_same_address_use_up_the_budget() -> None:
    budget, _, _ = limiter(100)
    budget.acquire(2)
    budget.observe(90)
    assert [budget.acquire(5), budget.acquire(5)] == [0.0, 0.0]
    assert budget.acquire(2) == WAIT


def test_ones_own_usage_is_not_counted_twice() -> None:
    budget, _, _ = limiter(10)
    for used in (2, 4, 6, 8, 10):
        assert budget.acquire(2) == 0.0
        budget.observe(used)
    assert budget.acquire(2) == WAIT


@pytest.mark.parametrize("used", [-1, 0, 3])
def test_a_count_that_is_lower_or_not_given_changes_nothing(used: int) -> None:
    budget, clock, _ = limiter(10)
    budget.acquire(4)
    budget.observe(used)
    assert budget.acquire(6) == 0.0
    assert clock.sleeps == []


def test_a_limit_that_is_announced_is_kept_under_but_never_raises_the_budget() -> None:
    budget, _, _ = limiter(1800)
    budget.announce(2400)
    assert budget.budget() == 1800.0
    budget.announce(1000)
    assert budget.budget() == 900.0
    budget.announce(2400)
    assert budget.budget() == 900.0
    budget.announce(0)
    budget.announce(-5)
    assert budget.budget() == 900.0
    budget.announce(1)
    assert budget.budget() == 2.0


# -- refusals ----------------------------------------------------------------------------------------------------


def test_requests_that_were_under_way_together_are_punished_once() -> None:
    budget, clock, _ = limiter(1000)
    granted = [budget.acquire(1) for _ in range(5)]
    clock.advance(0.5)
    for moment in granted:
        budget.penalise(moment)
    assert budget.budget() == 500.0
    clock.advance(0.5)
    late = budget.acquire(1)
    clock.advance(0.5)
    budget.penalise(late)
    assert budget.budget() == 250.0
    budget.penalise(granted[0])
    assert budget.budget() == 250.0


def test_a_budget_never_falls_below_the_lightest_page() -> None:
    budget, clock, _ = limiter(10)
    for _ in range(10):
        granted = budget.acquire(1)
        clock.advance(1)
        budget.penalise(granted)
    assert budget.budget() == 2.0


def test_each_clean_minute_brings_back_a_tenth_of_the_full_budget() -> None:
    budget, clock, _ = limiter(1000)
    budget.penalise(budget.acquire(1))
    seen = []
    for _ in range(7):
        seen.append(budget.budget())
        clock.advance(60)
    assert seen == [500.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 1000.0]


def test_recovery_starts_when_the_pause_ends() -> None:
    budget, clock, gate = limiter(1000)
    granted = budget.acquire(1)
    gate.throttle(clock.time() + 90, "HTTP 429", has_deadline=True)
    budget.penalise(granted)
    clock.advance(149)
    assert budget.budget() == 500.0
    clock.advance(1)
    assert budget.budget() == 600.0


def test_the_end_of_a_pause_is_no_starting_gun() -> None:
    budget, clock, gate = limiter(1000)
    granted = budget.acquire(10)
    gate.throttle(clock.time() + 30, "HTTP 429", has_deadline=True)
    budget.penalise(granted)
    # Half the budget: ten of 500 a minute are one in 1.2 seconds.
    assert [round(budget.acquire(10), 6) for _ in range(4)] == [30.0, 31.2, 32.4, 33.6]


def test_once_recovered_requests_are_no_longer_spread() -> None:
    budget, clock, _ = limiter(1000)
    budget.penalise(budget.acquire(1))
    clock.advance(300)
    assert budget.acquire(10) == budget.acquire(10) == 300.0


def test_a_spacing_alone_ignores_refusals_and_counts() -> None:
    budget, _, _ = limiter(None, spacing=1.0)
    budget.penalise(budget.acquire(1))
    budget.observe(5000)
    budget.announce(1)
    assert budget.acquire(1) == 1.0


def test_a_set_stop_event_ends_the_wait() -> None:
    budget, _, _ = limiter(1)
    stop = threading.Event()
    budget.acquire(1, stop)
    stop.set()
    with pytest.raises(Interrupted):
        budget.acquire(1, stop)


def test_who_waits_out_no_pause_still_keeps_the_spacing() -> None:
    clock = FakeClock()
    gate = Gate("host", clock, 300.0)
    made = RateLimiter(LimitPolicy(max_weight=None), gate, clock, Spacing(2.0))
    assert [made.acquire(1, waits_out_pauses=False) for _ in range(4)] == [0.0, 2.0, 4.0, 6.0]
    gate.throttle(clock.time() + 60.0, "HTTP 429", has_deadline=True)
    before = len(clock.sleeps)
    with pytest.raises(Paused):
        made.acquire(1, waits_out_pauses=False)
    assert len(clock.sleeps) == before, "not even the beginning of a pause"


def test_a_pause_that_begins_during_the_wait_ends_it() -> None:
    class Pausing(FakeClock):
        def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
            super().sleep(seconds, stop)
            gate.throttle(self.time() + 60.0, "HTTP 429", has_deadline=True)

    clock = Pausing()
    gate = Gate("host", clock, 300.0)
    made = RateLimiter(LimitPolicy(max_weight=None), gate, clock, Spacing(2.0))
    made.acquire(1)
    with pytest.raises(Paused):
        made.acquire(1, waits_out_pauses=False)
    assert clock.sleeps == [2.0]


# -- what it tells of itself ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spent", [[], [(0.0, 4.0)], [(0.0, 10.0)], [(0.0, 3.0), (20.0, 7.0)], [(0.0, 1.0), (5.0, 1.0), (30.0, 6.0)]]
)
@pytest.mark.parametrize("requests", [1, 3, 5, 6, 10, 11, 26])
def test_the_time_for_more_weight_is_foretold(spent: list[tuple[float, float]], requests: int) -> None:
    budget, clock, _ = limiter(10)
    for moment, weight in spent:
        clock.advance(moment - clock.monotonic())
        budget.acquire(weight)
    clock.advance(2.0)
    told, started = budget.seconds_for(2.0 * requests), clock.monotonic()
    for _ in range(requests):
        budget.acquire(2.0)
    assert told == clock.monotonic() - started


@pytest.mark.parametrize(("weight", "seconds"), [(0, 0), (1, 0), (900, 0), (901, 301), (1800, 301), (2500, 602), (9000, 2709)])
def test_a_policy_foretells_the_time_of_a_run_that_begins(weight: float, seconds: float) -> None:
    assert LimitPolicy(max_weight=900, window=300.0).seconds_for(weight) == seconds
    assert LimitPolicy(max_weight=None).seconds_for(weight) == 0.0


def test_a_budget_without_a_limit_takes_no_time() -> None:
    assert limiter(None, spacing=5.0)[0].seconds_for(1e6) == 0.0
    assert limiter(10)[0].seconds_for(0) == 0.0


def test_a_full_budget_says_until_when_threads_wait_for_it() -> None:
    seen: list[float | None] = []

    class Asked(FakeClock):
        def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
            seen.append(budget.full_until)
            super().sleep(seconds, stop)

    clock = Asked(1_770_000_000.0)
    budget, _, gate = limiter(10, spacing=1.0, clock=clock)
    for _ in range(5):
        budget.acquire(2)
    assert seen == [None] * 4, "the spacing is no wait for the budget"
    clock.advance(6.0)
    budget.acquire(2)
    # The first grant was at 0, and leaves after 61 seconds.
    assert seen[4:] == [1_770_000_000.0 + WAIT]
    assert budget.full_until is None
    gate.ban(clock.time() + 5)
    budget.acquire(1)
    assert seen[5] is None, "a pause of the host is not the budget's"


def test_threads_that_wait_together_wait_once() -> None:
    """All of them fall asleep before the first wakes up."""
    together, slept = threading.Barrier(3), []

    class Together(FakeClock):
        def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
            wake = self.monotonic() + seconds
            together.wait(10)
            super().sleep(wake - self.monotonic(), stop)
            slept.append(seconds)
            together.wait(10)

    budget, clock, _ = limiter(6, clock=Together())
    budget.acquire(6)
    threads = [threading.Thread(target=budget.acquire, args=(2,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert slept == [WAIT] * 3
    assert budget.waited_seconds == clock.monotonic() == WAIT
