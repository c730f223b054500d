"""One replica of three accepts everything, health checks included, and answers nothing."""

from benchmarks.arena.stage import Scenario, Stage


def play(stage: Stage) -> None:
    stage.until(2.0)
    stage.behave(0, "hang")
    stage.until(6.5)
    stage.behave(0, "ok")


SCENARIO = Scenario("one_hung", "One replica of three hangs, for 4.5 s", play)
