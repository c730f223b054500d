from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from balancemw import balancer as process
from tests.adapters import calls
from tests.adapters.replicas import Replica, running


@pytest.fixture(autouse=True)
def _no_balancer_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without one, and leaves the former one."""
    monkeypatch.setattr(process._process, "balancer", None)
    monkeypatch.setattr(process, "_provide", None)
    calls.TRIES.clear()


@pytest.fixture
def replicas() -> Iterator[Callable[[int], list[Replica]]]:
    """Starts that many replicas, and kills them after the test."""
    with ExitStack() as stack:
        yield lambda count: stack.enter_context(running(count))
