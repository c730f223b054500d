"""Consul's health API as it is documented: blocking queries that block, an index, filters and tokens."""

import asyncio
import json
import random
import re
import ssl
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.discovery.serving import Served

SAMPLE = Path(__file__).with_name("samples") / "consul-health.json"


def sample() -> Any:
    return json.loads(SAMPLE.read_text())


class ConsulServer(Served):
    """An agent in datacenter ``dc1`` that knows of one service, ``shop``."""

    def __init__(self, entries: Any, token: str = "", tls: ssl.SSLContext | None = None) -> None:
        self._entries = entries
        self._index = 44
        self._token = token
        self._changed = asyncio.Event()
        self.trouble = 0
        super().__init__(tls)

    def set(self, entries: Any, index: int | None = None) -> None:
        """Others from now on; the index counts on, unless it is given, as after a server was restored."""

        def change() -> None:
            self._entries = entries
            self._index = self._index + 1 if index is None else index
            self._changed.set()
            self._changed = asyncio.Event()

        self.do(change)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if self.trouble:
            return web.Response(status=self.trouble, text="No cluster leader")
        if request.headers.get("X-Consul-Token", "") != self._token:
            return web.Response(status=403, text="Permission denied: anonymous token lacks permission 'service:read'")
        if query.get("dc", "dc1") != "dc1":
            return web.Response(status=500, text="No path to datacenter")
        if request.path != "/v1/health/service/shop":
            return self._told([])
        await self._block(int(query.get("index", "0")), query.get("wait", "5m"))
        entries = [each for each in self._entries if "tag" not in query or query["tag"] in each["Service"]["Tags"]]
        if "passing" in query:
            entries = [each for each in entries if all(check["Status"] == "passing" for check in each["Checks"])]
        return self._told(entries)

    async def _block(self, index: int, wait: str) -> None:
        matched = re.fullmatch(r"(\d+)(ms|s|m)", wait)
        assert matched, wait
        seconds = int(matched[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[matched[2]]
        changed = self._changed
        if index and index >= self._index:
            try:
                async with asyncio.timeout(seconds + random.uniform(0, seconds / 16)):
                    await changed.wait()
            except TimeoutError:
                pass

    def _told(self, entries: Any) -> web.Response:
        headers = {"X-Consul-Index": str(self._index), "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}
        return web.json_response(entries, headers=headers)
