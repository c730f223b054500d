"""A shop on Starlette; what is in stock comes from whichever replica of the inventory is well.

python -m http.server 8001 & python -m http.server 8002 & python -m http.server 8003 &
BALANCEMW_SETTINGS=examples/balancemw.toml uvicorn examples.starlette_app:app
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from balancemw import Node, balanced
from balancemw_starlette import BalanceMiddleware


@balanced("inventory", idempotent=True)  # asking twice does no harm, so every failure may be tried again
async def stock(node: Node, session: aiohttp.ClientSession, sku: str) -> str:
    async with session.get(f"{node.url}/{sku}") as response:
        response.raise_for_status()
        return await response.text()


@balanced("inventory")  # reserving twice does: tried again only if nothing can have reached a replica
async def reserve(node: Node, session: aiohttp.ClientSession, sku: str) -> int:
    async with session.post(f"{node.url}/{sku}") as response:
        response.raise_for_status()
        return response.status


async def product(request: Request) -> Response:
    return PlainTextResponse(await stock(request.app.state.session, request.path_params["sku"]))


async def order(request: Request) -> Response:
    status = await reserve(request.app.state.session, request.path_params["sku"])
    return JSONResponse({"reserved": status}, status_code=201)


async def health(request: Request) -> Response:
    """What the balancer knows of the replicas."""
    return JSONResponse(request.state.balancer.status())


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as app.state.session:
        yield


app = Starlette(
    routes=[Route("/product/{sku}", product), Route("/order/{sku}", order, methods=["POST"]), Route("/health", health)],
    lifespan=lifespan,
)
app.add_middleware(BalanceMiddleware)
