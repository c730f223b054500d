"""All replicas are restarted one after the other, each by SIGTERM, as a deployment does."""

from benchmarks.arena.stage import Scenario, Stage


def play(stage: Stage) -> None:
    for replica in range(3):
        stage.until(1.5 + 2.5 * replica)
        stage.restart(replica)


SCENARIO = Scenario("rolling_restart", "All three replicas restarted by SIGTERM, one every 2.5 s", play)
