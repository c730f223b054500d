"""One machine serves one request at a time, one two and one four. Nobody is told."""

from benchmarks.arena.stage import Scenario, Stage


def play(stage: Stage) -> None:
    """Nothing happens."""


SCENARIO = Scenario(
    "uneven",
    "Machines of 1 : 2 : 4 that nobody has told of",
    play,
    rate=600.0,
    seconds=6.0,
    slots=(1, 2, 4),
)
