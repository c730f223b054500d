"""Strategies: which of the nodes that may be chosen is chosen.

A strategy builds a *picker* from a snapshot of the peers that are available; the picker is then asked once per
call. Strategies know nothing of retries, marks, deadlines or HTTP. A class of one's own needs what `Strategy`
says and is named in the settings as ``"package.module:Class"``.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from random import Random
from typing import Any, Protocol, cast, runtime_checkable

from balancemw.errors import did_you_mean
from balancemw.load import Load

Picker = Callable[[float, str | None], Load]
"""``picker(now, key)``: the chosen peer. `now` is the balancer's clock in seconds, `key` the call's key or None."""


@runtime_checkable
class Strategy(Protocol):
    """What a strategy offers. It is made as ``Class(rng=random.Random, **options)``.

    A class attribute ``sticky = True`` says that a key belongs to a node, so that no call may be diverted from it for
    slow start or for another node's trial. ``reports = True`` says that it goes by `Load.report`, so that nodes are
    asked for reports.
    """

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:
        """A picker over `available` (never empty).

        `everyone` holds the available peers and those that are out at the moment; the same object comes again
        until a node or a weight changes, so what is expensive to derive from it can be kept.
        """
        ...


StrategyFactory = Callable[[Random], Strategy]


class OptionError(ValueError):
    """A strategy's option is wrong.

    Attributes:
        option: its name.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


BUILT_IN: dict[str, str] = {
    "random": "balancemw.strategies.chance:Uniform",
    "round_robin": "balancemw.strategies.rotation:RoundRobin",
    "weighted_random": "balancemw.strategies.chance:Weighted",
    "weighted_round_robin": "balancemw.strategies.rotation:SmoothWeighted",
    "least_requests": "balancemw.strategies.two_choices:LeastRequests",
    "peak_ewma": "balancemw.strategies.two_choices:PeakEwma",
    "prequal": "balancemw.strategies.prequal:Prequal",
    "load_weighted": "balancemw.strategies.load_weighted:LoadWeighted",
    "consistent_hash": "balancemw.strategies.hashing:ConsistentHash",
}


def resolve(name: str, options: Mapping[str, object]) -> StrategyFactory:
    """The factory of the strategy called `name`, a built-in name or ``"package.module:Class"``.

    Raises:
        OptionError: the strategy does not take one of the `options`, or not with that value.
        ValueError: there is no such strategy, or it cannot be imported or made.
    """
    cls = load_object(BUILT_IN.get(name) or _own(name))
    if not callable(getattr(cls, "picker", None)):
        raise ValueError(f"{name!r} is not a strategy: it has no method picker(available, everyone)")
    _check_options(name, cls, options)

    def make(rng: Random) -> Strategy:
        return cast(Strategy, cls(rng=rng, **options))

    try:
        make(Random(0))
    except OptionError:
        raise
    except Exception as error:
        raise ValueError(f"strategy {name!r} cannot be made: {type(error).__name__}: {error}") from error
    return make


def load_object(path: str) -> Any:
    """The object that ``"package.module:name"`` stands for.

    Raises:
        ValueError: it cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ValueError(f"cannot import {path!r}: {type(error).__name__}: {error}") from error
    return found


def _own(name: str) -> str:
    if ":" in name:
        return name
    known = ", ".join(BUILT_IN)
    raise ValueError(f"unknown strategy {name!r}{did_you_mean(name, BUILT_IN)} (known: {known})")


def _check_options(name: str, cls: Any, options: Mapping[str, object]) -> None:
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        return  # made in C: the trial construction speaks for it
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    known = [p for p in parameters if p != "rng"]
    for option in options:
        if option not in known:
            taken = f" (it takes: {', '.join(known)})" if known else " (it takes no options)"
            raise OptionError(option, f"unknown option of strategy {name!r}{did_you_mean(option, known)}{taken}")
