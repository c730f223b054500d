"""Load: calls in flight, latency and the penalty for failures, and the scores made of them."""

from math import exp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from balancemw import Node
from balancemw.load import DECAY, FAILURE, IDLE, KEPT, UNKNOWN, Load

NOW = 1000.0


def load(weight: float = 1.0) -> Load:
    return Load(Node("http://a", weight))


def begin(peer: Load, now: float, calls: int = 1) -> None:
    peer.in_flight += calls
    peer.started += now * calls


class Calls(RuleBasedStateMachine):
    """Calls that begin and end in any order and any way, and a fork now and then."""

    open_calls = Bundle("open_calls")

    @initialize()
    def fresh(self) -> None:
        self.peer = load()
        self.now = NOW
        self.open: list[float] = []
        self.exact = True  # until a call ends that the parent process began: it cannot be told from others

    @rule(target=open_calls, wait=st.floats(0.0, 20.0))
    def starts(self, wait: float) -> float:
        self.now += wait
        begin(self.peer, self.now)
        self.open.append(self.now)
        return self.now

    @rule(started=consumes(open_calls), wait=st.floats(0.0, 20.0), how=st.sampled_from(["well", "badly", "cancelled"]))
    def ends(self, started: float, wait: float, how: str) -> None:
        self.now += wait
        self.peer.end(started)
        if started in self.open:
            self.open.remove(started)
        else:
            self.exact = False
        self.exact = self.exact or not self.open
        if how == "well":
            self.peer.observe(self.now - started, self.now)
        elif how == "badly":
            self.peer.penalize(self.now - started, self.now)

    @rule()
    def forks(self) -> None:
        self.open.clear()
        self.peer.reset()
        self.exact = True

    @invariant()
    def counts_hold(self) -> None:
        assert 0 <= self.peer.in_flight <= len(self.open)
        if self.exact:
            assert self.peer.in_flight == len(self.open)
            assert self.peer.started == pytest.approx(sum(self.open), abs=1e-6)
        if self.peer.in_flight == 0:
            assert self.peer.started == 0.0

    @invariant()
    def scores_are_sound(self) -> None:
        assert 0.0 <= self.peer.busyness(self.now) < float("inf")
        assert 0.0 <= self.peer.cost(self.now) < float("inf")
        assert 0.0 <= self.peer.failures(self.now) < float("inf")


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=60, stateful_step_count=30)


class TestInFlight:
    @given(st.permutations(range(6)), st.lists(st.floats(0.0, 1e9), min_size=6, max_size=6))
    def test_back_to_zero_in_whatever_order_they_end(self, order: list[int], starts: list[float]):
        peer = load()
        for started in starts:
            begin(peer, started)
        assert peer.in_flight == 6
        for i in order:
            peer.end(starts[i])
        assert (peer.in_flight, peer.started) == (0, 0.0)

    def test_never_negative(self):
        peer = load()
        peer.end(NOW)
        assert (peer.in_flight, peer.started) == (0, 0.0)

    def test_nothing_is_known_at_first_and_after_a_reset(self):
        peer = load(3.0)
        assert (peer.weight, peer.latency, peer.cost(NOW), peer.busyness(NOW)) == (3.0, 0.0, 0.0, 0.0)
        begin(peer, NOW, 2)
        peer.penalize(1.0, NOW)
        peer.reset()
        assert (peer.in_flight, peer.latency, peer.cost(NOW), peer.busyness(NOW)) == (0, 0.0, 0.0, 0.0)

    def test_forgetting_leaves_the_open_calls(self):
        peer = load()
        begin(peer, NOW, 2)
        peer.penalize(1.0, NOW)
        peer.forget()
        assert (peer.in_flight, peer.latency, peer.failures(NOW), peer.busyness(NOW)) == (2, 0.0, 0.0, 2.0)


class TestLatency:
    def test_a_higher_sample_counts_at_once(self):
        peer = load()
        for seconds in (0.01, 0.5, 2.0):
            peer.observe(seconds, NOW)
            assert peer.latency == seconds

    @pytest.mark.parametrize("gap", [1.0, 5.0, 10.0, 60.0])
    def test_a_lower_one_pulls_it_down_over_time(self, gap: float):
        peer = load()
        peer.observe(1.0, NOW)
        peer.observe(0.1, NOW + gap)
        assert peer.latency == pytest.approx(0.1 + 0.9 * exp(-gap / DECAY))

    def test_each_lower_one_takes_a_part_however_soon_it_comes(self):
        peer = load()
        peer.observe(1.0, NOW)
        for n in range(1, 20):
            peer.observe(0.1, NOW + n * 0.001)
            assert peer.latency == pytest.approx(0.1 + 0.9 * KEPT**n)

    @given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 30.0)), min_size=1))
    def test_between_the_last_sample_and_the_highest(self, samples: list[tuple[float, float]]):
        peer, now, highest = load(), NOW, 0.0
        for seconds, wait in samples:
            now += wait
            peer.observe(seconds, now)
            highest = max(highest, seconds)
            assert seconds <= peer.latency <= highest

    def test_a_call_without_an_answer_raises_it_and_never_lowers_it(self):
        peer = load()
        peer.observe(0.5, NOW)
        peer.observe_at_least(0.1, NOW)
        assert peer.latency == 0.5
        peer.observe_at_least(3.0, NOW)
        assert peer.latency == 3.0

    def test_what_it_took_long_ago_is_not_what_it_takes_at_least(self):
        peer = load()
        peer.observe(8.0, NOW)
        peer.observe_at_least(0.1, NOW + IDLE + DECAY)
        assert peer.latency == pytest.approx(8.0 * exp(-1.0))


class TestFailures:
    def test_each_adds_and_all_fade(self):
        peer = load()
        peer.penalize(0.01, NOW)
        assert peer.failures(NOW) == FAILURE
        peer.penalize(0.01, NOW + DECAY)
        assert peer.failures(NOW + DECAY) == pytest.approx(FAILURE * (1.0 + exp(-1.0)))
        assert peer.failures(NOW + 2 * DECAY) == pytest.approx(FAILURE * (exp(-1.0) + exp(-2.0)))

    def test_in_the_end_nothing_is_left(self):
        peer = load()
        peer.penalize(0.01, NOW)
        assert peer.failures(NOW + 2 * DECAY) > 0.0
        assert peer.failures(NOW + 8 * DECAY) == 0.0
        assert peer.busyness(NOW + 8 * DECAY) == 0.0

    def test_a_success_halves_them(self):
        peer = load()
        peer.penalize(0.01, NOW)
        peer.observe(0.01, NOW)
        assert peer.failures(NOW) == FAILURE / 2
        peer.observe(0.01, NOW)
        assert peer.failures(NOW + DECAY / 10) == pytest.approx(FAILURE / 4 * exp(-0.1))

    def test_failing_quickly_never_makes_a_node_look_quick(self):
        peer = load()
        peer.observe(0.2, NOW)
        peer.penalize(0.001, NOW + 0.1)
        assert peer.latency == 0.2
        peer.penalize(0.001, NOW + 1000.0)  # nor does a long rest before
        assert peer.latency == 0.2

    def test_how_long_a_failure_took_is_not_how_long_an_answer_takes(self):
        peer = load()
        peer.observe(0.2, NOW)
        peer.penalize(10.0, NOW)
        assert peer.latency == 0.2
        assert peer.cost(NOW) == pytest.approx(0.2 * (1 + FAILURE))

    @pytest.mark.parametrize(("seconds", "usual", "latency"), [(0.001, 0.0, 0.0), (0.001, 0.2, 0.2), (5.0, 0.2, 5.0)])
    def test_of_a_node_that_never_answered_what_is_usual_is_assumed(self, seconds: float, usual: float, latency: float):
        peer = load()
        peer.penalize(seconds, NOW, usual=usual)
        assert peer.latency == latency
        assert peer.cost(NOW) == pytest.approx((latency or UNKNOWN) * (1 + FAILURE))

    def test_once_its_failures_have_faded_it_is_tried_as_one_that_nothing_is_known_of(self):
        peer, known = load(), load()
        peer.penalize(0.001, NOW)
        later = NOW + 10 * DECAY
        known.observe(0.001, later)
        assert peer.cost(later) < known.cost(later)

    def test_what_is_usual_does_not_take_the_place_of_what_was_seen(self):
        peer = load()
        peer.observe(0.2, NOW)
        peer.penalize(0.001, NOW, usual=0.5)
        assert peer.latency == 0.2

    def test_a_node_that_only_ever_failed_quickly_costs_more_than_one_that_answers(self):
        failing, good = load(), load()
        failing.penalize(0.001, NOW)
        good.observe(1.0, NOW)
        begin(good, NOW, 5)
        assert failing.cost(NOW) > good.cost(NOW)
        assert failing.busyness(NOW) > good.busyness(NOW)


class TestBusyness:
    def test_calls_and_failures_per_weight(self):
        peer = load(2.0)
        begin(peer, NOW, 3)
        assert peer.busyness(NOW) == 1.5
        peer.penalize(0.01, NOW)
        assert peer.busyness(NOW) == (3 + FAILURE) / 2.0


class TestCost:
    def test_latency_times_the_calls_it_would_then_have_per_weight(self):
        peer = load(2.0)
        peer.observe(0.1, NOW)
        assert peer.cost(NOW) == pytest.approx(0.1 * 1 / 2.0)
        begin(peer, NOW, 3)
        assert peer.cost(NOW) == pytest.approx(0.1 * 4 / 2.0)
        peer.penalize(0.01, NOW)
        assert peer.cost(NOW) == pytest.approx(0.1 * (4 + FAILURE) / 2.0)

    def test_a_node_that_nothing_is_known_of_is_tried_first(self):
        known = load()
        known.observe(0.001, NOW)
        assert load().cost(NOW) < known.cost(NOW)

    def test_but_not_by_everyone_at_once(self):
        unknown, known = load(), load()
        known.observe(0.1, NOW)
        begin(unknown, NOW)
        later = NOW + 0.001
        assert unknown.cost(later) == UNKNOWN * 2
        assert unknown.cost(later) > known.cost(later)
        assert unknown.cost(NOW + 5.0) == 5.0 * 2

    def test_the_age_of_open_calls_counts_before_any_of_them_has_ended(self):
        hung, good = load(), load()
        for peer in (hung, good):
            peer.observe(0.01, NOW)
        begin(hung, NOW, 4)
        begin(good, NOW + 0.5, 4)
        later = NOW + 0.5
        assert hung.cost(later) == pytest.approx(0.5 * 5)
        assert good.cost(later) == pytest.approx(0.01 * 5)

    def test_it_is_their_average_age(self):
        peer = load()
        peer.observe(0.01, NOW)
        for started in (NOW, NOW + 1.0, NOW + 2.0):
            begin(peer, started)
        assert peer.cost(NOW + 4.0) == pytest.approx(3.0 * 4)
        peer.end(NOW)
        assert peer.cost(NOW + 4.0) == pytest.approx(2.5 * 3 * 1.0)

    def test_young_calls_do_not_make_a_slow_node_quick(self):
        peer = load()
        peer.observe(2.0, NOW)
        begin(peer, NOW)
        assert peer.cost(NOW + 0.1) == pytest.approx(2.0 * 2)

    @pytest.mark.parametrize(
        ("idle", "share"),
        [
            (0.0, 1.0),
            (IDLE, 1.0),
            (IDLE + DECAY / 6, exp(-1 / 6)),
            (IDLE + DECAY / 2, exp(-0.5)),
            (IDLE + 3 * DECAY, exp(-3.0)),
        ],
    )
    def test_an_idle_node_is_forgiven(self, idle: float, share: float):
        peer = load()
        peer.observe(4.0, NOW)
        assert peer.cost(NOW + idle) == pytest.approx(4.0 * share)
        assert peer.latency == 4.0  # as of when it was seen

    def test_a_node_that_was_slow_is_cheaper_in_the_end_than_one_that_is_busy(self):
        recovered, busy = load(), load()
        recovered.penalize(10.0, NOW)
        later = NOW + 120.0
        busy.observe(0.01, later)
        begin(busy, later, 3)
        assert recovered.cost(later) < busy.cost(later)


def test_what_is_taken_back_twice_or_after_a_fork_leaves_nothing_below_zero():
    load = Load(Node("http://n0:80"))
    load.hang_up()
    load.read_out(1.0)
    load.read_on(1.0)
    assert (load.in_flight, load.streams, load.started) == (0, 0, 0.0)
    begin(load, 1.0)
    load.read_on(1.0)
    load.read_on(1.0)
    assert (load.in_flight, load.streams, load.started) == (1, 1, 0.0)
