"""What is answered in the app's place: problems, the health document, the admin surface."""

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a request, whatever the framework that carries it.

    Attributes:
        status: the HTTP status.
        headers: names in lower case, and values.
        body: UTF-8 JSON; not to be sent to HEAD.
    """

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...]
    body: bytes
