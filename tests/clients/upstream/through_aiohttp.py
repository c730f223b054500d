"""Plugin for aiohttp's tests: each of their servers is a service, and each of their sessions is balanced."""

import os
import re
from typing import Any

import aiohttp
from aiohttp import test_utils
from yarl import URL

from balancemw import Balancer
from balancemw_aiohttp import Balance, balance

SERVICE = re.compile(r"(https?)-(\d+)\.test")
BALANCED: dict[str, Balance] = {}

make, start = aiohttp.ClientSession.__init__, test_utils.BaseTestServer.start_server


async def through(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    found = SERVICE.fullmatch(request.url.raw_host or "")
    if found is None:
        return await handler(request)
    name = found[0]
    if name not in BALANCED:
        service = {"nodes": [f"{found[1]}://127.0.0.1:{found[2]}"]}
        BALANCED[name] = balance(Balancer({"services": {name: service}}))
    return await BALANCED[name](request, handler)


def session(self: aiohttp.ClientSession, *arguments: Any, **options: Any) -> None:
    make(self, *arguments, **{**options, "middlewares": (*(options.get("middlewares") or ()), through)})


async def start_server(self: Any, *arguments: Any, **options: Any) -> None:
    await start(self, *arguments, **options)
    if self.host == "127.0.0.1":
        self._root = URL(f"{self.scheme}://{self.scheme}-{self.port}.test/")


if os.environ["THROUGH"]:
    aiohttp.ClientSession.__init__ = session  # type: ignore[method-assign, assignment]
    test_utils.BaseTestServer.start_server = start_server  # type: ignore[method-assign]
