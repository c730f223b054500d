"""The clients you already have, balanced: `http://inventory/` is whichever replica of the inventory is well.

python -m http.server 8001 & python -m http.server 8002 &
INVENTORY=http://127.0.0.1:8001,http://127.0.0.1:8002 python examples/clients.py
"""

import asyncio
import os

import aiohttp
import httpx2
import requests

from balancemw import Balancer
from balancemw_aiohttp import balance
from balancemw_httpx import AsyncBalancedTransport, BalancedTransport
from balancemw_requests import mount

nodes = os.environ.get("INVENTORY", "http://127.0.0.1:8001,http://127.0.0.1:8002").split(",")
balancer = Balancer({"services": {"inventory": {"nodes": nodes, "timeout": 5.0, "attempt_timeout": 1.0}}})
URL = "http://inventory/"


async def with_aiohttp() -> int:
    async with aiohttp.ClientSession(middlewares=[balance(balancer)]) as session, session.get(URL) as response:
        await response.read()
        return response.status


def with_requests() -> int:
    with requests.Session() as session:
        mount(session, balancer)
        return session.get(URL).status_code


def with_httpx() -> int:  # httpx2 and httpx alike
    with httpx2.Client(transport=BalancedTransport(balancer)) as client:
        return client.get(URL).status_code


async def with_async_httpx() -> int:
    async with httpx2.AsyncClient(transport=AsyncBalancedTransport(balancer)) as client:
        return (await client.get(URL)).status_code


if __name__ == "__main__":
    print("aiohttp", asyncio.run(with_aiohttp()))
    print("requests", with_requests())
    print("httpx", with_httpx())
    print("httpx, async", asyncio.run(with_async_httpx()))
