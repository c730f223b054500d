"""The answer of a try, from its head to the end of its body, which is the end of the try."""

from functools import partial

from balancemw.fault import Fault, Kind, classify
from balancemw.pool import Pool
from balancemw.tries import Try


class Reading:
    """A try whose answer is being read, until somebody says that this is over.

    Args:
        pool: to which the try is given back then.
        attempt: the try; None: there is none yet.
        route: what the request counts as where failures of one route are told from those of a node.
    """

    __slots__ = ("_head_at", "_open", "_pool", "_reading", "_route", "_streaming")

    def __init__(self, pool: Pool, attempt: Try | None, route: str) -> None:
        self._pool = pool
        self._open = [] if attempt is None else [attempt]  # to be given back: taken out by whoever is first
        self._route = route
        self._streaming = self._reading = False
        self._head_at: float | None = None  # of an answer that is long

    @property
    def too_late(self) -> str:
        """What there is to say when what bounds the reading from outside is over."""
        return f"the time to call service {self._pool.name!r} is up"

    def read_on(self, *, long: bool = False) -> None:
        """The head of the answer is there, and its body is being read: the call does not wait for the node any more.

        `long`: the body is known to be so long that the time it takes to be read says little of the node, which is
        then judged by the time to the head alone.
        """
        if not self._open:  # it has been judged: a failure that is the answer all the same
            return
        attempt = self._open[0]
        self._reading = True
        if long:
            self._head_at = attempt.clock()
        self._pool.read_on(attempt.peer, attempt.started)

    def stream(self) -> None:
        """The answer has no end of its own, as an event stream or an upgraded connection: it is judged by its head."""
        if not self._open:  # it has been judged: a failure that is the answer all the same
            return
        attempt = self._open[0]
        self._streaming = True
        self._pool.answered(attempt.peer, attempt.started, attempt.clock())

    def end(self) -> None:
        """The body of the answer has been read, or its reader had enough. May be told twice, and from any thread."""
        try:
            attempt = self._open.pop()
        except IndexError:  # somebody was first
            return
        if self._reading or self._streaming:
            self._finish(attempt, None)
        else:
            self._pool.succeed(attempt.peer, attempt.started, attempt.clock(), self._route)

    def break_off(self, error: BaseException) -> None:
        """The body of the answer did not come to its end. May be told twice, and from any thread."""
        attempt = self._taken()
        if attempt is not None:
            self._finish(attempt, error)

    def abandon(self, error: BaseException | None = None) -> None:
        """As `end`, or `break_off`, from where the garbage collector may be at work: inside of the pool's lock even."""
        attempt = self._taken()
        if attempt is not None:
            self._pool.later(partial(self._finish, attempt, error, attempt.clock()))

    def _taken(self) -> Try | None:
        try:
            return self._open.pop()
        except IndexError:  # somebody was first
            return None

    def _finish(self, attempt: Try, error: BaseException | None, now: float | None = None) -> None:
        pool = self._pool
        if self._streaming:
            pool.hang_up(attempt.peer)
            return
        if self._reading:
            pool.read_out(attempt.peer, attempt.started)
        now = attempt.clock() if now is None else now
        if error is None:
            pool.succeed(attempt.peer, attempt.started, self._head_at or now, self._route)
        else:
            fault = classify(None, error) or Fault(Kind.APPLICATION)
            pool.fail(attempt.peer, attempt.started, now, fault, self._route)
