"""What may be decorated, what is refused, and how it is then called."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from balancemw import Node
from tests.engine.clock import virtual_run
from tests.engine.stage import Answer, Stage


@pytest.fixture
def stage() -> Stage:
    return Stage(3)


# -- the shapes of functions


def test_a_function_gets_the_node_first_and_its_arguments_after_it(stage: Stage):
    @stage.balancer.call("s")
    def stock(node: Node, sku: str, *, depot: int = 0) -> tuple[Node, str, int]:
        """What is left of it."""
        return node, sku, depot

    node, *rest = stock("sku-1", depot=4)
    assert node in stage.service.nodes
    assert rest == ["sku-1", 4]
    assert (stock.__name__, stock.__doc__) == ("stock", "What is left of it.")
    assert not inspect.iscoroutinefunction(stock)


def test_an_async_function_alike(stage: Stage):
    @stage.balancer.call("s")
    async def stock(node: Node, sku: str, *, depot: int = 0) -> tuple[Node, str, int]:
        """What is left of it."""
        await asyncio.sleep(0)
        return node, sku, depot

    node, *rest = virtual_run(stock("sku-1", depot=4), stage.clock)
    assert node in stage.service.nodes
    assert rest == ["sku-1", 4]
    assert (stock.__name__, stock.__doc__) == ("stock", "What is left of it.")
    assert inspect.iscoroutinefunction(stock)


def shop(stage: Stage) -> Any:
    """A class with a balanced method of every kind, each in either order of decorators that makes sense."""
    balanced = stage.balancer.call("s")

    class Shop:
        name = "of the class"

        def __init__(self) -> None:
            self.name = "of the object"

        @balanced
        def method(self, node: Node, sku: str) -> object:
            return self.name, node.host, sku

        @balanced
        async def async_method(self, node: Node, sku: str) -> object:
            return self.name, node.host, sku

        @classmethod
        @balanced
        def class_method(cls, node: Node, sku: str) -> object:
            return cls.name, node.host, sku

        @balanced
        @classmethod
        def class_method_inside(cls, node: Node, sku: str) -> object:
            return cls.name, node.host, sku

        @staticmethod
        @balanced
        def static_method(node: Node, sku: str) -> object:
            return "static", node.host, sku

        @balanced
        @staticmethod
        def static_method_inside(node: Node, sku: str) -> object:
            return "static", node.host, sku

        @balanced
        @staticmethod
        async def async_static_method_inside(node: Node, sku: str) -> object:
            return "static", node.host, sku

    return Shop


@pytest.mark.parametrize(
    ("method", "owner"),
    [
        ("method", "of the object"),
        ("async_method", "of the object"),
        ("class_method", "of the class"),
        ("class_method_inside", "of the class"),
        ("static_method", "static"),
        ("static_method_inside", "static"),
        ("async_static_method_inside", "static"),
    ],
)
@pytest.mark.parametrize("keyword", [False, True])
def test_methods_of_every_kind(stage: Stage, method: str, owner: str, keyword: bool):
    bound = getattr(shop(stage)(), method)
    found = bound(sku="sku-1") if keyword else bound("sku-1")
    if inspect.isawaitable(found):

        async def wait_for_it() -> object:
            return await found

        found = virtual_run(wait_for_it(), stage.clock)
    assert found[0] == owner
    assert found[1] in ("n0", "n1", "n2")
    assert found[2] == "sku-1"


@pytest.mark.parametrize("method", ["class_method", "class_method_inside", "static_method", "static_method_inside"])
def test_methods_of_the_class_are_called_on_the_class_too(stage: Stage, method: str):
    assert getattr(shop(stage), method)("sku-1")[2] == "sku-1"


class Caller:
    """An object that can be called."""

    def __call__(self, node: Node, sku: str) -> tuple[str, str]:
        return node.host, sku

    def bound(self, node: Node, sku: str) -> tuple[str, str]:
        return node.host, sku


class AsyncCaller:
    async def __call__(self, node: Node, sku: str) -> tuple[str, str]:
        return node.host, sku


def plain(node: Node, depot: int, sku: str) -> tuple[str, str]:
    return node.host, f"{sku}{depot}"


async def asynchronous(node: Node, sku: str, depot: int) -> tuple[str, str]:
    return node.host, f"{sku}{depot}"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Caller(), "sku"),
        (Caller().bound, "sku"),
        (functools.partial(plain, depot=4), "sku4"),
        (functools.partial(functools.partial(Caller()), sku="given"), "given"),
        (lambda node, sku: (node.host, sku), "sku"),
    ],
    ids=["callable object", "bound method", "partial", "partial of a partial", "lambda"],
)
def test_anything_that_can_be_called(stage: Stage, function: Callable[..., Any], expected: str):
    balanced = stage.balancer.call("s")(function)
    host, found = balanced() if expected == "given" else balanced(sku="sku")
    assert host in ("n0", "n1", "n2")
    assert found == expected


@pytest.mark.parametrize(
    ("function", "expected"),
    [(AsyncCaller(), "sku"), (functools.partial(asynchronous, depot=4), "sku4")],
    ids=["callable object", "partial"],
)
def test_anything_that_can_be_awaited(stage: Stage, function: Callable[..., Awaitable[Any]], expected: str):
    stage.takes = 0
    balanced = stage.balancer.call("s")(function)
    assert inspect.iscoroutinefunction(balanced)
    assert virtual_run(balanced(sku="sku"), stage.clock)[1] == expected


def test_a_builtin_whose_signature_cannot_be_read(stage: Stage):
    assert stage.balancer.call("s")(getattr)("host") in ("n0", "n1", "n2")


def test_functions_may_be_decorated_by_others_too(stage: Stage):
    seen = []

    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            seen.append(args)
            return function(*args, **kwargs)

        return wrapper

    @stage.balancer.call("s")
    @logged
    def stock(node: Node, sku: str) -> str:
        return sku

    assert stock("sku-1") == "sku-1"
    assert isinstance(seen[0][0], Node)


# -- what is refused


def generator(node: Node) -> Iterator[int]:
    yield 1


async def async_generator(node: Node) -> AsyncIterator[int]:
    yield 1


class Generating:
    def __call__(self, node: Node) -> Iterator[int]:
        yield 1

    async def method(self, node: Node) -> AsyncIterator[int]:
        yield 1


@pytest.mark.parametrize(
    "function",
    [
        generator,
        async_generator,
        contextmanager(generator),
        asynccontextmanager(async_generator),
        functools.partial(generator),
        functools.partial(contextmanager(generator)),
        staticmethod(generator),
        Generating(),
        Generating().method,
    ],
    ids=lambda function: getattr(function, "__name__", type(function).__name__),
)
def test_generators_and_context_managers_are_refused_when_they_are_decorated(
    stage: Stage, function: Callable[..., Any]
):
    with pytest.raises(TypeError, match=r"generator or a context manager.*attempts\(\)"):
        stage.balancer.call("s")(function)
    assert stage.status()["budget"]["calls"] == 0


@pytest.mark.parametrize("thing", [None, "inventory", 3])
def test_what_cannot_be_called_is_refused(stage: Stage, thing: Any):
    with pytest.raises(TypeError, match="expected a function"):
        stage.balancer.call("s")(thing)


class Request(Coroutine[Any, Any, str]):
    """What aiohttp's `ClientSession.get` returns: a coroutine that is entered with `async with`, too."""

    def __init__(self, inner: Coroutine[Any, Any, str]) -> None:
        self._inner = inner

    def send(self, value: Any) -> Any:
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()


@pytest.mark.parametrize("wrap", [lambda coroutine: coroutine, Request], ids=["coroutine", "request"])
def test_a_sync_function_that_returns_a_coroutine_is_told_what_is_wrong(stage: Stage, wrap: Callable[..., Any]):
    def forgot(node: Node) -> Any:
        return wrap(asynchronous(node, "sku", 1))

    with pytest.raises(TypeError, match="coroutine"):
        stage.balancer.call("s", idempotent=True)(forgot)()
    assert stage.in_flight() == 0
    assert sum(each["failures"] for each in stage.status()["nodes"]) == 0


def test_a_response_that_can_be_used_in_with_is_a_result_like_any_other(stage: Stage):
    class Response(Answer):
        def __enter__(self) -> "Response":
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

    response = Response(200)
    assert stage.balancer.call("s")(lambda node: response)() is response
    assert not response.closed


def test_an_answer_that_has_nothing_to_close_is_replaced_like_any_other(stage: Stage):
    class Bare:
        status = 503

    answers = [Bare(), Answer()]

    @stage.balancer.call("s", idempotent=True)
    async def stock(node: Node) -> object:
        return answers.pop(0)

    last = answers[1]
    assert virtual_run(stock(), stage.clock) is last
