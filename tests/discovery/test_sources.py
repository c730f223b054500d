"""What all sources have in common."""

import asyncio
from random import Random
from typing import Any, cast

import pytest

from balancemw.discovery.found import SourceError
from balancemw.discovery.sources import open_source
from balancemw.discovery.web import within
from tests.discovery.finding import Finding


def test_a_kind_that_nobody_has_written_a_source_for():
    with pytest.raises(TypeError, match="no source for str"):
        open_source(cast(Any, "gopher"), Random(1))


def test_only_ones_own_patience_is_no_answer():
    async def work(error: type[Exception] | None) -> None:
        async with within(0.01 if error is None else 30.0):
            if error is not None:
                raise error
            await asyncio.sleep(30.0)

    with pytest.raises(TimeoutError):
        asyncio.run(work(TimeoutError))
    with pytest.raises(SourceError, match=r"no answer within 0\.01 s"):
        asyncio.run(work(None))


def test_a_child_process_asks_for_itself():
    """What a fork's hook does, done in one process."""
    shop = Finding("tests.discovery.callables:sync")
    with pytest.raises(Exception, match="has no node"):
        shop.service.pick()
    shop.balancer.close()
    assert not shop.service.pool.awaited
    shop.balancer.after_fork()
    assert shop.service.pool.awaited
