"""The clients that forwarded requests are sent with: one for each event loop, since none can serve two."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp

from balancemw import Balancer
from balancemw_aiohttp import balance
from balancemw_starlette.handshake import expect_sense, expect_upgrade

_IDLE = 4.0  # seconds: most servers close a connection that is idle for 5, and what is sent just then is lost
_HEAD = 65536  # bytes of a line or a header of an answer
_FIELDS = 1024
_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class Sessions:
    """The sessions of one app's forwarding.

    Args:
        balancer: who chooses the replicas.
    """

    def __init__(self, balancer: Balancer) -> None:
        self._balance = balance(balancer)
        self._sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}
        self._keepers: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}

    async def here(self) -> aiohttp.ClientSession:
        """The session of the running loop."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            for other in [other for other in self._keepers if other.is_closed()]:
                self._forget(other)
            session = self._sessions[loop] = self._made()
            keeper = self._keepers[loop] = _keep(session)
            await anext(keeper)
        return session

    def _forget(self, loop: asyncio.AbstractEventLoop) -> "AsyncGenerator[None, None] | None":
        self._sessions.pop(loop, None)
        return self._keepers.pop(loop, None)

    def _made(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_AUTOMATIC,
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            auto_decompress=False,
            read_bufsize=16384,
            max_line_size=_HEAD,
            max_field_size=_HEAD,
            max_headers=_FIELDS,
            middlewares=(expect_upgrade, self._balance, expect_sense),
        )

    async def close(self) -> None:
        """Close the session of the running loop; the next request would open another."""
        keeper = self._forget(asyncio.get_running_loop())
        if keeper is not None:
            await keeper.aclose()


async def _keep(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    """Close `session` in the end, be it the loop's own: a loop that is shut down first closes its generators.

    Apps that are mounted in others, and some servers, never hear that it is over.
    """
    try:
        yield
    finally:
        await session.close()
