"""What a balanced call costs that has nothing to do, beside the same function under other libraries."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import tenacity

from balancemw import Node
from benchmarks.replicas import balancer_of
from benchmarks.report import Report, micros
from benchmarks.timing import Effort, Times, awaits, calls, race

Function = Callable[[], Any]
PROBE = {"kind": "benchmarks.overhead:well", "interval": 3600}  # passes, and then leaves the machine to the calls


def well(node: Node) -> bool:
    """A probe that passes."""
    return True


def _tenacity(function: Function) -> Function:
    return tenacity.retry(stop=tenacity.stop_after_attempt(3))(function)


def _stamina(function: Function) -> Function:
    import stamina

    return stamina.retry(on=Exception, attempts=3)(function)


def _pyresilience(function: Function) -> Function:
    from pyresilience import CircuitBreakerConfig, RetryConfig, resilient

    return resilient(retry=RetryConfig(max_attempts=3), circuit_breaker=CircuitBreakerConfig())(function)


def _hyx(function: Function) -> Function:
    from hyx.circuitbreaker import consecutive_breaker
    from hyx.retry import retry

    return retry(on=Exception, attempts=3)(consecutive_breaker()(function))


PEERS = {"tenacity.retry": _tenacity, "stamina.retry": _stamina, "pyresilience, retry + breaker": _pyresilience}
ASYNC_PEERS = {**PEERS, "hyx, retry + breaker": _hyx}


class Answer:
    """A result that has to be judged, unlike None."""

    status = 200


ANSWER = Answer()


def nothing() -> None:
    """What is called, bare and under the peers."""


async def nothing_async() -> None:
    """The same, async."""


def nothing_on(node: Node) -> None:
    """The same, balanced."""


async def nothing_on_async(node: Node) -> None:
    """The same, async and balanced."""


def answer_of(node: Node) -> Answer:
    """A client's response."""
    return ANSWER


async def answer_of_async(node: Node) -> Answer:
    """The same, async."""
    return ANSWER


def run(effort: Effort) -> list[Report]:
    """Measure sync and async calls."""
    with balancer_of(3, probe=PROBE) as balancer:
        balanced = balancer.call("service", idempotent=True)
        ours = {"balanced": balanced(nothing_on), "balanced, with a response": balanced(answer_of)}
        contenders, missing = _contenders(nothing, ours, PEERS)
        times = race({name: calls(each) for name, each in contenders.items()}, effort)
        reports = [_report("A sync call", times, list(contenders), 8, missing)]

        ours_async = {"balanced": balanced(nothing_on_async), "balanced, with a response": balanced(answer_of_async)}
        contenders, missing = _contenders(nothing_async, ours_async, ASYNC_PEERS)
        with asyncio.Runner() as runner:
            times = race({name: awaits(each, runner) for name, each in contenders.items()}, effort)
        reports.append(_report("An async call", times, list(contenders), 10, missing))
    return reports


def _contenders(
    function: Function, ours: Mapping[str, Function], peers: Mapping[str, Callable[[Function], Function]]
) -> tuple[dict[str, Function], list[str]]:
    contenders, missing = {"the bare function": function, **ours}, []
    for name, decorate in peers.items():
        try:
            contenders[name] = decorate(function)
        except ImportError as error:
            missing.append(f"{name}: left out, as {error.name} is not installed")
    return contenders, missing


def _report(title: str, times: Times, names: list[str], most: int, missing: list[str]) -> Report:
    rows = [(name, micros(times.median(name)), _share(times.ratio("tenacity.retry", name))) for name in names]
    met = "met" if times.ratio("tenacity.retry", "balanced") >= most else "missed"
    target = f"target for a balanced call: at most 1/{most} of tenacity.retry ({met})"
    return Report(f"{title} that does nothing, µs", ("", "µs", "of tenacity.retry"), rows, (target, *missing))


def _share(times_cheaper: float) -> str:
    return f"1/{times_cheaper:.1f}" if times_cheaper >= 1.0 else f"{1.0 / times_cheaper:.1f}"
