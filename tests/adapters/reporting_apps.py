"""Apps that are asked for load reports: for WSGI and ASGI, with Flask, and for real servers.

``/`` answers how it was asked, ``/stream`` in parts, ``/fail`` raises, ``/busy`` is a 503, ``/missing`` a 404, ``/own``
has a report of its own, ``/none`` calls a service without nodes, and ``/wait`` answers when ``/go`` has been asked.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from flask import Flask, Response, request
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route

from balancemw import Balancer, NoNodeAvailable
from balancemw.orca import FORMAT, REPORT
from balancemw_flask import Balance
from balancemw_starlette import BalanceMiddleware

OWN = "TEXT cpu_utilization=0.123"


def flask_app() -> Flask:
    app = Flask(__name__)
    gate = threading.Event()

    @app.get("/")
    def view() -> str:
        return f"{os.getpid()} {request.headers.get(FORMAT)}"

    @app.get("/stream")
    def stream() -> Response:
        def chunks() -> Iterator[str]:
            yield "a"
            yield "b"

        return Response(chunks())

    @app.get("/fail")
    def fail() -> str:
        raise KeyError("of the app")

    @app.get("/busy")
    def busy() -> Response:
        return Response("busy", 503)

    @app.get("/own")
    def own() -> Response:
        return Response("own", headers={REPORT.title(): OWN})

    @app.get("/none")
    def none() -> str:
        raise NoNodeAvailable("none is left", 1.0)

    @app.get("/wait")
    def wait() -> str:
        gate.wait(30)
        return "waited"

    @app.get("/go")
    def go() -> str:
        gate.set()
        return "went"

    return app


def starlette_app() -> Starlette:
    gate = asyncio.Event()

    async def view(request: StarletteRequest) -> StarletteResponse:
        return PlainTextResponse(f"{os.getpid()} {request.headers.get(FORMAT)}")

    async def stream(request: StarletteRequest) -> StarletteResponse:
        async def chunks() -> AsyncIterator[str]:
            yield "a"
            yield "b"

        return StreamingResponse(chunks())

    async def fail(request: StarletteRequest) -> StarletteResponse:
        raise KeyError("of the app")

    async def busy(request: StarletteRequest) -> StarletteResponse:
        return PlainTextResponse("busy", 503)

    async def own(request: StarletteRequest) -> StarletteResponse:
        return PlainTextResponse("own", headers={REPORT.title(): OWN})

    async def none(request: StarletteRequest) -> StarletteResponse:
        raise NoNodeAvailable("none is left", 1.0)

    async def wait(request: StarletteRequest) -> StarletteResponse:
        await asyncio.wait_for(gate.wait(), 30)
        return PlainTextResponse("waited")

    async def go(request: StarletteRequest) -> StarletteResponse:
        gate.set()
        return PlainTextResponse("went")

    views: dict[str, Any] = {"stream": stream, "fail": fail, "busy": busy, "own": own, "none": none}
    views |= {"wait": wait, "go": go, "": view}
    return Starlette(routes=[Route(f"/{name}", each) for name, each in views.items()])


SERVED: dict[str, Any] = {"services": {}, "inbound": {"drain_seconds": 0}}
asgi = BalanceMiddleware(starlette_app(), balancer=Balancer(SERVED))
wsgi = flask_app()
wsgi.config["BALANCEMW"] = SERVED
Balance(wsgi)
