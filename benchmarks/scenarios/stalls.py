"""Nobody is sick, but one request in 50 takes a tenth of a second at every replica: what hedging is for."""

from benchmarks.arena.stage import Scenario, Stage


def play(stage: Stage) -> None:
    for replica in range(3):
        stage.behave(replica, "stall")


SCENARIO = Scenario(
    "stalls",
    "One request in 50 takes 0.1 s, at every replica",
    play,
    seconds=6.0,
    contenders=("balancemw, hedged", "balancemw", "nginx", "HAProxy", "Envoy"),
)
