"""The clients that forwarded requests are sent with: one for each event loop, since none can serve two."""

import asyncio
import weakref
from contextlib import suppress

import aiohttp

from balancemw import Balancer
from balancemw_aiohttp import balance
from balancemw_starlette.handshake import expect_upgrade

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
        weakref.finalize(self, _abandon, self._sessions, everything=True)

    def here(self) -> aiohttp.ClientSession:
        """The session of the running loop."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            _abandon(self._sessions)
            session = self._sessions[loop] = self._made()
        return session

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
            middlewares=(expect_upgrade, self._balance),
        )

    async def close(self) -> None:
        """Close the session of the running loop; the next request would open another."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()


def _abandon(sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession], *, everything: bool = False) -> None:
    """Drop the sessions of loops that were closed without a word, as tests and some servers do."""
    for loop, session in list(sessions.items()):
        if everything or loop.is_closed():
            del sessions[loop]
            connector = session.connector
            session.detach()
            if connector is not None:
                with suppress(RuntimeError):  # it waits for connections to end, and there is nothing to wait in
                    next(connector.close().__await__(), None)
