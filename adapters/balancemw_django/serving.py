"""A request's deadline and balancer, in force while it is served, which a streamed body still is after the view."""

from collections.abc import AsyncIterator, Iterator
from contextvars import Token
from typing import Any, Self

from django.http import StreamingHttpResponse

from balancemw.context import BOUND, REQUEST, Bound, Request
from balancemw.inbound import conclude


def leave(request: Token[Request | None], bound: Token[Bound | None]) -> Bound | None:
    """Restore what held before a request, in the thread or task; returns the bound that held at its end.

    Only our two variables are set for a request: a context of its own would hide what a view sets from the middleware
    around it, such as the language.
    """
    held = BOUND.get()
    try:
        BOUND.reset(bound)
        REQUEST.reset(request)
    except ValueError:  # a coroutine thrown away half-way is ended in another context than its own
        pass
    return held


class Serving:
    """Makes `request` the current one inside ``with``, for each step of a streamed body.

    A bound that holds where a step ends, such as that of an attempt whose answer is being passed on, holds again in the
    next; `bound` is what held at the end of the view.
    """

    __slots__ = ("_bound", "_tokens", "request")

    def __init__(self, request: Request, bound: Bound | None) -> None:
        self.request = request
        self._bound = bound
        self._tokens: list[tuple[Token[Request | None], Token[Bound | None]]] = []

    def __enter__(self) -> None:
        self._tokens.append((REQUEST.set(self.request), BOUND.set(self._bound)))

    def __exit__(self, *_: object) -> None:
        self._bound = leave(*self._tokens.pop())


def serve_body(response: StreamingHttpResponse, serving: Serving) -> None:
    """Have `response` streamed and closed as part of the request."""
    if getattr(response, "file_to_stream", None) is not None:
        conclude(serving.request)  # reading a file calls no service, and servers send it faster than Python reads it
        return
    body: Any = response.streaming_content
    response.streaming_content = _AsyncBody(body, serving) if response.is_async else _Body(body, serving)
    close = response.close

    def close_while_serving() -> None:
        with serving:
            close()
        conclude(serving.request)

    response.close = close_while_serving  # type: ignore[method-assign]


class _Body:
    def __init__(self, body: Iterator[bytes], serving: Serving) -> None:
        self._body = body
        self._serving = serving

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        with self._serving:
            return next(self._body)


class _AsyncBody:
    def __init__(self, body: AsyncIterator[bytes], serving: Serving) -> None:
        self._body = body
        self._serving = serving

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with self._serving:
            return await anext(self._body)
