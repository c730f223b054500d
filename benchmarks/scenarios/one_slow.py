"""One replica of three takes ten times as long for everything. Its answers are good, and so are its checks."""

from benchmarks.arena.stage import Scenario, Stage


def play(stage: Stage) -> None:
    stage.until(2.0)
    stage.behave(0, "slow")
    stage.until(6.5)
    stage.behave(0, "ok")


SCENARIO = Scenario("one_slow", "One replica of three ten times slower, for 4.5 s", play)
