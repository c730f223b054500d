"""The demo's app for Starlette: ``uvicorn balancemw.demo.starlette_app:app``, as `starlette_server` runs it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from balancemw import Balancer, Node, balanced
from balancemw.demo.record import record
from balancemw_starlette import BalanceMiddleware


@balanced("inventory", idempotent=True)
async def stock(node: Node, session: aiohttp.ClientSession, sku: str) -> Any:
    """What is left of an article: asking twice does no harm."""
    async with session.get(f"{node.url}/stock/{sku}", raise_for_status=True) as response:
        return await response.json()


@balanced("inventory")
async def place_order(node: Node, session: aiohttp.ClientSession, number: str) -> Any:
    """Place an order: never sent again once a replica may have received it."""
    async with session.post(f"{node.url}/orders/{number}", raise_for_status=True) as response:
        return await response.json()


async def show_stock(request: Request) -> JSONResponse:
    return JSONResponse(await stock(request.state.session, request.path_params["sku"]))


async def order(request: Request) -> JSONResponse:
    try:
        return JSONResponse(await place_order(request.state.session, request.path_params["number"]), 201)
    except (aiohttp.ClientError, TimeoutError) as error:
        return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 502)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, Any], None]:
    async with aiohttp.ClientSession() as session:
        yield {"session": session}


balancer = Balancer()  # the settings are in the file that BALANCEMW_SETTINGS names
record(balancer)

app = Starlette(
    routes=[
        Route("/stock/{sku}", show_stock),
        Route("/orders/{number}", order, methods=["POST"]),
    ],
    middleware=[Middleware(BalanceMiddleware, balancer=balancer)],
    lifespan=lifespan,
)
