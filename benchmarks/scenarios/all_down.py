"""All replicas are killed at once, and come back together some seconds later."""

from benchmarks.arena.stage import Scenario, Stage


def play(stage: Stage) -> None:
    stage.until(2.0)
    stage.kill(0, 1, 2)
    stage.until(4.5)
    stage.start(0, 1, 2)


SCENARIO = Scenario("all_down", "All three replicas killed by SIGKILL, and back after 2.5 s", play)
