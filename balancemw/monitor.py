"""The monitor: one daemon thread per process that runs active checks."""

from collections.abc import Iterable
from random import Random

from balancemw.context import Clock
from balancemw.pool import Pool


class Monitor:
    """Placeholder until checks land."""

    def __init__(self, pools: Iterable[Pool], *, clock: Clock, rng: Random) -> None:
        pass

    def ensure(self) -> None: ...
    def stop(self) -> None: ...
    def after_fork(self) -> None: ...
