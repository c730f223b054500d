"""Several strategies in one scenario, each simulated in a process of its own."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from threading import Event

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

_AT_ONCE = 2
_MOST_PAIRS = 1_000_000  # of callers and replicas, at up to a kilobyte each, that are simulated at once: within 1 GiB


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of a scenario under several strategies.

    Attributes:
        scenario: the scenario.
        seed: of all chance.
        outcomes: one per strategy, in the order they were asked for.
    """

    scenario: Scenario
    seed: int
    outcomes: tuple[Outcome, ...]

    @property
    def recommendation(self) -> str:
        """Which strategy to choose, and why: one sentence."""
        return recommend(self.outcomes)

    def as_dict(self) -> dict[str, object]:
        """All of it as plain data that JSON can hold."""
        outcomes = [
            {**asdict(each), "error_rate": each.error_rate, "amplification": each.amplification}
            for each in self.outcomes
        ]
        return {
            "scenario": asdict(self.scenario),
            "seed": self.seed,
            "outcomes": outcomes,
            "recommendation": self.recommendation,
        }


def default_strategies(scenario: Scenario) -> tuple[str, ...]:
    """Those worth a look: by key only where there are keys, in turn by weight where there are weights."""
    in_turn = "weighted_round_robin" if scenario.replica.weighted else "round_robin"
    return (in_turn, "least_requests", DEFAULT, "prequal", *(("consistent_hash",) if scenario.keys else ()))


def simulate(scenario: Scenario, strategy: Strategy | None = None, *, seed: int = 1) -> Outcome:
    """Simulate `scenario` under one strategy, here and now. The same arguments give the same outcome.

    Args:
        scenario: what is simulated.
        strategy: which; None: the scenario's own.
        seed: of all chance.

    Raises:
        SettingsError: the strategy or the settings of the service are wrong.
    """
    return follow(scenario, strategy, seed)


def compare(
    scenario: Scenario, strategies: Sequence[Strategy] | None = None, *, seed: int = 1, at_once: int = _AT_ONCE
) -> Comparison:
    """Simulate `scenario` under each of `strategies`, with the same calls and the same work for all.

    Args:
        scenario: what is simulated.
        strategies: None: `default_strategies`.
        seed: of all chance.
        at_once: how many may be simulated at once, each in a process of its own. Very many callers of very many
            replicas are simulated one after the other in any case, for the memory they take.

    Raises:
        SettingsError: a strategy or the settings of the service are wrong.
        RuntimeError: a simulation failed.
    """
    chosen = tuple(strategies or default_strategies(scenario))
    for strategy in chosen:
        scenario.settings(strategy)
    pairs = scenario.callers * scenario.replicas
    fitting = max(1, min(at_once, _MOST_PAIRS // pairs))
    apart = _Apart(scenario, seed)
    held_back = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGINT})  # until the program is ready for it
    with ThreadPoolExecutor(fitting, initializer=held_back) as threads:
        try:
            return Comparison(scenario, seed, tuple(threads.map(apart.simulate, chosen)))
        except BaseException:
            apart.end()
            raise


class _Apart:
    """Simulations in other processes: plain ones, since forking does not suit threads, nor spawning scripts.

    Once one has failed, or all were told to end, one that begins is ended at once.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._seed = seed
        self._over = Event()
        self._running: set[subprocess.Popen[bytes]] = set()

    def simulate(self, strategy: Strategy) -> Outcome:
        """As the function of that name."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        plain = strategy if isinstance(strategy, str) else dict(strategy)
        order = pickle.dumps((self._scenario, plain, self._seed))
        command = [sys.executable, "-c", _PROGRAM]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
            self._running.add(process)
            if self._over.is_set():  # after it is known to who ends all, so that none is missed
                process.kill()
            told, _ = process.communicate(order)
        if process.returncode != 0:
            self._over.set()  # those that run may end: theirs are not the words that are wanted
            raise RuntimeError(f"the simulation of {strategy!r} ended with status {process.returncode}")
        outcome: Outcome = pickle.loads(told)
        return outcome

    def end(self) -> None:
        """End all of them."""
        self._over.set()
        for process in tuple(self._running):
            process.kill()
