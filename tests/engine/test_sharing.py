"""What workers share, decided on a fake clock over a store that is kept in memory."""

from collections.abc import Callable

import pytest

from balancemw import Event
from balancemw.health import Mark
from balancemw.sharing.trials import Trials
from tests.engine.crew import Crew, Depot, Member, View
from tests.engine.stage import refused, unavailable

PROBE = {"kind": "tcp", "interval": 5}


def out_at(member: Member, host: str = "n0") -> Mark:
    mark = member.pool.roster.find(f"{host}:80").marks["traffic"]
    assert mark.until is not None
    return mark


def until_due(crew: Crew, host: str = "n0") -> None:
    """Let the node's time out pass."""
    mark = out_at(crew[0], host)
    assert mark.until is not None
    crew.meet(mark.until - crew.clock() + 0.1)


class TestMarks:
    def test_the_last_word_holds_for_all(self):
        crew = Crew(3)
        crew[0].service.mark("n0:80", "down", reason="first")
        crew[1].service.mark("n0:80", "drain", reason="second")
        crew.meet()
        assert {member.states()["n0"] for member in crew} == {"draining"}
        assert len({str(member.marks()) for member in crew}) == 1

    def test_a_word_that_overtook_an_older_one_on_its_way_to_the_store_holds(self):
        """As where an operator's orders, one after the other, reach two workers, and the first is slow to tell."""
        crew = Crew(3)
        crew[0].service.mark("n0:80", "drain", reason="a mistake")
        crew.clock.advance(0.01)
        crew[1].service.mark("n0:80", "up", reason="taken back")
        crew[1].round()
        crew[0].round()
        crew.meet()
        assert [member.marks() for member in crew] == [{}] * 3

    def test_of_what_was_said_while_out_of_reach_the_newer_holds(self):
        crew = Crew(2)
        crew.depot.down = {"w0", "w1"}
        crew.meet()
        crew[0].service.mark("n0:80", "drain", reason="older")
        crew.clock.advance(1)
        crew[1].service.mark("n0:80", "down", reason="newer")
        crew.meet()
        crew.depot.down.clear()
        crew[1].round()
        crew.meet()
        assert {member.states()["n0"] for member in crew} == {"down"}

    @pytest.mark.parametrize("source", ["operator", "alert", "self", "traffic"])
    def test_it_ends_also_by_the_word_of_one_who_does_not_know_of_it_yet(self, source: str):
        crew = Crew(2)
        crew[0].service.mark("n0:80", "down", source=source, reason="known to one")
        crew.meet()
        newcomer = Member("w9", crew.depot, crew.clock, 3)
        if source == "self":
            newcomer.service.clear("n0:80", source=source)
        else:
            newcomer.service.mark("n0:80", "up", reason="it is well")
        newcomer.round()
        crew.meet()
        assert [member.marks() for member in (*crew, newcomer)] == [{}] * 3

    def test_it_is_known_again_when_the_store_has_forgotten_it(self):
        crew = Crew(2)
        crew[0].service.mark("n0:80", "drain", reason="kept")
        crew.meet()
        crew.depot.wipe()
        crew.meet()
        newcomer = Member("w9", crew.depot, crew.clock, 3)
        newcomer.round()
        assert newcomer.states()["n0"] == "draining"

    def test_who_comes_late_to_a_new_store_keeps_what_is_newer_than_what_it_finds_there(self):
        """As where a file is deleted: one has begun another, while two still tell each other things in the old one."""
        crew = Crew(3)
        crew[0].service.mark("n0:80", "drain", reason="kernel update")
        crew[0].service.mark("n1:80", "drain", reason="kernel update")
        crew.meet()
        another = Depot(crew.clock)
        another.wipe()
        crew[0].depot = another
        crew[0].round()
        crew.clock.advance(0.1)
        crew[1].service.clear("n0:80")
        crew[0].service.clear("n1:80")
        for member in crew:
            member.round()
        crew[1].depot = crew[2].depot = another
        crew.meet()
        assert [member.states() for member in crew] == [{"n0": "up", "n1": "up", "n2": "up"}] * 3

    def test_an_end_comes_by_itself_and_is_told_once(self):
        crew = Crew(3)
        crew[0].service.mark("n0:80", "drain", reason="short", ttl=1.0)
        crew.meet(0.5)
        assert crew[2].states()["n0"] == "draining"
        crew.clock.advance(1)
        assert [member.states()["n0"] for member in crew] == ["up"] * 3
        crew.meet()
        assert [event.event for event in crew.depot.journal] == ["drain", "expired"]

    def test_a_node_that_comes_later_is_known_already(self):
        crew = Crew(2, 2)
        crew[0].service.mark("n1:80", "drain", reason="one")
        crew[1].service.replace(["http://n0:80"])
        crew.meet()
        crew[1].service.replace(["http://n0:80", "http://n1:80"])
        crew.meet()
        assert crew[1].states() == {"n0": "up", "n1": "draining"}

    def test_time_out_doubles_for_the_pool_and_not_for_each_worker(self):
        crew = Crew(2)
        crew[0].put_out()
        crew.meet()
        assert crew[1].pool.roster.find("n0:80").record.level == 1
        until_due(crew)
        for member in crew:
            member.does["n0"] = refused
            member.calls(6, idempotent=True)
        crew.meet()
        assert [member.pool.roster.find("n0:80").record.level for member in crew] == [2, 2]
        assert out_at(crew[0]).reason == out_at(crew[1]).reason

    def test_what_all_nodes_failed_together_is_forgiven_by_all_workers(self):
        crew = Crew(2, 2)
        for member in crew:
            member.does = {"n0": refused, "n1": refused}
        for second in range(25):
            crew[second % 2].calls(2)
            crew.meet(1)
        assert all(member.pool.roster.find("n1:80").past.shared for member in crew)
        for member in crew:
            member.does = {"n1": refused}
        crew[0].calls(2)
        crew.meet(1.1)
        before = out_at(crew[1], "n1")
        while out_at(crew[1], "n1") is before:
            crew[1].calls(1)  # who has not seen it, and makes the trial
            crew.meet(0.1)
        mark = out_at(crew[1], "n1")
        assert "its trial call failed" in mark.reason
        assert 2.5 <= mark.until - mark.since <= 5  # type: ignore[operator]

    def test_a_node_that_one_finds_slow_gets_less_from_all(self):
        crew = Crew(3)
        slow = Mark("traffic", "weight", "it is slow", crew.clock(), weight=0.6)
        crew[0].pool.mark(crew[0].pool.roster.find("n0:80"), slow, crew.clock())
        crew.meet()
        assert all(member.marks() == {("n0", "traffic"): ("weight", "it is slow", None, 0.6)} for member in crew)
        assert [member.pool.roster.find("n0:80").eased for member in crew] == [0.6] * 3

    def test_a_probes_mark_means_nothing_to_those_who_do_not_check(self):
        crew = Crew(2)
        checking = Member("w9", crew.depot, crew.clock, 3, probe=PROBE)
        checking.service.mark("n0:80", "down", source="probe", reason="it is dead")
        checking.round()
        crew.meet()
        assert crew[0].states()["n0"] == "up"
        other = Member("w8", crew.depot, crew.clock, 3, probe=PROBE)
        other.round()
        assert other.states()["n0"] == "down"


class TestTrials:
    def test_one_for_all(self):
        crew = Crew(4)
        crew[2].put_out()
        crew.meet()
        until_due(crew)
        opened = [member.open() for member in crew for _ in range(6)]
        assert sum(call.node.host == "n0" for call in opened) == 1
        for call in opened:
            call.end()
        crew.meet()
        assert {member.states()["n0"] for member in crew} == {"up"}

    def test_it_goes_round_until_one_has_a_call_to_make(self):
        crew = Crew(3)
        crew[0].put_out()
        crew.meet()
        until_due(crew)
        busy, calls = crew[1], 0
        while busy.states()["n0"] != "up":
            crew.meet(0.2)
            busy.calls(1)
            calls += 1
            assert calls < 100
        assert calls > 0

    def test_one_that_dies_with_it_does_not_keep_it(self):
        crew = Crew(2)
        crew[0].put_out()
        crew.meet()
        until_due(crew)
        opened = {member.name: [member.open().node.host for _ in range(4)] for member in crew}
        (left,) = [member for member in crew if "n0" not in opened[member.name]]
        for _ in range(60):  # its process was killed: it says no more
            crew.clock.advance(0.05)
            left.round()
        left.calls(4)
        left.round()
        assert left.states()["n0"] == "up"

    def test_alone_it_need_not_ask(self):
        crew = Crew(2)
        crew[0].put_out()
        crew.meet()
        crew.depot.down = {"w0", "w1"}
        until_due(crew)
        crew.meet(3.0)
        for member in crew:
            member.calls(6)
            assert member.states()["n0"] == "up"

    def test_not_before_it_is_known_that_there_is_no_store(self):
        crew = Crew(2)
        crew[0].put_out()
        crew.clock.advance(10.0)
        assert {crew[0].open().node.host for _ in range(6)} == {"n1", "n2"}


class TestElection:
    def elected(self, crew: Crew) -> list[str]:
        return [member.name for member in crew if member.courier.leads("s")]

    def test_one_of_all(self):
        crew = Crew(3, probe=PROBE)
        crew.meet(1.0)
        assert self.elected(crew) == ["w0"]
        crew.meet(10.0)
        assert self.elected(crew) == ["w0"]

    def test_another_when_it_says_no_more(self):
        crew = Crew(3, probe=PROBE)
        crew.meet(1.0)
        first, crew.members = crew.members[0], crew.members[1:]
        crew.meet(3.0)
        assert self.elected(crew) == ["w1"]
        assert not first.courier.leads("s")  # it was stopped, and sees by its clock that its time is over
        first.round()
        assert not first.courier.leads("s")

    def test_another_at_once_when_it_ends(self):
        crew = Crew(2, probe=PROBE)
        crew.meet(1.0)
        crew[0].end()
        assert not crew[0].courier.leads("s")
        crew.members = crew.members[1:]
        crew.meet(0.6)
        assert self.elected(crew) == ["w1"]
        assert crew[0].pool.budget.workers == 1

    def test_each_for_itself_without_a_store_and_one_when_it_is_back(self):
        crew = Crew(3, probe=PROBE)
        crew.meet(1.0)
        crew.depot.down = {"w0", "w1", "w2"}
        crew.meet(1.0)
        assert self.elected(crew) == ["w0"]
        crew.meet(2.0)
        assert self.elected(crew) == ["w0", "w1", "w2"]
        crew.depot.down.clear()
        crew.meet(1.0)
        assert len(self.elected(crew)) == 1

    def test_nobody_where_nothing_is_checked(self):
        crew = Crew(2)
        crew.meet(1.0)
        assert self.elected(crew) == []

    def test_what_a_probe_has_proven_is_known_to_all_who_ask_the_same(self):
        crew = Crew(2, probe=PROBE)
        crew[0].pool.prove()
        crew.meet()
        assert crew[1].shared.proven
        other = Member("w9", crew.depot, crew.clock, 3, probe={"kind": "http", "path": "/mistyped"})
        other.round()
        assert not other.shared.proven


class TestBudget:
    def test_the_floor_is_for_all_workers_of_the_host(self):
        crew = Crew(4, 3, retry={"budget": 0, "budget_floor": 4, "attempts": 2})
        crew.meet()
        for member in crew:
            assert member.pool.budget.workers == 4
            member.all(unavailable)
            member.calls(100, idempotent=True)
        retries = sum(len(member.sent) - 100 for member in crew)
        assert 0 < retries <= 4 * 10.0

    def test_a_worker_that_has_gone_leaves_its_part(self):
        crew = Crew(2)
        crew.meet()
        crew.members = crew.members[:1]
        crew.meet(3.0)
        assert crew[0].pool.budget.workers == 1


class TestFigures:
    def test_failures_in_a_row_count_wherever_they_are_seen(self):
        crew = Crew(3, ejection={"consecutive": 5})
        for member in (crew[0], crew[1]):
            member.fails("n0", "timeout", 2)
            crew.meet()
        assert crew[2].states()["n0"] == "up"
        crew[2].fails("n0", "timeout")
        crew.meet()
        assert {member.states()["n0"] for member in crew} == {"ejected"}
        assert "5 failures in a row" in out_at(crew[0]).reason

    def test_a_success_ends_the_row(self):
        crew = Crew(2, ejection={"consecutive": 3})
        crew[0].fails("n0", "timeout", 2)
        crew.meet()
        crew[1].open_on("n0").end()
        crew[1].fails("n0", "timeout")
        assert crew[1].states()["n0"] == "up"

    def test_the_status_is_that_of_all(self):
        crew = Crew(2)
        crew.meet()
        crew[0].calls(30)
        crew[1].calls(12)
        call = crew[1].open()
        crew.meet(1.0)
        for member in crew:
            assert sum(member.told(f"n{i}")["calls"] for i in range(3)) == 42
            assert member.in_flight() == 1
        call.end()

    def test_a_worker_that_has_gone_is_not_counted(self):
        crew = Crew(2)
        crew[1].calls(30)
        crew.meet()
        crew.members = crew.members[:1]
        crew.meet(3.0)
        assert [crew[0].told(f"n{i}")["calls"] for i in range(3)] == [0, 0, 0]


class TestJournal:
    def test_all_have_the_same_with_the_same_numbers(self):
        crew = Crew(3)
        for number, member in enumerate(crew):
            member.service.mark(f"n{number}:80", "drain", reason="one")
            crew.meet()
        journals = [member.balancer.journal.after() for member in crew]
        assert journals[0] == journals[1] == journals[2]
        assert [event.id for event in journals[0]] == [1, 2, 3]
        assert [event.node for event in journals[0]] == ["n0:80", "n1:80", "n2:80"]

    def test_out_of_reach_one_sees_at_least_ones_own(self):
        crew = Crew(2)
        crew[0].service.mark("n0:80", "drain", reason="one")
        crew.meet()
        crew.depot.down = {"w0"}
        crew.meet(2.0)
        crew[0].service.mark("n1:80", "drain", reason="two")
        crew[1].service.mark("n2:80", "drain", reason="three")
        crew.meet()
        assert [(event.id, event.node) for event in crew[0].balancer.journal.after(1)] == [(2, "n1:80")]
        crew.depot.down.clear()
        crew.meet()
        assert [event.node for event in crew[0].balancer.journal.after(1)] == ["n2:80", "n1:80"]

    def test_it_goes_on_counting_in_a_new_store(self):
        crew = Crew(2)
        crew[0].service.mark("n0:80", "drain", reason="one")
        crew.meet()
        crew.depot.wipe()
        crew[1].service.clear("n0:80")
        crew.meet()
        assert [event.id for event in crew[0].balancer.journal.after()] == [1, 2]

    def test_what_all_see_is_told_by_one(self):
        crew = Crew(3, 2)
        crew[0].put_out("n0")
        crew[0].fails("n1", "refused")
        crew.meet()
        assert all(member.available() == {"n0", "n1"} for member in crew)
        crew.meet()
        told = [event.event for event in crew[0].balancer.journal.after()]
        assert told.count("fail_open") == 1

    def test_none_is_passed_over_for_one_that_newer_ones_push_out_while_it_is_told(self):
        (member,) = crew = Crew(1)
        member.put_out("n0")
        journal = member.balancer._events.journal
        newer = [Event(0, 0.0, "s", f"n{number}:80", "noted", "operator") for number in range(1000)]

        class Flood(View):
            def hold(self, name: str, holder: str, ttl: float) -> bool:
                if name.startswith("said:ejected"):
                    for event in newer:
                        journal.add(event)
                return super().hold(name, holder, ttl)

        member.courier.round(Flood(crew.depot, member.name), changed=True)
        assert any(name.startswith("said:ejected") for name in crew.depot.leases)
        assert [event.node for event in crew.depot.journal if event.event == "noted"] == [each.node for each in newer]


def test_malformed_figures_of_others_are_left_out():
    crew = Crew(2)
    crew.depot.workers["x"] = (float("inf"), "nonsense")
    crew.depot.workers["y"] = (float("inf"), '["y", {"s": {"http://n0:80": [1, 2]}, "t": 5}]')
    crew.depot.workers["z"] = (
        float("inf"),
        '["z", {"s": {"http://n0:80": [1, 2, true, 0], "http://n1:80": [0, 7, 0, 0]}}]',
    )
    crew.meet()
    assert [crew[0].told(f"n{i}")["calls"] for i in range(2)] == [0, 7]


@pytest.mark.parametrize("alone", [True, False])
def test_who_shares_nothing_may_do_everything(alone: bool):
    crew = Crew(1)
    crew[0].shared.set_alone(alone=alone)
    peer = crew[0].pool.roster.find("n0:80")
    assert crew[0].shared.may_try(peer) is alone


class TestPlaces:
    def test_what_concerns_checks_is_no_affair_of_who_makes_none(self):
        crew = Crew(1)
        crew[0].service.mark("n0:80", "down", source="probe", reason="by hand")
        assert crew[0].shared.take() == []

    def test_a_proof_is_told_once(self):
        crew = Crew(1, probe=PROBE)
        for _ in range(2):
            crew[0].shared.prove()
            crew.meet()
        assert [revision for revision, _ in crew.depot.claims.values()] == [1]

    def test_of_a_node_that_has_left_meanwhile_nothing_is_told(self):
        crew = Crew(1)
        crew[0].service.mark("n0:80", "drain", reason="going")
        crew[0].service.replace(["http://n1:80", "http://n2:80"])
        assert crew[0].shared.take() == []

    def test_what_changed_while_it_could_not_be_told_is_told_as_it_is_then(self):
        crew = Crew(2)
        crew[0].service.mark("n0:80", "drain", reason="first")
        claims = crew[0].shared.take()
        crew[0].service.mark("n0:80", "down", reason="second")
        crew[0].shared.put_back(claims, late=False)
        (claim,) = crew[0].shared.take()
        assert claim.mark is not None
        assert (claim.mark.kind, claim.mark.reason) == ("down", "second")

    def test_failures_of_a_node_that_only_others_have_count_for_nobody(self):
        crew = Crew(2)
        crew[1].service.replace(["http://n1:80", "http://n2:80"])
        crew[0].fails("n0", "timeout", 2)
        crew[0].fails("n1", "timeout", 1)
        crew.meet()
        peers = crew[1].pool.roster.peers.values()
        assert {peer.node.host: peer.record.elsewhere for peer in peers} == {"n1": 1, "n2": 0}


class TestTrialsOfOne:
    def tend(self, crew: Crew, trials: Trials, catch_up: Callable[[], None] = lambda: None) -> None:
        view, now = View(crew.depot, "w0"), crew.clock()
        trials.tend([crew[0].shared], view, now, now, workers=2, catch_up=catch_up)

    def test_one_that_another_has_made_just_now_is_given_back(self):
        crew, trials = Crew(1), Trials("w0")
        crew[0].put_out()
        crew.clock.advance(10)
        self.tend(crew, trials, lambda: crew[0].service.mark("n0:80", "up", reason="it is well"))
        assert (trials.names(), crew.depot.leases) == ([], {})

    def test_who_is_cut_off_has_none_left(self):
        crew, trials = Crew(1), Trials("w0")
        crew[0].put_out()
        crew.clock.advance(10)
        self.tend(crew, trials)
        peer = crew[0].pool.roster.find("n0:80")
        assert trials.names() == ["trial:s:http://n0:80"]
        assert crew[0].shared.may_try(peer)
        trials.drop()
        assert trials.names() == []
        assert not crew[0].shared.may_try(peer)

    def test_a_call_makes_none_that_has_gone_to_another_meanwhile(self):
        crew = Crew(1)
        crew[0].put_out()
        crew.clock.advance(10)
        pool = crew[0].pool
        peer = pool.roster.find("n0:80")
        assert not pool._claim(peer, crew.clock(), True)
        crew[0].shared.grant(peer.node.url)
        assert pool._claim(peer, crew.clock(), True)
