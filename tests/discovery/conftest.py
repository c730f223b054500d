from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.adapters.replicas import Replica, running
from tests.adapters.watching import alone


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    with alone():
        yield


@pytest.fixture
def replicas() -> Iterator[Callable[[int], list[Replica]]]:
    """Starts that many replicas, and kills them after the test."""
    with ExitStack() as stack:
        yield lambda count: stack.enter_context(running(count))
