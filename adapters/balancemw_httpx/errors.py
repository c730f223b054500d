"""Our errors as httpx's and httpx2's, so that what catches a failing request catches these too."""

from balancemw.errors import DeadlineExceeded, NoNodeAvailable
from balancemw_httpx.libraries import ConnectError, ReadTimeout


class NoNode(NoNodeAvailable, ConnectError):
    """`NoNodeAvailable`, which is also each library's `ConnectError`."""

    _request = None  # what the libraries' own `__init__` says, as long as their client has not set `request`


class TooLate(DeadlineExceeded, ReadTimeout):
    """`DeadlineExceeded`, which is also each library's `ReadTimeout`."""

    _request = None
