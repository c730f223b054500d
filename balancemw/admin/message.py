"""A request to the admin surface, whatever the framework that carries it."""

from collections.abc import Callable
from dataclasses import dataclass

LONGEST_BODY = 1024 * 1024
"""Bytes of a request's body. An adapter reads no more than this and a byte, to see whether there is more."""

BODILESS = ("GET", "HEAD")
"""Methods of requests whose body, if there is one, is of no interest."""

Header = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        method: upper-case.
        path: below ``admin.path``, percent-decoded: ``/status``.
        query: as it was sent, without the question mark.
        header: gives the value of a header by its lower-case name, None where there is none.
    """

    method: str
    path: str
    query: str
    header: Header

    @property
    def has_body(self) -> bool:
        """Whether there may be a body that is of interest."""
        return self.method not in BODILESS
