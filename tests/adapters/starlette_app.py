"""A Starlette app for real servers: it answers what a replica of ``inventory`` answered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from balancemw import Node, balanced, remaining
from balancemw_starlette import BalanceMiddleware


@balanced("inventory", idempotent=True)
def stock(node: Node) -> requests.Response:
    return requests.get(node.url, timeout=remaining())


@balanced("inventory", idempotent=True)
async def stock_async(node: Node, session: aiohttp.ClientSession) -> str:
    async with session.get(node.url) as response:
        response.raise_for_status()
        return await response.text()


def sync_view(request: Request) -> Response:
    return PlainTextResponse(stock().text)


async def async_view(request: Request) -> Response:
    return PlainTextResponse(await stock_async(request.app.state.session))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as app.state.session:
        yield


app = Starlette(routes=[Route("/sync", sync_view), Route("/async", async_view)], lifespan=lifespan)
app.add_middleware(BalanceMiddleware)
