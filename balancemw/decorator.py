"""The two drivers: what a decorated function becomes, sync and async.

Only the user's own call and the wait between tries have a colour; all else is decided by `Try` and `Call`. A first
try that succeeds touches no retry machinery at all.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from math import inf
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from balancemw.arguments import check_key
from balancemw.call import Call
from balancemw.context import BOUND, leave
from balancemw.ending import after_cut_off, after_error, after_result, discard, discard_async, verdict
from balancemw.node import Node
from balancemw.service import Key
from balancemw.special_calls import call_apart, call_apart_async
from balancemw.tries import Terms, first_try

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

# Results that cannot carry a status: asking them for one costs more than the rest of the judgement.
_PLAIN = frozenset({bool, int, float, str, bytes, dict, list, tuple, set})


class Decorator(Protocol):
    """Turns a function that takes the chosen node first (after ``self``) into one that is called without it."""

    @overload
    def __call__(self, function: Callable[Concatenate[Node, P], R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[S, Node, P], R], /) -> Callable[Concatenate[S, P], R]: ...


def decorate(function: Callable[..., Any], terms: Terms | Callable[[], Terms], key: Key) -> Callable[..., Any]:
    """`function`, balanced on `terms`, or on what `terms()` returns at each call.

    Raises:
        TypeError: `function` yields: its work is not over when it returns, so `Service.attempts` is the tool.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return cast(Callable[..., Any], type(function)(decorate(function.__func__, terms, key)))
    if not callable(function):
        raise TypeError(f"expected a function, got {function!r}")
    _refuse_generators(function)
    make = _balanced_async if _is_async(function) else _balanced_sync
    run = _after_self(function) if _takes_self(function) else function
    return wraps(function)(make(run, getattr(function, "__qualname__", ""), terms, key))


def _refuse_generators(function: Callable[..., Any]) -> None:
    inner = function
    while inner is not (found := _run_by(inspect.unwrap(inner))):
        inner = found
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"{name} is a generator or a context manager: its work goes on after it returns, so it cannot be tried "
            f"again as one function. Use the loop instead: `for attempt in service.attempts(): with attempt as node: …`"
        )


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_run_by(function))


def _run_by(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that runs when `function` is called, which may be a partial or an object that can be called."""
    while isinstance(function, partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _takes_self(function: Callable[..., Any]) -> bool:
    """Whether it is a method. When it is decorated it is a plain function still: only the name tells."""
    try:
        first = next(iter(inspect.signature(function).parameters), "")
    except (TypeError, ValueError):
        return False
    return first in ("self", "cls")


def _after_self(method: Callable[..., R]) -> Callable[..., R]:
    """`method` with the node first, as all others take it."""

    def run(node: Node, self: Any, /, *args: Any, **kwargs: Any) -> R:
        return method(self, node, *args, **kwargs)

    return run


def _key_of(key: Key, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    found = key(*args, **kwargs) if callable(key) else key
    return found if found is None or isinstance(found, str) else str(found)


def _bind(run: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Node], R]:
    return lambda node: run(node, *args, **kwargs)


def _balanced_sync(
    run: Callable[..., R], route: str, known: Terms | Callable[[], Terms], key_rule: Key
) -> Callable[..., R]:
    fixed = known if isinstance(known, Terms) else None

    def balanced(*args: Any, **kwargs: Any) -> R:
        terms = fixed or known()  # type: ignore[operator]
        key = None if key_rule is None else _key_of(key_rule, args, kwargs)
        if terms.pool.special:
            return call_apart(_bind(run, args, kwargs), terms, key, route)
        attempt = first_try(terms, key)
        call: Call | None = None
        while True:
            token = BOUND.set(attempt)
            try:
                if kwargs:
                    result = run(attempt.node, *args, **kwargs)
                else:  # to unpack what is not there has its price
                    result = run(attempt.node, *args) if args else run(attempt.node)
            except BaseException as error:
                leave(token)
                call = call or Call(terms, key, attempt, route)
                wait = after_error(call, attempt, error)
                if wait is None:
                    raise
            else:
                attempt.over = True
                if result is None or type(result) in _PLAIN or not (fault := verdict(terms, attempt, result)):
                    clock = terms.clock  # not called as a method, which Python 3.11 would look up at length
                    terms.pool.succeed(attempt.peer, attempt.started, clock(), route)
                    return result
                call = call or Call(terms, key, attempt, route)
                wait = after_result(call, attempt, result, fault)
                if wait is None:
                    return result
                discard(result)
            if wait:
                terms.sleep(wait)
            attempt = call.begin()

    return balanced


def _balanced_async(
    run: Callable[..., Awaitable[R]], route: str, known: Terms | Callable[[], Terms], key_rule: Key
) -> Callable[..., Awaitable[R]]:
    fixed = known if isinstance(known, Terms) else None

    async def balanced(*args: Any, **kwargs: Any) -> R:
        terms = fixed or known()  # type: ignore[operator]
        key = None if key_rule is None else _key_of(key_rule, args, kwargs)
        if terms.pool.special:
            return await call_apart_async(_bind(run, args, kwargs), terms, key, route)
        attempt = first_try(terms, key)
        call: Call | None = None
        while True:
            token = BOUND.set(attempt)
            watched = attempt.until < inf and attempt.watch()
            try:
                if kwargs:
                    result = await run(attempt.node, *args, **kwargs)
                else:  # to unpack what is not there has its price
                    result = await (run(attempt.node, *args) if args else run(attempt.node))
            except BaseException as error:
                leave(token)
                call = call or Call(terms, key, attempt, route)
                after = after_cut_off if watched and attempt.end(error) else after_error
                wait = after(call, attempt, error)
                if wait is None:
                    raise
            else:
                attempt.over = True
                if watched:
                    attempt.end()
                if result is None or type(result) in _PLAIN or not (fault := verdict(terms, attempt, result)):
                    clock = terms.clock  # not called as a method, which Python 3.11 would look up at length
                    terms.pool.succeed(attempt.peer, attempt.started, clock(), route)
                    return result
                call = call or Call(terms, key, attempt, route)
                wait = after_result(call, attempt, result, fault)
                if wait is None:
                    return result
                await discard_async(result)
            if wait:
                await asyncio.sleep(wait)
            attempt = call.begin()

    return balanced


def as_decorator(terms: Terms | Callable[[], Terms], key: Key) -> Decorator:
    """The decorator that balances a function on `terms`.

    Raises:
        TypeError: `key` is none.
    """
    check_key(key, callables=True)

    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        return decorate(function, terms, key)

    return cast(Decorator, decorator)
