"""An app with routes, for servers that are processes of their own; what it knows of itself is told at ``/self``."""

import os
import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from balancemw_starlette import BalanceMiddleware


async def about(request: Request) -> Response:
    memory = dict(re.findall(r"(Vm\w+):\s+(\d+) kB", Path("/proc/self/status").read_text()))
    return JSONResponse(
        {
            "rss": int(memory["VmRSS"]) * 1024,
            "peak": int(memory["VmHWM"]) * 1024,
            "files": len(os.listdir("/proc/self/fd")),
            "services": request.state.balancer.status()["services"],
        }
    )


async def own(request: Request) -> Response:
    return PlainTextResponse("the app's own " + request.url.path)


app = Starlette(routes=[Route("/self", about), Route("/{path:path}", own)])
app.add_middleware(BalanceMiddleware)  # settings: those of BALANCEMW_SETTINGS
