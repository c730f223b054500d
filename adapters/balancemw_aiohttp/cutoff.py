"""The end of an answer whose time is up while it is being read."""

import asyncio
from math import inf
from weakref import ref

from aiohttp import ClientResponse

from balancemw.context import Bound, in_force, time_left
from balancemw.reading import Reading
from balancemw_aiohttp.errors import TooLate


def bound_by(outer: Bound | None, response: ClientResponse, reading: Reading) -> None:
    """Let `outer`, which bounds a request from outside, bound also how long its answer is read; `reading` is told.

    Not an upgraded connection, which has no body.
    """
    if outer is not None and outer.until < inf and response.connection is not None and response.status != 101:
        _Cutoff(outer, response, reading)


class _Cutoff:
    """Breaks off an answer, unless it has ended before."""

    __slots__ = ("_outer", "_reading", "_response", "_timer")

    def __init__(self, outer: Bound, response: ClientResponse, reading: Reading) -> None:
        self._outer = outer
        self._reading = reading
        self._response = ref(response)  # which is to go when nobody holds it any more
        self._timer: asyncio.TimerHandle | None = None
        response.content.on_eof(self._end)
        if response.connection is not None:
            response.connection.add_callback(self._end)
        self._wait()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        left = time_left(in_force(self._outer))
        response = self._response()
        if left is None or response is None or response.content.is_eof():  # None: the request has been answered
            return
        if left > 0.0:
            self._timer = asyncio.get_running_loop().call_later(left, self._wait)
            return
        late = TooLate(self._reading.too_late)
        self._reading.break_off(late)
        response.content.set_exception(late)
        response.close()
