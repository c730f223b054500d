"""All replicas answer 503 for a while, as when they share something that is down: here retries only add to the load."""

from benchmarks.arena.stage import Scenario, Stage


def play(stage: Stage) -> None:
    stage.until(2.0)
    for replica in range(3):
        stage.behave(replica, "fail")
    stage.until(5.0)
    for replica in range(3):
        stage.behave(replica, "ok")


SCENARIO = Scenario("all_failing", "All three replicas answer 503, for 3 s", play)
