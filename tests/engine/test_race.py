"""Who answers for a call of two tries, and that every try is given back once, whatever happens."""

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tenacity import stop_after_attempt, stop_after_delay

from balancemw import DeadlineExceeded, RetryPolicy
from balancemw.call import Call
from balancemw.context import REQUEST, Request
from balancemw.ending import after_error, after_result, verdict
from balancemw.fault import Fault, Kind
from balancemw.race import Known, Outcome, Race, nothing
from balancemw.service import CallOptions
from balancemw.tries import Terms, Try, first_try
from tests.engine.stage import FAULTS, Answer, Stage

HEDGE = {"delay": 0.05, "max_extra": 1.0}


class Runner:
    """A call that is hedged, by hand."""

    def __init__(self, stage: Stage, known: Known = nothing, **wishes: Any) -> None:
        self.stage = stage
        self.terms: Terms = stage.service.terms(CallOptions(idempotent=True, **wishes))
        self.first = first_try(self.terms, None)
        self.call = Call(self.terms, None, self.first, "route")
        self.race = Race(self.call, self.terms, None, self.first, known)
        self.due_in = self.race.due_in()

    def hedge(self) -> Try:
        if self.due_in is not None:
            self.stage.clock.advance(self.due_in)
        hedge = self.race.hedge()
        assert hedge is not None
        return hedge

    def refuses(self) -> bool:
        """Whether no hedge is sent."""
        if self.due_in is None:
            return True
        self.stage.clock.advance(self.due_in)
        return self.race.hedge() is None

    def end(self, attempt: Try, kind: str = "") -> bool:
        return self.race.end(outcome(attempt, kind))

    def finish(self, attempt: Try, kind: str = "") -> float | None:
        """What a driver does with the try that answers; returns the seconds until the next try."""
        _, result, error = outcome(attempt, kind)
        if error is not None:
            return after_error(self.call, attempt, error)
        fault = verdict(self.terms, attempt, result)
        if fault is not None:
            return after_result(self.call, attempt, result, fault)
        self.call.succeed(attempt)
        return None


def outcome(attempt: Try, kind: str = "") -> Outcome:
    does = FAULTS[kind]() if kind else Answer()
    return Outcome(attempt, None, does) if isinstance(does, BaseException) else Outcome(attempt, does, None)


@pytest.fixture
def stage() -> Stage:
    return Stage(3, hedge=HEDGE)


class TestWhen:
    def test_it_is_due_after_the_delay_and_goes_elsewhere(self, stage: Stage):
        runner = Runner(stage)
        assert runner.due_in == pytest.approx(0.05)
        hedge = runner.hedge()
        assert hedge.node != runner.first.node
        assert hedge.started == pytest.approx(runner.first.started + 0.05)
        assert hedge.deadline == runner.first.deadline
        assert stage.in_flight() == 2

    def test_a_try_that_ends_before_its_hedge_could_is_not_hedged(self):
        assert Runner(Stage(3, hedge=HEDGE, attempt_timeout=0.05)).due_in is None

    def test_the_hedge_has_an_attempt_timeout_of_its_own_but_no_deadline(self, stage: Stage):
        assert Runner(stage).hedge().until == pytest.approx(stage.clock() + 10.0)
        runner = Runner(stage, timeout=2.0)
        assert runner.hedge().until == runner.first.deadline

    def test_there_is_none_where_the_node_would_not_answer_in_the_time_that_is_left(self, stage: Stage):
        stage.takes = 1.0
        stage.calls(9, idempotent=False)
        assert Runner(stage, timeout=0.9).refuses()
        assert not Runner(stage, timeout=1.5).refuses()

    def test_none_for_a_request_that_arrived_as_a_retry(self, stage: Stage):
        runner = Runner(stage)
        token = REQUEST.set(Request(stage.balancer, retries_allowed=False))
        try:
            assert runner.refuses()
        finally:
            REQUEST.reset(token)

    @pytest.mark.parametrize("policy", [RetryPolicy(stop=stop_after_attempt(1)), RetryPolicy(stop=stop_after_delay(0))])
    def test_none_against_the_policy(self, stage: Stage, policy: RetryPolicy):
        assert Runner(stage, retry=policy).refuses()
        assert not Runner(stage, retry=RetryPolicy(stop=stop_after_attempt(2))).refuses()

    def test_calls_that_may_be_hedged(self, stage: Stage):
        def hedged(**wishes: Any) -> bool:
            return stage.service.terms(CallOptions(**{"idempotent": True, **wishes})).hedged

        assert hedged()
        assert not hedged(idempotent=False)
        assert not hedged(attempts=1)
        assert not Stage(3).service.terms(CallOptions(idempotent=True)).hedged

    def test_none_without_another_node(self):
        assert Runner(Stage(1, hedge=HEDGE)).refuses()

    def test_none_to_a_node_that_is_out_or_leaving(self, stage: Stage):
        runner = Runner(stage)
        for node in stage.service.nodes:
            if node != runner.first.node:
                stage.service.mark(node, "drain", reason="test")
        assert runner.refuses()
        assert stage.in_flight() == 1

    def test_none_to_a_node_that_is_accused_but_kept(self):
        stage = Stage(3, hedge=HEDGE)
        stage.put_out("n0")
        stage.fails("n1", "refused")
        assert len(stage.available()) == 2  # one of the two has to stay in
        runner = Runner(stage)
        while runner.first.node.host != "n2":
            runner = Runner(stage)
        assert runner.refuses()

    def test_none_to_nodes_that_are_there_for_an_outage(self):
        stage = Stage(["http://n0:80", {"url": "http://n1:80", "priority": 1}], hedge=HEDGE)
        assert Runner(stage).refuses()

    def test_none_when_the_retry_budget_is_spent(self):
        stage = Stage(3, hedge=HEDGE, retry={"budget": 0.0, "budget_floor": 0.25})
        runners = [Runner(stage) for _ in range(4)]
        assert [runner.refuses() for runner in runners] == [False, True, True, True]
        assert stage.status()["budget"]["retries"] == 1
        assert not stage.happened("budget_exhausted")  # no failure is passed on for that

    def test_no_more_than_max_extra(self):
        stage = Stage(3, hedge={"delay": 0.05, "max_extra": 0.25})
        runners = [Runner(stage) for _ in range(16)]
        assert sum(not runner.refuses() for runner in runners) == 4
        assert stage.status()["hedge"]["hedges"] == 4


class TestWho:
    def test_the_first_good_answer_wins_and_the_other_is_left(self, stage: Stage):
        runner = Runner(stage)
        hedge = runner.hedge()
        assert runner.end(hedge)
        assert runner.race.leave() == [runner.first]
        assert runner.first.until == stage.clock()
        assert runner.finish(hedge) is None
        runner.race.give_back(outcome(runner.first, "cancelled"))
        assert stage.in_flight() == 0
        assert stage.status()["hedge"] == {"delay_ms": 50.0, "hedges": 1, "wins": 1}

    def test_nobody_is_blamed_for_coming_second_but_its_age_is_seen(self, stage: Stage):
        runner = Runner(stage)
        hedge = runner.hedge()
        stage.clock.advance(2.0)
        runner.end(hedge)
        runner.race.leave()
        runner.finish(hedge)
        runner.race.give_back(outcome(runner.first, "timeout"))
        told = stage.told(runner.first.node.host)
        assert (told["failures"], told["state"], told["calls"]) == (0, "up", 1)
        assert told["latency_ms"] == pytest.approx(2050.0)
        assert not stage.events

    def test_a_trial_that_is_overtaken_is_made_again_in_a_second_and_not_with_every_call(self, stage: Stage):
        stage.put_out("n0")
        stage.clock.advance(stage.time_out() + 0.01)
        runner = Runner(stage)
        assert runner.first.node.host == "n0"
        hedge = runner.hedge()
        assert runner.end(hedge)
        runner.race.leave()
        runner.finish(hedge)
        runner.race.give_back(outcome(runner.first, "cancelled"))
        assert stage.states()["n0"] == "ejected"
        assert "n0" not in stage.calls(6)
        stage.clock.advance(1.0)
        assert stage.calls(1) == {"n0": 1}
        assert stage.states()["n0"] == "slow_start"
        assert stage.in_flight() == 0

    @pytest.mark.parametrize("kind", ["refused", "reset", "unavailable"])
    def test_what_is_the_nodes_own_fault_stays_its_own(self, stage: Stage, kind: str):
        runner = Runner(stage)
        hedge = runner.hedge()
        runner.end(hedge)
        runner.race.leave()
        runner.finish(hedge)
        runner.race.give_back(outcome(runner.first, kind))
        assert stage.told(runner.first.node.host)["failures"] == 1

    def test_a_late_good_answer_is_a_success(self, stage: Stage):
        runner = Runner(stage)
        hedge = runner.hedge()
        assert runner.end(runner.first)
        assert runner.race.leave() == [hedge]
        runner.finish(runner.first)
        runner.race.give_back(outcome(hedge))
        told = stage.told(hedge.node.host)
        assert (told["calls"], told["success_rate"], told["in_flight"]) == (1, 1.0, 0)
        assert stage.status()["hedge"]["wins"] == 0

    @pytest.mark.parametrize("kind", ["refused", "connect_timeout", "timeout", "reset", "unavailable", "overload 429"])
    def test_a_failure_waits_for_the_other_try(self, stage: Stage, kind: str):
        for first_fails in (True, False):
            runner = Runner(stage)
            pair = (runner.first, runner.hedge())
            failing, other = pair if first_fails else pair[::-1]
            assert not runner.end(failing, kind)
            assert runner.end(other)
            assert runner.race.leave() == []
            assert runner.finish(other) is None
            assert stage.in_flight() == 0

    @pytest.mark.parametrize("kind", ["application", "server_error"])
    def test_what_would_not_be_tried_again_is_the_answer(self, stage: Stage, kind: str):
        runner = Runner(stage)
        hedge = runner.hedge()
        assert runner.end(runner.first, kind)
        assert runner.race.leave() == [hedge]

    def test_a_hedge_that_was_called_off_is_no_answer(self, stage: Stage):
        runner = Runner(stage)
        assert not runner.end(runner.hedge(), "cancelled")
        assert runner.end(runner.first)

    def test_the_deadline_is_the_answer(self, stage: Stage):
        runner = Runner(stage, timeout=1.0)
        hedge = runner.hedge()
        stage.clock.advance(0.95)
        assert runner.end(runner.first, "timeout")
        assert runner.race.leave() == [hedge]
        with pytest.raises(DeadlineExceeded):
            runner.finish(runner.first, "timeout")
        runner.race.give_back(outcome(hedge, "timeout"))
        assert stage.in_flight() == 0

    def test_both_count_as_tries_and_the_third_goes_to_the_third_node(self, stage: Stage):
        runner = Runner(stage)
        hedge = runner.hedge()
        assert not runner.end(runner.first, "reset")
        assert runner.end(hedge, "reset")
        assert runner.finish(hedge, "reset") is not None
        third = runner.call.begin()
        assert len({runner.first.node, hedge.node, third.node}) == 3
        assert runner.finish(third, "reset") is None

    def test_when_two_tries_are_all_that_is_left(self, stage: Stage):
        runner = Runner(stage, attempts=2)
        hedge = runner.hedge()
        assert not runner.end(hedge, "unavailable")
        assert runner.end(runner.first, "reset")
        with_notes = FAULTS["reset"]()
        assert isinstance(with_notes, BaseException)
        assert after_error(runner.call, runner.first, with_notes) is None
        assert with_notes.__notes__ == [f"{hedge.node.name}: unavailable, 0.000 s: 503 Service Unavailable"]

    def test_the_error_that_decides_tells_of_the_try_it_left(self, stage: Stage):
        runner = Runner(stage)
        hedge = runner.hedge()
        assert runner.end(hedge, "application")
        runner.race.leave()
        error = KeyError("no such product")
        assert after_error(runner.call, hedge, error) is None
        assert error.__notes__ == [f"{runner.first.node.name}: cancelled, 0.050 s: another node answered first"]

    def test_that_nobody_answered_in_time_is_not_told_as_an_answer(self, stage: Stage):
        runner = Runner(stage, timeout=1.0)
        hedge = runner.hedge()
        stage.clock.advance(1.0)
        assert runner.end(runner.first, "timeout")
        runner.race.leave()
        with pytest.raises(DeadlineExceeded) as raised:
            runner.finish(runner.first, "timeout")
        assert raised.value.__notes__[0] == f"{hedge.node.name}: cancelled, 1.000 s: the call's own time ran out"

    def test_nor_that_the_caller_went_away(self, stage: Stage):
        runner = Runner(stage)
        hedge = runner.hedge()
        assert runner.end(runner.first, "cancelled")
        runner.race.leave()
        gone = asyncio.CancelledError()
        assert after_error(runner.call, runner.first, gone) is None
        assert gone.__notes__ == [f"{hedge.node.name}: cancelled, 0.000 s: its caller went away"]


class TestKnown:
    """What a client's adapter knows of an error, beside what it says."""

    @pytest.mark.parametrize("first_fails", [True, False])
    def test_trouble_of_our_own_leaves_the_other_try_to_answer_and_blames_nobody(self, stage: Stage, first_fails: bool):
        runner = Runner(stage, lambda _, error: Fault(Kind.APPLICATION, "no connection became free in time"))
        hedge = runner.hedge()
        fails, answers = (runner.first, hedge) if first_fails else (hedge, runner.first)
        assert not runner.end(fails, "connect_timeout")
        assert stage.in_flight() == 1
        assert runner.end(answers)
        assert runner.finish(answers) is None
        assert [node["failures"] for node in stage.status()["nodes"]] == [0, 0, 0]

    def test_that_the_callers_time_is_up_ends_the_call(self, stage: Stage):
        runner = Runner(stage, lambda _, error: Fault(Kind.CANCELLED, "the session's own time ran out"))
        hedge = runner.hedge()
        assert runner.end(runner.first, "timeout")
        assert runner.race.leave() == [hedge]
        runner.race.give_back(outcome(hedge, "timeout"))
        assert [node["failures"] for node in stage.status()["nodes"]] == [0, 0, 0]


KINDS = st.sampled_from(["", "", *FAULTS])


class Histories(RuleBasedStateMachine):
    """Any number of hedged calls at once: each try is given back once, and nothing is in flight at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[tuple[Runner, list[Try]]] = []
        self.left: list[tuple[Race, Try]] = []
        self.calls = self.hedges = 0

    @initialize(nodes=st.integers(1, 4), share=st.sampled_from([0.05, 0.5, 1.0]), seed=st.integers(0, 99))
    def begin(self, nodes: int, share: float, seed: int) -> None:
        self.share = share
        self.stage = Stage(nodes, seed=seed, strategy="peak_ewma", hedge={"delay": 0.05, "max_extra": share})

    @rule()
    def call(self) -> None:
        runner = Runner(self.stage)
        self.calls += 1
        self.live.append((runner, [runner.first]))

    @rule(seconds=st.sampled_from([0.01, 0.05, 1.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.stage.clock.advance(seconds)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def hedge(self, data: st.DataObject) -> None:
        runner, tries = data.draw(st.sampled_from(self.live))
        if runner.race.second is not None or runner.due_in is None:
            return
        hedge = runner.race.hedge()
        if hedge is not None:
            self.hedges += 1
            tries.append(hedge)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), kind=KINDS)
    def end(self, data: st.DataObject, kind: str) -> None:
        runner, tries = data.draw(st.sampled_from(self.live))
        attempt = tries.pop(data.draw(st.integers(0, len(tries) - 1)))
        if not runner.end(attempt, kind):
            return
        left = runner.race.leave()
        assert left == tries
        self.left += [(runner.race, each) for each in left]
        self.live = [each for each in self.live if each[0] is not runner]
        try:
            wait = runner.finish(attempt, kind)
        except DeadlineExceeded:
            return
        if wait is not None:
            self.stage.clock.advance(wait)
            runner.finish(runner.call.begin())

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def go_away(self, data: st.DataObject) -> None:
        runner, tries = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        assert runner.race.leave() == tries
        self.left += [(runner.race, each) for each in tries]

    @precondition(lambda self: self.left)
    @rule(data=st.data(), kind=KINDS)
    def give_back(self, data: st.DataObject, kind: str) -> None:
        race, attempt = self.left.pop(data.draw(st.integers(0, len(self.left) - 1)))
        race.give_back(outcome(attempt, kind))

    @invariant()
    def what_is_open_is_in_flight(self) -> None:
        if not hasattr(self, "stage"):
            return
        open_now = sum(len(tries) for _, tries in self.live) + len(self.left)
        assert self.stage.in_flight() == open_now
        told = self.stage.status()["hedge"]
        assert told["hedges"] == self.hedges <= self.share * self.calls + 1e-6
        assert told["wins"] <= told["hedges"]

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        for runner, tries in self.live:
            self.left += [(runner.race, each) for each in tries]
            runner.race.leave()
        for race, attempt in self.left:
            race.give_back(outcome(attempt, "cancelled"))
        assert self.stage.in_flight() == 0


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
