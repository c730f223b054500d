import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.bodies import BODIES
from tests.clients.conduct import answer
from tests.clients.drivers.every import DRIVERS
from tests.clients.preserves import clients_of, mode_of
from tests.clients.replica import Replica, serving
from tests.clients.site import SERVICE, Address, Names, Site


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs once for each client that it is for, without an adapter and through it; `body`: for each kind."""
    if "site" not in metafunc.fixturenames:
        return
    test = metafunc.function
    cases = [(name, balanced) for name in clients_of(test) for balanced in mode_of(test)]
    ids = [f"{name} balanced" if balanced else name for name, balanced in cases]
    if "body" not in metafunc.fixturenames:
        metafunc.parametrize("case", cases, ids=ids)
        return
    both = [
        pytest.param(case, body, id=f"{name}-{body}")
        for case, name in zip(cases, ids, strict=True)
        for body in BODIES[case[0]]
    ]
    metafunc.parametrize(("case", "body"), both)


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


@pytest.fixture
def closed() -> Iterator[Address]:
    """A port that nobody else gets, and where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Address(bound.getsockname()[1])
