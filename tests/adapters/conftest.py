from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from balancemw import balancer as process
from tests.adapters import calls
from tests.adapters.redis_server import redis_server
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


@pytest.fixture(params=["sqlite", "redis"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The setting ``state``: a real file, and a real Redis."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state.db'}"
    else:
        with redis_server() as server:
            yield server.url


@pytest.fixture(scope="module")
def _three() -> Iterator[list[Replica]]:
    with running(3) as started:
        yield started


@pytest.fixture
def three(_three: list[Replica]) -> Iterator[list[Replica]]:
    """Three replicas that are well, whatever the test before did to them."""
    yield _three
    for replica in _three:
        if replica.dead:
            replica.restart()
        replica.recover()
