"""The story: what is done to whom, and what is waited for before it goes on."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from balancemw.demo.load import answering
from balancemw.demo.processes import Replica
from balancemw.demo.scene import Scene

FAIR = 1 / 3
"""The share of each of three equal replicas."""

ATTEMPT_TIMEOUT = 1.0
"""Seconds after which the app gives a try up; as in the demo's settings."""

WARM_UP = 2.5
"""Seconds before the first step."""


@dataclass(frozen=True, slots=True)
class Step:
    """A turn of the story.

    Attributes:
        replica: to whom it happens.
        what: ``kill``, ``start``, or a mode of `balancemw.demo.replica`; or what others say of it: an operator's
            order, ``drain`` or ``up``, and an Alertmanager's ``alert`` and ``resolve``.
        text: the line in the timeline.
        until: the fact that is waited for, see `come_about`.
        patience: seconds for that.
        rest: seconds before the next step.
    """

    replica: str
    what: str
    text: str
    until: str
    patience: float
    rest: float


STORY = (
    Step("a", "kill", "a is killed (SIGKILL)", "out", 4.0, 2.0),
    Step("a", "start", "a is started again", "full", 10.0, 0.5),
    Step("c", "slow", "c takes 30 times as long for every call", "found slow", 13.0, 0.5),
    Step("c", "ok", "c is quick again", "none", 0.0, 0.5),
    Step("b", "hang", "b hangs: it takes calls and answers none", "out", 5.0, 1.0),
    Step("b", "ok", "b is well again", "full", 8.0, 0.5),
    Step("a", "fail", "a answers every call with 503 at once, and its health check with 200", "put out", 8.0, 0.3),
    Step("a", "ok", "a is well again", "shared", 4.0, 0.5),
    Step("b", "drain", "an operator drains b", "avoided", 3.0, 0.5),
    Step("b", "up", "the operator is done with b", "shared", 3.0, 0.5),
    Step(
        "c", "alert", "Alertmanager says that c tells a stock that is an hour old; it answers well", "avoided", 3.0, 0.5
    ),
    Step("c", "resolve", "Alertmanager says that this is over", "shared", 3.0, 0.5),
)


def come_about(fact: str, scene: Scene, replica: str, began: float) -> bool:
    """Whether a fact has come about since the step began.

    Facts: ``out`` of the pool; ``full``: back, and at full weight; ``avoided``: in or out, hardly called any more;
    ``put out``: ejected for how its calls end; ``found slow``: given less for how long they take; ``shared``: all
    replicas are called; ``none``.
    """
    settled = time.time() - began > 1.0  # shares are taken over that time
    match fact:
        case "out":
            return any(any(scene.told(replica, event, began)) for event in ("ejected", "down"))
        case "full":
            return any(scene.told(replica, "readmitted", began)) and scene.seen[replica].state == "up"
        case "put out":
            return any(scene.told(replica, "ejected", began))
        case "found slow":
            return any(scene.told(replica, "weight", began))
        case "avoided":
            return settled and scene.shares(1.0)[replica] < FAIR / 10
        case "shared":
            return settled and min(scene.shares(1.0).values()) > FAIR / 4
        case _:
            return True


_TICK = 0.05
_LEAST = 0.3
"""Seconds that a step is given even if time is short."""


async def play(scene: Scene, end: float, pace: float = 1.0) -> bool:
    """Play the story; returns whether it was told to its end.

    Where time is short, less of it is spent on waiting for facts; the steps themselves are all taken.

    Args:
        scene: where it happens.
        end: the latest, on the event loop's clock.
        pace: below 1, less time passes between steps; what was promised takes the time it takes.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(end):
            await asyncio.sleep(WARM_UP * pace)
            for place, step in enumerate(STORY):
                spare = end - loop.time() - needed(STORY[place:], pace)
                promised = step.until in ("out", "full") or step.what == "ok"  # the next may count on who is well
                await _take(scene, step, min(step.patience * (1.0 if promised else pace), max(0.0, spare)))
                await asyncio.sleep(step.rest * pace)
    except TimeoutError:
        return False
    return True


def needed(steps: Sequence[Step], pace: float) -> float:
    """Seconds that these steps need even if nothing is waited for."""
    return sum(_LEAST + step.rest * pace for step in steps)


async def _take(scene: Scene, step: Step, patience: float) -> None:
    scene.say("act", step.text)
    began = time.time()
    await _do(scene, step)
    if step.what == "hang":
        await asyncio.sleep(0.9 * ATTEMPT_TIMEOUT)
        waiting = scene.load.sent - len(scene.load.answers)
        sent = sum(answer.sent > began for answer in scene.load.answers)
        scene.say("good", f"of the calls since then {waiting} wait; the other {sent} were answered elsewhere")
    while not (reached := come_about(step.until, scene, step.replica, began)) and time.time() - began < patience:
        await asyncio.sleep(_TICK)
    if step.until in ("avoided", "put out", "found slow", "shared"):
        scene.say("good" if reached else "note", _shares(scene, step, reached))


async def _do(scene: Scene, step: Step) -> None:
    replica = scene.stage.replicas[step.replica]
    if step.what == "start":
        scene.act(step.replica, "start")
        replica.start()
        await answering(f"{replica.url}/health")
        scene.doing[step.replica] = "ok"
        scene.act(step.replica, "listening")
        scene.say("note", f"{step.replica} listens again")
        return
    scene.doing[step.replica] = _AS.get(step.what, step.what)
    scene.act(step.replica, step.what)
    if step.what in _SAID:
        try:
            await _SAID[step.what](scene, replica)
        except (aiohttp.ClientError, TimeoutError) as error:
            scene.say("bad", f"the admin surface does not take it: {error!r}")
    elif step.what == "kill":
        replica.kill()
    else:
        replica.behave(step.what)


async def _drain(scene: Scene, replica: Replica) -> None:
    await scene.admin.order(replica, "drain", "kernel update")


async def _up(scene: Scene, replica: Replica) -> None:
    await scene.admin.order(replica, "up", "kernel updated")


async def _alert(scene: Scene, replica: Replica) -> None:
    await scene.admin.alert(replica, firing=True)


async def _resolve(scene: Scene, replica: Replica) -> None:
    await scene.admin.alert(replica, firing=False)


_SAID = {"drain": _drain, "up": _up, "alert": _alert, "resolve": _resolve}
_AS = {"up": "ok", "resolve": "ok"}


def _shares(scene: Scene, step: Step, reached: bool) -> str:
    shares = scene.shares(1.0)
    now = f"{step.replica} gets {shares[step.replica]:.0%} of the calls now"
    if step.until == "shared":
        if reached:
            return f"all share the calls again: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}"
        least = min(shares, key=lambda name: shares[name])
        return (
            f"{least} gets only {shares[least]:.0%} of the calls now: it was hardly called of late, and its past fades"
        )
    if not reached:
        return now
    stays = "; being slow is no fault, so it stays in the pool" if step.what == "slow" else ""
    return f"{now} instead of a third{stays}"
