"""What callers and replicas of a simulation see of each other."""

from typing import Protocol

from balancemw.orca import LoadReport


class Answer:
    """A response, as far as callers look at it.

    Attributes:
        status: of HTTP.
        headers: by lower-case name.
    """

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.headers = headers or {}


OK = Answer(200)


class Attempt(Protocol):
    """A try, as replicas see it."""

    @property
    def until(self) -> float:
        """When its caller gives up; infinity: never."""
        ...


class Reporter(Protocol):
    """Who may send a load report along with an answer."""

    @property
    def reports(self) -> bool:
        """Whether it does."""
        ...

    def report(self) -> LoadReport:
        """What it says of its load."""
        ...


class Flight(Protocol):
    """A call, as replicas see it."""

    @property
    def attempt(self) -> Attempt | None:
        """The try under way. Another one was given up by its caller, and nobody waits for its answer."""
        ...

    @property
    def work(self) -> float:
        """Seconds that it takes at a speed of 1."""
        ...

    def end(self, answer: Answer | None, error: Exception | None, reporter: Reporter) -> None:
        """The try under way was answered, or ended by an error."""
        ...


Waiting = tuple[Flight, Attempt]
