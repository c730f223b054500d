"""Single checks, each in an event loop like the monitor's."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from balancemw import Node
from balancemw.checks import Check, Loop, Outcome, open_session
from balancemw.settings import ProbeSettings
from tests.adapters.replicas import free_port

OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(status: int, *headers: str, body: str = "") -> str:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"HTTP/1.1 {status} As it likes\r\n{lines}Content-Length: {len(body)}\r\n\r\n{body}"


def check_all(settings: ProbeSettings, *urls: str) -> list[Outcome]:
    """Checks one after the other, by one `Check` and one session."""

    async def run() -> list[Outcome]:
        check = Check(settings)
        async with open_session() as session:
            return [await check(Node(url), session) for url in urls]

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(run())


def check(url: str, kind: str = "http", *, timeout: float = 5.0, **settings: Any) -> Outcome:
    return check_all(ProbeSettings(kind=kind, timeout=timeout, **settings), url)[0]


def be_patient(check: Check) -> None:
    """Have it wait as long as it takes from now on: on a busy machine also what does not hang takes its time."""
    inner: Any = check
    inner._settings = replace(inner._settings, timeout=60.0)


async def until(holds: Callable[[], object]) -> None:
    """Leave the loop free until `holds()`; pytest's own time is the bound."""
    while not holds():
        await asyncio.sleep(0.001)


def refusing() -> str:
    return f"http://127.0.0.1:{free_port()}"
