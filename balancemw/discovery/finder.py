"""Asks a source for the nodes of a service, again and again, on the monitor's event loop."""

import asyncio
import weakref
from collections.abc import Coroutine
from random import Random

import aiohttp

from balancemw.checks import NotMade
from balancemw.context import Clock
from balancemw.discovery.directory import Directory
from balancemw.discovery.found import Answer, Source, SourceError
from balancemw.discovery.sources import describe, open_source
from balancemw.events import LOG
from balancemw.fault import classify
from balancemw.pool import Pool
from balancemw.settings import DiscoverySettings

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LONGEST_PAUSE_EMPTY = 5.0
"""Seconds before a source that failed is asked again: doubling, with equal jitter; the last where no node is known."""


class Finder:
    """Keeps a pool in step with its source.

    Args:
        pool: of the service.
        settings: its ``discovery`` settings.
        clock: the balancer's.
        rng: spreads what is asked again after a failure.
    """

    def __init__(self, pool: Pool, settings: DiscoverySettings, clock: Clock, rng: Random) -> None:
        self._directory = Directory(pool, describe(settings))
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._failures = 0
        self._turn: object = None

    def start(self) -> None:
        """It is going to be followed."""
        self._directory.expect()

    def follow(self, session: aiohttp.ClientSession) -> Coroutine[object, object, None]:
        """What asks the source until `stop`, in place of whatever asked it before.

        It does not keep its finder alive: a balancer which nobody uses any more can go, and this ends.
        """
        self._turn = turn = object()
        return _follow(weakref.ref(self), open_source(self._settings, self._rng), session, turn)

    def stop(self) -> None:
        """What is under way is not heard any more."""
        self._turn = None
        self._directory.give_up()

    def take(self, answer: Answer | SourceError, turn: object) -> float | None:
        """Seconds until the source is to be asked again; None: never, it is another's turn."""
        if turn is not self._turn:
            return None
        try:
            return self._take(answer)
        except Exception:
            LOG.exception("what a source of nodes said went wrong in an unexpected way")
        except BaseException:  # a listener that exits: it would end the thread and not the process
            LOG.exception("a listener of balancemw exited")
        return _LONGEST_PAUSE_EMPTY

    def _take(self, answer: Answer | SourceError) -> float:
        if isinstance(answer, Answer):
            self._failures = 0
            self._directory.hear(answer.found, self._clock())
            return answer.good_for
        self._directory.miss(str(answer), again=answer.again)
        if answer.pause is not None:
            return answer.pause
        longest = _LONGEST_PAUSE if self._directory.known else _LONGEST_PAUSE_EMPTY
        pause = min(longest, _FIRST_PAUSE * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return self._rng.uniform(pause / 2.0, pause)


async def _follow(finder: "weakref.ref[Finder]", source: Source, session: aiohttp.ClientSession, turn: object) -> None:
    try:
        while (pause := _taken(finder, await _asked(source, session), turn)) is not None:
            await asyncio.sleep(pause)
    finally:
        source.close()


def _taken(ref: "weakref.ref[Finder]", answer: Answer | SourceError, turn: object) -> float | None:
    finder = ref()
    return None if finder is None else finder.take(answer, turn)


async def _asked(source: Source, session: aiohttp.ClientSession) -> Answer | SourceError:
    try:
        return await source.ask(session)
    except SourceError as error:
        return error
    except NotMade as error:
        return SourceError(str(error))
    except (OSError, aiohttp.ClientError) as error:
        fault = classify(None, error)
        return SourceError(fault.reason if fault else repr(error))
    except Exception as error:
        LOG.exception("a source of nodes went wrong in an unexpected way")
        return SourceError(f"it went wrong: {type(error).__name__}")
