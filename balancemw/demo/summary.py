"""The summary in words: figures, promises, and whether they were kept."""

from balancemw.demo.load import ORDERS, READS
from balancemw.demo.outcome import Outcome

_SHOWN = 5
"""Errors told in full, of each kind."""


def figures(outcome: Outcome) -> list[tuple[str, str]]:
    """What was measured: pairs of a heading and its text."""
    rate = f"{READS} reads and {ORDERS} orders a second"
    return [
        ("load", f"{outcome.reads + outcome.orders:,} requests in {outcome.seconds:.0f} s: {rate}"),
        ("reads", _reads(outcome)),
        ("orders", _orders(outcome)),
        ("received twice", f"{len(outcome.received_twice)} of {outcome.orders:,} orders"),
        ("retries", _retries(outcome)),
        ("a killed", _kill(outcome)),
        ("b hanging", _hang(outcome)),
        ("c slow", f"its share of the calls fell from {outcome.slow_before:.0%} to {outcome.slow_after:.0%}"),
        (
            "a failing",
            f"got {_calls(outcome.failing_got)} while it failed; a third would have been {outcome.failing_fair:.0f}",
        ),
        ("b drained", _without("the operator's order", outcome.drained_after, outcome.drained_back)),
        ("c alerted", _without("the webhook", outcome.alerted_after, outcome.alerted_back)),
    ]


def errors(outcome: Outcome) -> list[str]:
    """What callers saw that they were promised not to see."""
    told = [*_first("a read failed", outcome.read_errors), *_first("an order failed", outcome.unexplained)]
    told += [f"received more than once: {order}" for order in outcome.received_twice[:_SHOWN]]
    if outcome.unanswered:
        told.append(f"{_calls(outcome.unanswered)} never ended")
    if outcome.lost:
        told.append(f"{outcome.lost} of the orders that were placed were received by no replica")
    return told


def _first(what: str, lines: list[str]) -> list[str]:
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [*(f"{what} at {line}" for line in lines[:_SHOWN]), *more]


def verdict(outcome: Outcome) -> str:
    """Whether the promise was kept, in one line."""
    broken = [f"not so: {promise}" for promise, kept in outcome.promises() if not kept]
    if broken:
        return f"PROMISE BROKEN: {'; '.join(broken)}."
    return "PROMISE KEPT: no caller of an idempotent call saw an error, and no order was received twice."


def _reads(outcome: Outcome) -> str:
    answered = outcome.reads - len(outcome.read_errors)
    return (
        f"{answered:,} of {outcome.reads:,} answered, {len(outcome.read_errors)} errors (promised: 0); "
        f"median {_ms(outcome.median)}, 99 % within {_ms(outcome.p99)}"
    )


def _orders(outcome: Outcome) -> str:
    failed = outcome.failed_orders.total() + len(outcome.unexplained)
    answered = f"{outcome.orders - failed:,} of {outcome.orders:,} placed"
    if not failed:
        return f"{answered}, 0 errors"
    told = f"{answered}, {failed} error{'s' if failed > 1 else ''}"
    if not outcome.failed_orders:
        return told
    what = ", ".join(f"{times} {what}" for what, times in outcome.failed_orders.items())
    return f"{told}: {what}; what may have reached a replica is not sent again"


def _retries(outcome: Outcome) -> str:
    calls = outcome.reads + outcome.orders
    share = f" ({outcome.retries / calls:.1%} of the calls)" if calls else ""
    times = f"{outcome.exhausted} times" if outcome.exhausted else "never"
    return f"{outcome.retries}{share}; the budget allows {outcome.allowed:,.0f}, and was {times} exhausted"


def _kill(outcome: Outcome) -> str:
    out, back = outcome.out_after, outcome.back_after
    left = (
        f"out of the pool {_duration(out)} later, {_calls(outcome.sent_to_dead)} failed on it"
        if out is not None
        else "never left the pool"
    )
    came = f"back in {_duration(back)} after it listened again" if back is not None else "did not come back"
    return f"{left}; {came}"


def _hang(outcome: Outcome) -> str:
    share = f"{outcome.held_share:.0%} of all; a third would be its fair share"
    return f"held {_calls(outcome.held_up)} up before its first timeout, {share}"


def _without(word: str, last: float | None, back: float | None) -> str:
    if last is None:
        return "not shown"
    again = "no call since" if back is None else f"the next one {_duration(back)} after it was taken back"
    return f"got its last call {_duration(last)} after {word}; {again}"


def _calls(number: int) -> str:
    return f"{number} call" if number == 1 else f"{number} calls"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:.0f} ms"
