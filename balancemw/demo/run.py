"""Runs the demo from its start to its exit status, and leaves nothing behind."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from types import FrameType
from typing import Protocol

from balancemw.demo.admin import Admin
from balancemw.demo.load import ORDERS, READS, Load, answering
from balancemw.demo.outcome import Outcome, gather
from balancemw.demo.plain import Plain
from balancemw.demo.processes import WORKERS, Stage, set_stage
from balancemw.demo.scene import Scene
from balancemw.demo.script import play

APPS = {
    "starlette": ("Starlette", "uvicorn", ("balancemw_starlette", "starlette", "uvicorn")),
    "flask": ("Flask", "gunicorn", ("balancemw_flask", "flask", "gunicorn")),
    "django": ("Django", "gunicorn", ("balancemw_django", "django", "gunicorn")),
}
"""Of each app: the framework, its server, and what has to be installed."""

START, STORY, LAST = 14.0, 48.0, 5.0
"""Seconds in which the app has to answer, the story to end (both from the beginning), and then the last requests."""

_LAST_WORDS = 1.2
"""Seconds until all that the workers know of each other, and the journal, has come round."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class View(Protocol):
    """How the demo is shown."""

    def begin(self, title: str, stage: Stage) -> None: ...
    async def follow(self, scene: Scene) -> None: ...
    def end(self, outcome: Outcome, scene: Scene) -> None: ...


class Stopped(BaseException):
    """A signal ended the demo; its first argument is the number."""


class NotServed(Exception):
    """The app did not answer in time."""


def main(app: str, plain: bool, pace: float = 1.0) -> int:
    """Run the demo.

    Args:
        app: ``starlette``, ``flask`` or ``django``.
        plain: whether to print plain lines even on a terminal.
        pace: below 1, less time passes between the steps of the story; for tests.

    Returns:
        The exit status: 0 when every promise was kept, 1 when one was not, 2 when something is not installed, and
        128 and its number when a signal ended it.
    """
    plain = plain or not _is_capable_terminal()
    missing = [name for name in (*APPS[app][2], *(() if plain else ("rich",))) if find_spec(name) is None]
    if missing:
        print(f"The demo needs {', '.join(missing)}: pip install 'balancemw[demo]'", file=sys.stderr)
        return 2
    try:
        with _signals(_stop), set_stage(app) as stage:
            try:
                return 0 if asyncio.run(_perform(stage, _view(plain), app, pace)) else 1
            finally:
                _listen(signal.SIG_IGN)  # what is left is to clean up, which takes no more than seconds
    except Stopped as stopped:
        return 128 + int(stopped.args[0])
    except NotServed as error:
        print(f"The app did not start: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our lines has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _perform(stage: Stage, view: View, app: str, pace: float) -> bool:
    """Run it all on the stage; returns whether every promise was kept."""
    loop, task, caught = asyncio.get_running_loop(), asyncio.current_task(), list[int]()
    began = loop.time()

    def stop(number: int) -> None:
        caught.append(number)
        if task is not None:
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        framework, server, _ = APPS[app]
        size = f"{WORKERS} workers, 3 replicas, {READS + ORDERS} calls/s"
        view.begin(f"balancemw demo: {framework} under {server}, {size}", stage)
        await _ready(stage)
        outcome, scene = await _show(stage, view, began + STORY, pace)
    except asyncio.CancelledError:
        if caught:
            raise Stopped(caught[0]) from None
        raise
    except ExceptionGroup as group:
        if group.subgroup(BrokenPipeError) is not None:
            raise BrokenPipeError from None
        raise
    view.end(outcome, scene)
    return outcome.held


async def _ready(stage: Stage) -> None:
    urls = [f"{replica.url}/health" for replica in stage.replicas.values()]
    try:
        async with asyncio.timeout(START), asyncio.TaskGroup() as waits:
            for url in urls:
                waits.create_task(answering(url))
            app = waits.create_task(answering(f"{stage.url}/stock/sku-0"))
            while not app.done():
                if not stage.serving:
                    raise TimeoutError
                await asyncio.sleep(0.05)
    except (TimeoutError, ExceptionGroup):
        raise NotServed(stage.complaints() or f"no answer within {START:g} s") from None


async def _show(stage: Stage, view: View, end: float, pace: float) -> tuple[Outcome, Scene]:
    load = Load(stage.url)
    async with Admin(stage) as admin, asyncio.TaskGroup() as tasks:
        scene = Scene(stage, load, admin)
        followers = [tasks.create_task(scene.watch()), tasks.create_task(view.follow(scene))]
        sending = tasks.create_task(load.run())
        finished = await play(scene, end, pace)
        load.stop()
        await asyncio.wait({sending}, timeout=LAST)
        sending.cancel()
        await asyncio.sleep(_LAST_WORDS)
        for follower in followers:
            follower.cancel()
    return gather(scene, finished), scene


def _view(plain: bool) -> View:
    if plain:
        return Plain()
    from rich.console import Console  # noqa: PLC0415  not needed for plain lines

    from balancemw.demo.live import Live  # noqa: PLC0415

    return Live(Console())


def _is_capable_terminal() -> bool:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return sys.stdout.isatty() and encoding == "utf8" and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


# -- signals


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(number)


def _listen(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], object]) -> Generator[None, None, None]:
    former = {number: signal.getsignal(number) for number in _SIGNALS}
    _listen(handler)
    try:
        yield
    finally:
        for number, each in former.items():
            with suppress(TypeError):  # set by no one in Python
                signal.signal(number, each)
