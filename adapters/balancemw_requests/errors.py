"""Our errors as requests', so that what catches a failing request catches these too."""

import requests

from balancemw.errors import DeadlineExceeded, NoNodeAvailable


class NoNode(NoNodeAvailable, requests.ConnectionError):
    """`NoNodeAvailable`, which is also a `requests.ConnectionError`."""


class TooLate(DeadlineExceeded, requests.Timeout):
    """`DeadlineExceeded`, which is also a `requests.Timeout`."""

    def __init__(self, message: str = "") -> None:
        requests.Timeout.__init__(self, message)  # not TimeoutError's, which knows of no request and no response
