"""Several strategies, or variants of settings, in one scenario, each simulated in a process of its own."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fcntl import F_DUPFD_CLOEXEC, fcntl
from functools import partial
from threading import Event
from typing import Self

from balancemw.errors import SettingsError
from balancemw.simulate.course import follow
from balancemw.simulate.outcome import Outcome
from balancemw.simulate.scenario import Scenario
from balancemw.simulate.verdict import DEFAULT, recommend

_PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all processes: only the first is to tell of it
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
from balancemw.simulate.apart import main
main()
"""

Strategy = str | Mapping[str, object]
"""As in the settings: a name, ``"package.module:Class"``, or a mapping with a name and options."""

Choice = tuple[Strategy | None, str | None]
"""A strategy, or a variant of the service's settings."""

_LONG = 30.0  # seconds of a run, of which `load_weighted` spends the first ten on finding out
_AT_ONCE = 2
_MOST_PAIRS = 1_000_000  # of callers and replicas, at up to a kilobyte each, that are simulated at once: within 1 GiB


class SimulationFailed(RuntimeError):
    """A simulation ended with an error, of which its process has told, or was killed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of a scenario under several strategies, or variants of the service's settings.

    Attributes:
        scenario: the scenario.
        seed: of all chance.
        outcomes: one per strategy, in the order they were asked for, or per variant, in the scenario's order.
    """

    scenario: Scenario
    seed: int
    outcomes: tuple[Outcome, ...]

    @property
    def recommendation(self) -> str:
        """Which strategy or variant to choose, and why: one sentence."""
        own = _own(self.scenario)
        return recommend(self.outcomes, DEFAULT if own is None else _name(own))

    def as_dict(self) -> dict[str, object]:
        """All of it as plain data that JSON can hold, but for how long the simulations took: the same every time."""
        outcomes = [
            {**asdict(each), "error_rate": each.error_rate, "amplification": each.amplification}
            for each in self.outcomes
        ]
        for each in outcomes:
            del each["seconds"]
        return {
            "scenario": asdict(self.scenario),
            "seed": self.seed,
            "outcomes": outcomes,
            "recommendation": self.recommendation,
        }


def _own(scenario: Scenario) -> Strategy | None:
    """The strategy that the scenario's service has."""
    return scenario.service.get("strategy")


def _name(strategy: Strategy) -> str:
    return str(strategy.get("name")) if isinstance(strategy, Mapping) else strategy


def default_strategies(scenario: Scenario) -> tuple[Strategy, ...]:
    """Those worth a look: the service's own, if it names one; by key only where there are keys, in turn by weight where
    there are weights, and by weights that are found out where there are none and the run is long enough for that."""
    in_turn = "weighted_round_robin" if scenario.replica.weighted else "round_robin"
    by_key = ("consistent_hash",) if scenario.keys else ()
    unknown = len(set(scenario.speeds)) > 1 and not scenario.replica.weighted
    by_load = ("load_weighted",) if unknown and scenario.duration >= _LONG else ()
    names = (in_turn, "least_requests", DEFAULT, "prequal", *by_load, *by_key)
    own = _own(scenario)
    return names if own is None else (own, *(name for name in names if name != _name(own)))


def simulate(
    scenario: Scenario, strategy: Strategy | None = None, *, variant: str | None = None, seed: int = 1
) -> Outcome:
    """Simulate `scenario` under one strategy, here and now. The same arguments give the same outcome.

    Args:
        scenario: what is simulated.
        strategy: which; None: the variant's or the scenario's own.
        variant: which of the scenario's; None: the service as it is.
        seed: of all chance.

    Raises:
        SettingsError: the strategy or the settings of the service are wrong, or there is no such variant.
    """
    return follow(scenario, strategy, seed, variant)


def compare(
    scenario: Scenario,
    strategies: Sequence[Strategy] | Strategy | None = None,
    *,
    seed: int = 1,
    at_once: int = _AT_ONCE,
) -> Comparison:
    """Simulate `scenario` under each of `strategies` or of its variants, with the same calls and work for all.

    Args:
        scenario: what is simulated.
        strategies: one or several; None: its variants, or `default_strategies` where it has none.
        seed: of all chance.
        at_once: how many may be simulated at once, each in a process of its own. Very many callers of very many
            replicas are simulated one after the other in any case, for the memory they take.

    Raises:
        SettingsError: a strategy or the settings of the service are wrong, or there are strategies and variants.
        SimulationFailed: a strategy raised, or there was no memory.
    """
    scenario.check_size()
    chosen = _choices(scenario, strategies)
    _check(scenario, chosen)
    pairs = scenario.callers * scenario.replicas
    fitting = max(1, min(at_once, _MOST_PAIRS // pairs))
    held_back = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGINT})  # until the program is ready for it
    with _Apart(scenario, seed) as apart, ThreadPoolExecutor(fitting, initializer=held_back) as threads:
        try:
            return Comparison(scenario, seed, tuple(threads.map(apart.simulate, chosen)))
        except BaseException:
            apart.end()
            raise


def _choices(scenario: Scenario, strategies: Sequence[Strategy] | Strategy | None) -> tuple[Choice, ...]:
    if not scenario.variants:
        named = (strategies,) if isinstance(strategies, str | Mapping) else strategies
        return tuple((each, None) for each in named or default_strategies(scenario))
    if strategies:
        how = "name a strategy in the service or in a variant"
        raise SettingsError([f"variants: these are compared, and not strategies as well; {how}"], "the scenario")
    return tuple((None, each) for each in scenario.variants)


def _check(scenario: Scenario, choices: Sequence[Choice]) -> None:
    """Tell of all that is wrong with any of them, before much is simulated."""
    problems: dict[str, None] = {}
    for strategy, variant in choices:
        try:
            scenario.settings(strategy, variant=variant)
        except SettingsError as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise SettingsError(problems, "the scenario")


class _Apart:
    """Simulations in other processes: plain ones, since forking does not suit threads, nor spawning scripts.

    Once one has failed, or all were told to end, one that begins is ended at once. They hold one end of a pipe, and end
    when the other is gone, since who is killed cannot end them.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._seed = seed
        self._over = Event()
        self._running: set[subprocess.Popen[bytes]] = set()
        theirs, self._ours = os.pipe()
        self._theirs = fcntl(theirs, F_DUPFD_CLOEXEC, 3)  # where standard input is closed, the pipe is not to be it
        os.close(theirs)

    def simulate(self, choice: Choice) -> Outcome:
        """As the function of that name."""
        strategy, variant = choice
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        plain = dict(strategy) if isinstance(strategy, Mapping) else strategy
        order = pickle.dumps((self._scenario, plain, self._seed, variant))
        command, pipe = [sys.executable, "-c", _PROGRAM, str(self._theirs)], subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, pass_fds=(self._theirs,)) as process:
            self._running.add(process)
            if self._over.is_set():  # after it is known to who ends all, so that none is missed
                process.kill()
            told, _ = process.communicate(order)
        if process.returncode != 0:
            self._over.set()  # those that run may end: theirs are not the words that are wanted
            raise SimulationFailed(f"the simulation of {strategy or variant!r} ended with status {process.returncode}")
        outcome: Outcome = pickle.loads(told)
        return outcome

    def end(self) -> None:
        """End all of them."""
        self._over.set()
        for process in tuple(self._running):
            process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._ours)
        os.close(self._theirs)
