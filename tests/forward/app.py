"""An app with routes, for servers that are processes of their own; what it knows of itself is told at ``/self``."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from balancemw_starlette import BalanceMiddleware
from tests.forward.about import about


async def itself(request: Request) -> Response:
    return JSONResponse(about(request.state.balancer))


async def own(request: Request) -> Response:
    return PlainTextResponse("the app's own " + request.url.path)


app = Starlette(routes=[Route("/self", itself), Route("/{path:path}", own)])
app.add_middleware(BalanceMiddleware)  # settings: those of BALANCEMW_SETTINGS
