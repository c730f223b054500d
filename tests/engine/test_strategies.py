"""Strategies by name: built-in ones, one's own, and what is said when a name or an option is wrong."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from balancemw import Balancer, SettingsError
from balancemw.load import Load
from balancemw.strategies import BUILT_IN, OptionError, Picker, Strategy, load_object, resolve
from tests.engine.chance import NOW, counted, loads, picker
from tests.engine.clock import FakeClock

HERE = __name__
NAMES = [
    "random",
    "round_robin",
    "weighted_random",
    "weighted_round_robin",
    "least_requests",
    "peak_ewma",
    "prequal",
    "load_weighted",
    "consistent_hash",
]
PLAIN = [name for name in NAMES if name not in ("prequal", "load_weighted", "consistent_hash")]


class First:
    """Always the first of those available, or the one at `place`."""

    def __init__(self, *, rng: Random, place: int = 0, reverse: bool = False) -> None:
        if place < 0:
            raise ValueError("place counts from 0")
        self.rng = rng
        self.place = place
        self.reverse = reverse

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:
        listed = available[::-1] if self.reverse else available
        return lambda now, key: listed[min(self.place, len(listed) - 1)]


class Anything(First):
    """Takes options of any name."""

    def __init__(self, *, rng: Random, **options: Any) -> None:
        super().__init__(rng=rng)
        self.options = options


class Plain(First):
    """Takes no options."""

    def __init__(self, rng: Random) -> None:
        super().__init__(rng=rng)


class Picky(First):
    """Says itself what is wrong with an option."""

    def __init__(self, *, rng: Random, place: int) -> None:
        super().__init__(rng=rng)
        if place > 10:
            raise OptionError("place", "at most 10")


class NeedsNothing:
    """Does not take the generator that every strategy is given."""

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:
        raise NotImplementedError


class Unpickable:
    def __init__(self, *, rng: Random) -> None: ...


class Opaque(type):
    """A class whose signature cannot be read."""

    @property
    def __signature__(cls) -> None:
        raise ValueError("no signature")


class FromC(First, metaclass=Opaque):
    pass


group = SimpleNamespace(inner=SimpleNamespace(First=First))


def problem(name: str, **options: object) -> str:
    try:
        resolve(name, options)
    except ValueError as error:
        return str(error)
    raise AssertionError("no problem")


class TestBuiltIn:
    def test_names(self):
        assert sorted(BUILT_IN) == sorted(NAMES)

    @pytest.mark.parametrize("name", NAMES)
    def test_each_is_a_strategy_that_picks_one_of_those_available(self, name: str):
        made = resolve(name, {})(Random(1))
        assert isinstance(made, Strategy)
        peers = loads([1.0, 2.0, 3.0, 1.5])
        for there in (peers, peers[1:3], peers[3:]):
            pick = made.picker(there, peers)
            assert {pick(NOW, f"key-{i}") for i in range(400)} == set(there)
            assert {pick(NOW, None) for _ in range(400)} <= set(there)

    @pytest.mark.parametrize("name", NAMES)
    def test_only_consistent_hash_goes_by_key(self, name: str):
        pick = picker(name, loads(10))
        owners = Counter(pick(NOW, "the same key").node.host for _ in range(200))
        assert (len(owners) == 1) == (name == "consistent_hash")
        assert bool(getattr(resolve(name, {})(Random(1)), "sticky", False)) == (name == "consistent_hash")

    @pytest.mark.parametrize("name", NAMES)
    def test_unknown_options_are_refused(self, name: str):
        with pytest.raises(OptionError) as caught:
            resolve(name, {"seed": 1})
        assert caught.value.option == "seed"
        assert str(caught.value).startswith(f"unknown option of strategy '{name}' (it takes")
        assert str(caught.value).endswith("(it takes no options)") == (name in PLAIN)

    @pytest.mark.parametrize("name", NAMES)
    def test_who_asks_for_reports(self, name: str):
        settings = {"services": {"inventory": {"nodes": ["http://a:1"], "strategy": name}}}
        balancer = Balancer(settings, clock=FakeClock(), rng=Random(1))
        balancer.close()  # nothing in the background
        assert balancer["inventory"].pool.wants_reports == (name in ("prequal", "load_weighted"))

    @pytest.mark.parametrize("name", NAMES)
    def test_picking_leaves_the_loads_alone(self, name: str):
        peers = loads(3)
        counted(picker(name, peers), 100)
        assert [(peer.in_flight, peer.latency, peer.started) for peer in peers] == [(0, 0.0, 0.0)] * 3


class TestOwn:
    def test_a_class_by_its_path(self):
        made = resolve(f"{HERE}:First", {})(rng := Random(1))
        assert type(made).__name__ == "First"
        assert made.rng is rng  # type: ignore[attr-defined]
        peers = loads(3)
        assert made.picker(peers, peers)(NOW, None) is peers[0]

    def test_with_options(self):
        made = resolve(f"{HERE}:First", {"place": 1, "reverse": True})(Random(1))
        peers = loads(4)
        assert made.picker(peers, peers)(NOW, None) is peers[2]

    def test_inside_something_else(self):
        assert type(resolve(f"{HERE}:group.inner.First", {})(Random(1))).__name__ == "First"

    def test_options_of_any_name(self):
        made = resolve(f"{HERE}:Anything", {"colour": "red"})(Random(1))
        assert made.options == {"colour": "red"}  # type: ignore[attr-defined]

    def test_a_class_that_tells_nothing_of_its_options(self):
        assert resolve(f"{HERE}:FromC", {"place": 1})(Random(1)).place == 1  # type: ignore[attr-defined]
        assert "cannot be made: TypeError" in problem(f"{HERE}:FromC", colour="red")

    def test_in_the_settings(self):
        nodes = ["http://a:1", "http://b:1", "http://c:1"]
        own = {"name": f"{HERE}:First", "place": 2}
        settings = {"services": {"inventory": {"nodes": nodes, "strategy": own}}}
        balancer = Balancer(settings, clock=FakeClock(), rng=Random(1))
        balancer.close()  # nothing in the background
        assert balancer["inventory"].pick().name == "c:1"
        balancer["inventory"].mark("b:1", "down", reason="test")
        assert balancer["inventory"].pick().name == "c:1"
        balancer["inventory"].mark("c:1", "down", reason="test")
        assert balancer["inventory"].pick().name == "a:1"


class TestProblems:
    def test_an_unknown_name(self):
        known = ", ".join(BUILT_IN)
        assert problem("rond_robin") == f"unknown strategy 'rond_robin'; did you mean 'round_robin'? (known: {known})"
        assert problem("zzz") == f"unknown strategy 'zzz' (known: {known})"

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("no_such_package.module:Class", "ModuleNotFoundError: No module named 'no_such_package'"),
            (f"{HERE}:Nothing", "AttributeError: module '.*' has no attribute 'Nothing'"),
            (f"{HERE}:First.Inner", "AttributeError: .*Inner"),
            (f"{HERE}:", "AttributeError"),
            (":First", "ValueError: Empty module name"),
            ("not a module:First", "ModuleNotFoundError"),
        ],
    )
    def test_what_cannot_be_imported(self, path: str, why: str):
        with pytest.raises(ValueError, match=f"^cannot import '{path}': {why}") as caught:
            resolve(path, {})
        assert caught.value.__cause__ is not None

    def test_a_module_that_breaks_when_imported(self, tmp_path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "breaks_on_import.py").write_text("1 / 0")
        monkeypatch.syspath_prepend(tmp_path)
        assert "cannot import 'breaks_on_import:X': ZeroDivisionError" in problem("breaks_on_import:X")

    @pytest.mark.parametrize("name", ["Unpickable", "group", "HERE"])
    def test_what_is_no_strategy(self, name: str):
        path = f"{HERE}:{name}"
        assert problem(path) == f"'{path}' is not a strategy: it has no method picker(available, everyone)"

    def test_an_unknown_option(self):
        with pytest.raises(OptionError) as caught:
            resolve(f"{HERE}:First", {"plase": 1})
        assert caught.value.option == "plase"
        told = f"unknown option of strategy '{HERE}:First'; did you mean 'place'? (it takes: place, reverse)"
        assert str(caught.value) == told

    @pytest.mark.parametrize("name", ["First", "Plain"])
    def test_the_generator_is_no_option(self, name: str):
        with pytest.raises(OptionError) as caught:
            resolve(f"{HERE}:{name}", {"rng": Random(1)})
        assert caught.value.option == "rng"

    def test_a_value_that_the_strategy_refuses(self):
        told = f"strategy '{HERE}:First' cannot be made: ValueError: place counts from 0"
        assert problem(f"{HERE}:First", place=-1) == told

    def test_a_value_that_the_strategy_refuses_by_name(self):
        with pytest.raises(OptionError) as caught:
            resolve(f"{HERE}:Picky", {"place": 11})
        assert (caught.value.option, str(caught.value)) == ("place", "at most 10")

    def test_an_option_that_is_missing(self):
        assert "cannot be made: TypeError" in problem(f"{HERE}:Picky")

    def test_a_class_that_is_not_made_like_a_strategy(self):
        assert "cannot be made: TypeError" in problem(f"{HERE}:NeedsNothing")

    def test_the_settings_name_the_key(self):
        settings = {"services": {"s": {"nodes": ["http://a:1"], "strategy": {"name": f"{HERE}:First", "plase": 1}}}}
        with pytest.raises(SettingsError) as caught:
            Balancer(settings)
        (told,) = caught.value.problems
        assert told.startswith("services.s.strategy.plase: unknown option")


def test_load_object_takes_anything_that_can_be_imported():
    assert load_object("math:pi") == pytest.approx(3.14159, abs=1e-5)
