"""Our own errors: what catches them, what they say, and that they survive a trip to another process."""

import copy
import pickle

import pytest

from balancemw import (
    BalanceError,
    BalancerNotConfigured,
    DeadlineExceeded,
    NoNodeAvailable,
    SettingsError,
    UnknownService,
)
from balancemw.errors import did_you_mean


class TestFamily:
    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (SettingsError(["x"]), ValueError),
            (UnknownService("x"), KeyError),
            (UnknownService("x"), LookupError),
            (NoNodeAvailable("x"), BalanceError),
            (DeadlineExceeded("x"), TimeoutError),
            (DeadlineExceeded("x"), OSError),
            (BalancerNotConfigured("x"), RuntimeError),
        ],
    )
    def test_caught_as(self, error: Exception, kind: type[Exception]):
        assert isinstance(error, kind)
        assert isinstance(error, BalanceError)

    def test_no_node_is_no_timeout_and_no_key(self):
        assert not isinstance(NoNodeAvailable(), (OSError, LookupError, ValueError, RuntimeError))

    @pytest.mark.parametrize("kind", [UnknownService, NoNodeAvailable, DeadlineExceeded, BalancerNotConfigured])
    def test_says_what_it_was_told(self, kind: type[Exception]):
        assert str(kind("no 'x' here")) == "no 'x' here"
        assert str(kind()) == ""


class TestSettingsError:
    def test_one_line_for_each_problem(self):
        error = SettingsError(problem for problem in ("a: wrong", "b: missing"))
        assert error.problems == ("a: wrong", "b: missing")
        assert str(error) == "2 problems in the balancemw settings:\n  - a: wrong\n  - b: missing"

    def test_one_problem(self):
        assert str(SettingsError(["a: wrong"])) == "1 problem in the balancemw settings:\n  - a: wrong"

    def test_it_can_be_of_something_else(self):
        assert str(SettingsError(["a: wrong"], "the scenario")) == "1 problem in the scenario:\n  - a: wrong"


class TestElsewhere:
    @pytest.mark.parametrize("trip", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
    @pytest.mark.parametrize(
        "error",
        [
            SettingsError(["a: wrong", "b: missing"]),
            SettingsError(["a: wrong"], "the scenario"),
            UnknownService("no 'x'"),
            NoNodeAvailable("none left", retry_after=7.5),
            DeadlineExceeded("too late"),
            BalancerNotConfigured("nothing here"),
        ],
    )
    def test_nothing_is_lost(self, error, trip):
        back = trip(error)
        assert type(back) is type(error)
        assert str(back) == str(error)
        assert vars(back) == vars(error)

    def test_retry_after(self):
        assert NoNodeAvailable().retry_after == 1.0
        assert str(NoNodeAvailable("none left", 7.5)) == "none left"
        assert pickle.loads(pickle.dumps(NoNodeAvailable("x", 7.5))).retry_after == 7.5


class TestHint:
    @pytest.mark.parametrize(
        ("word", "hint"),
        [("backof", "; did you mean 'backoff'?"), ("inventry", "; did you mean 'inventory'?"), ("zzz", ""), ("", "")],
    )
    def test_the_nearest_known_word(self, word: str, hint: str):
        assert did_you_mean(word, (known for known in ("backoff", "backoff_max", "inventory"))) == hint

    def test_nothing_known(self):
        assert did_you_mean("x", ()) == ""
