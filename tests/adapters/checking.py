"""Single checks, each in an event loop like the monitor's."""

import asyncio
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


def refusing() -> str:
    return f"http://127.0.0.1:{free_port()}"
