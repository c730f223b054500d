"""Lower priority numbers are used first."""

from tests.engine.stage import Stage, refused


def tiers(*sizes: int) -> list[dict[str, object]]:
    """Nodes n0, n1 … of priority 0, 1 …"""
    priorities = [priority for priority, size in enumerate(sizes) for _ in range(size)]
    return [{"url": f"http://n{i}:80", "priority": priority} for i, priority in enumerate(priorities)]


def test_lower_numbers_are_used_first():
    stage = Stage(list(reversed(tiers(2, 2))), strategy="random")
    assert set(stage.calls(50)) == {"n0", "n1"}


def test_the_next_priority_is_used_only_when_none_of_the_first_is_available():
    stage = Stage(tiers(2, 2, 1))
    stage.service.mark("n0:80", "down", reason="?")
    assert set(stage.calls(20)) == {"n1"}
    stage.service.mark("n1:80", "drain", reason="?")
    assert set(stage.calls(20)) == {"n2", "n3"}
    stage.service.mark("n2:80", "down", reason="?")
    stage.service.mark("n3:80", "down", reason="?")
    assert set(stage.calls(20)) == {"n4"}
    stage.service.clear("n1:80")
    stage.clock.advance(60)
    assert set(stage.calls(20)) == {"n1"}


def test_where_the_first_priority_is_sick_as_a_whole_the_next_does_most_of_the_work():
    stage = Stage(tiers(2, 2))
    stage.does = {"n0": refused, "n1": refused}
    stage.calls(20, idempotent=True)
    later = stage.calls(400, attempts=1)
    assert later["n2"] + later["n3"] > 300


def test_while_the_first_priority_is_well_no_call_goes_to_another_not_even_as_a_trial():
    stage = Stage(tiers(1, 2), slow_start={"window": 0})
    stage.service.mark("n0:80", "down", reason="?", ttl=5)
    stage.does["n1"] = refused
    stage.calls(4)
    assert stage.states()["n1"] == "ejected"
    stage.clock.advance(400)
    assert stage.calls(10) == {"n0": 10}
    stage.service.mark("n0:80", "down", reason="?")
    del stage.does["n1"]
    assert stage.calls(2)["n1"] > 0
