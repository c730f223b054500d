"""One replica of three is killed by SIGKILL, and started again some seconds later."""

from benchmarks.arena.stage import Scenario, Stage


def play(stage: Stage) -> None:
    stage.until(2.0)
    stage.kill(0)
    stage.until(5.5)
    stage.start(0)


SCENARIO = Scenario("one_killed", "One replica of three killed by SIGKILL, and back after 3.5 s", play)
