"""One replica of three answers 503 at once, while its health check says 200: to who counts open calls it looks idle."""

from benchmarks.arena.stage import Scenario, Stage


def play(stage: Stage) -> None:
    stage.until(2.0)
    stage.behave(0, "fail")
    stage.until(6.5)
    stage.behave(0, "ok")


SCENARIO = Scenario("one_failing", "One replica of three answers 503 at once, for 4.5 s", play)
