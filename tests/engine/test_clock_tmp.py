import asyncio, pytest
from tests.engine.clock import FakeClock, virtual_run
def test_a():
    c = FakeClock()
    async def f():
        await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5): await asyncio.sleep(100)
        return c()
    assert virtual_run(f(), c) == pytest.approx(4605.0)
    async def g(): await asyncio.Event().wait()
    with pytest.raises(RuntimeError, match="deadlock"): virtual_run(g())
