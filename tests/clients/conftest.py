from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.conduct import answer
from tests.clients.drivers.every import DRIVERS
from tests.clients.preserves import BALANCED, clients_of, mode_of
from tests.clients.replica import Replica, serving
from tests.clients.site import SERVICE, Names, Site


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs once for each client that it is for, without an adapter and through it."""
    if "site" not in metafunc.fixturenames:
        return
    cases = [
        pytest.param((name, balanced), id=f"{name} balanced" if balanced else name)
        for name in clients_of(metafunc.function)
        for balanced in mode_of(metafunc.function)
        if not balanced or name in BALANCED
    ]
    metafunc.parametrize("case", cases)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture
def replica() -> Iterator[Replica]:
    with serving(answer(200, b"ok")) as replica:
        yield replica


@pytest.fixture
def site(case: tuple[str, bool], names: Names, replica: Replica) -> Iterator[Site]:
    name, balanced = case
    with ExitStack() as stack:
        site = Site(DRIVERS[name], balanced, names, stack, replica)
        site.serve(SERVICE, replica)
        yield site
    site.settle()
