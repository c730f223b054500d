from collections.abc import Iterator

import pytest

from tests.adapters.watching import alone


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    with alone():
        yield
