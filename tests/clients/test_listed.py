"""The list is held, line by line, for every client."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.preserves import ALL, PRESERVED, clients_of


def every_test() -> Iterator[Any]:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.clients.{path.stem}")
        yield from (each for name, each in vars(module).items() if name.startswith("test_"))


@pytest.mark.parametrize("line", PRESERVED)
def test_every_line_is_held_for_every_client(line: str) -> None:
    held = {client for test in every_test() if line in getattr(test, "preserves", ()) for client in clients_of(test)}
    absent = PRESERVED[line]
    assert held | absent.keys() == set(ALL), "some client has neither a test nor a reason"
    assert not held & absent.keys(), "a client is said to have no such thing, and yet it is tested"
    assert all(absent.values())


def test_tests_are_for_clients_that_there_are() -> None:
    assert all(set(clients_of(test)) <= set(ALL) for test in every_test())
