"""What is not forwarded: a request that could mean one thing to us and another to a replica."""

from http import HTTPStatus

from balancemw.inbound import problem
from balancemw.reply import Reply


class Refused(Exception):
    """The request is answered by us, and no replica hears of it.

    Attributes:
        problem: the answer.
    """

    def __init__(self, detail: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(detail)
        self.problem: Reply = problem(status, detail)


def too_slow() -> Refused:
    """What a client is told that keeps a replica waiting for the rest of a request."""
    return Refused("The rest of the request did not come in time.", HTTPStatus.REQUEST_TIMEOUT)
