"""Marks: what may be claimed, who is obeyed, and when a claim ends."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.health import (
    AUTOMATIC,
    COMMANDS,
    KINDS,
    OVERRIDDEN_BY_UP,
    SOURCES,
    Mark,
    Marks,
    check_mark,
    check_source,
    commanded,
    weight_factor,
)

NOW = 1000.0


def marks(**kinds: str) -> Marks:
    """A mark of each source; of kind ``weight`` with the factor behind a colon."""
    made = {}
    for source, claim in kinds.items():
        kind, _, weight = claim.partition(":")
        made[source] = Mark(source, kind, "because", NOW, weight=float(weight) if weight else None)
    return made


class TestSources:
    def test_every_source_of_the_contract_is_either_obeyed_or_bounded(self):
        assert set(SOURCES) == {"probe", "traffic", "alert", "operator", "discovery", "self"}
        assert set(COMMANDS) | set(AUTOMATIC) == set(SOURCES)
        assert not set(COMMANDS) & set(AUTOMATIC)
        assert COMMANDS[0] == "operator"

    def test_what_an_operator_overrides_by_saying_up(self):
        assert set(OVERRIDDEN_BY_UP) == {"operator", "alert", "traffic", "probe", "self"}


class TestCommanded:
    @pytest.mark.parametrize("source", COMMANDS)
    @pytest.mark.parametrize(("kind", "state"), [("down", "down"), ("drain", "draining"), ("weight:2", None)])
    def test_of_one_source(self, source: str, kind: str, state: str | None):
        assert commanded(marks(**{source: kind})) == state

    def test_nothing_is_commanded_by_nobody(self):
        assert commanded({}) is None

    @pytest.mark.parametrize("source", AUTOMATIC)
    @pytest.mark.parametrize("kind", ["down", "ejected", "resting"])
    def test_automatic_sources_command_nothing(self, source: str, kind: str):
        assert commanded(marks(**{source: kind})) is None

    @pytest.mark.parametrize(("higher", "lower"), list(pairwise(COMMANDS)))
    def test_the_higher_source_is_obeyed(self, higher: str, lower: str):
        assert commanded(marks(**{higher: "drain", lower: "down"})) == "draining"
        assert commanded(marks(**{lower: "drain", higher: "down"})) == "down"
        assert commanded(marks(**{higher: "weight:2", lower: "down"})) == "down"


class TestWeight:
    def test_one_unless_somebody_says_otherwise(self):
        assert weight_factor({}) == 1.0
        assert weight_factor(marks(operator="down", probe="down", traffic="ejected")) == 1.0

    @pytest.mark.parametrize(("higher", "lower"), list(pairwise(COMMANDS)))
    def test_the_highest_that_names_one(self, higher: str, lower: str):
        assert weight_factor(marks(**{lower: "weight:0.5", higher: "weight:3"})) == 3.0
        assert weight_factor(marks(**{lower: "weight:0.5", higher: "down"})) == 0.5


class TestExpiry:
    @given(st.sampled_from(["down", "drain", "weight", "resting"]), st.floats(0.001, 1e6), st.floats(-10.0, 1e6))
    def test_ends_when_its_time_has_come(self, kind: str, ttl: float, passed: float):
        mark = Mark("operator", kind, "because", NOW, NOW + ttl)
        assert mark.expired(NOW + passed) == (NOW + passed >= NOW + ttl)

    @pytest.mark.parametrize("kind", ["down", "drain", "weight", "resting", "ejected"])
    def test_without_an_end_it_does_not(self, kind: str):
        assert not Mark("operator", kind, "because", NOW).expired(NOW + 1e9)

    def test_an_ejection_ends_only_when_the_node_has_shown_that_it_works(self):
        assert not Mark("traffic", "ejected", "because", NOW, NOW + 5.0).expired(NOW + 1e9)

    def test_a_mark_is_frozen(self):
        with pytest.raises(AttributeError):
            Mark("operator", "down", "because", NOW).kind = "drain"  # type: ignore[misc]


class TestCheck:
    @pytest.mark.parametrize(
        ("source", "kind"), [*product(COMMANDS, (*KINDS, "up")), *product(AUTOMATIC, ("down", "up"))]
    )
    def test_what_may_be_said(self, source: str, kind: str):
        check_mark(kind, source, 2.0 if kind == "weight" else None, None)
        check_mark(kind, source, 10.0 if kind == "weight" else None, 0.001)
        check_source(source)

    @pytest.mark.parametrize(("source", "kind"), list(product(AUTOMATIC, ("drain", "weight"))))
    def test_what_automatic_sources_may_not_say(self, source: str, kind: str):
        with pytest.raises(ValueError, match=f"source '{source}' can only say 'down' or 'up', not '{kind}'"):
            check_mark(kind, source, 2.0 if kind == "weight" else None, None)

    @pytest.mark.parametrize(
        ("kind", "source", "weight", "ttl", "problem"),
        [
            ("gone", "operator", None, None, r"unknown kind 'gone' \(known: down, drain, weight, up\)"),
            ("ejected", "traffic", None, None, "unknown kind 'ejected'"),
            ("down", "nobody", None, None, r"unknown source 'nobody' \(known: operator, alert, discovery, self,"),
            ("weight", "operator", None, None, "a mark of kind 'weight' needs weight=, and no other kind takes one"),
            ("down", "operator", 2.0, None, "a mark of kind 'weight' needs weight=, and no other kind takes one"),
            ("up", "operator", 1.0, None, "a mark of kind 'weight' needs weight=, and no other kind takes one"),
            ("weight", "operator", 0.0, None, "weight is a factor above 0 and up to 10, not 0.0"),
            ("weight", "operator", -1.0, None, "weight is a factor above 0 and up to 10, not -1.0"),
            ("weight", "operator", 10.01, None, "weight is a factor above 0 and up to 10, not 10.01"),
            ("weight", "operator", float("nan"), None, "weight is a factor above 0 and up to 10, not nan"),
            ("down", "operator", None, 0.0, "ttl is a number of seconds above 0, not 0.0"),
            ("down", "operator", None, -5, "ttl is a number of seconds above 0, not -5"),
            ("down", "operator", None, float("inf"), "ttl is a number of seconds above 0, not inf"),
            ("down", "operator", None, float("nan"), "ttl is a number of seconds above 0, not nan"),
        ],
    )
    def test_what_makes_no_sense(self, kind: str, source: str, weight: float | None, ttl: float | None, problem: str):
        with pytest.raises(ValueError, match=f"^{problem}"):
            check_mark(kind, source, weight, ttl)

    def test_an_unknown_source(self):
        with pytest.raises(ValueError, match="unknown source 'oprator'"):
            check_source("oprator")
