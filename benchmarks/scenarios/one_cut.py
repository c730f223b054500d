"""One replica of three breaks off every answer half-way: the status was 200, and the bad replica looks idle."""

from benchmarks.arena.stage import Scenario, Stage


def play(stage: Stage) -> None:
    stage.until(2.0)
    stage.behave(0, "cut")
    stage.until(6.5)
    stage.behave(0, "ok")


SCENARIO = Scenario(
    "one_cut",
    "One replica of three breaks off its answers half-way, for 4.5 s",
    play,
    contenders=("balancemw, function", "balancemw", "nginx", "HAProxy", "Envoy", "tenacity", "pyresilience"),
    notes=(
        "A client's middleware and a proxy hand on an answer whose head was good; a function that reads the whole of "
        "it can be tried again.",
    ),
)
