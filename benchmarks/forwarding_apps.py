"""Apps that forward all they are asked to the replicas that the environment names: ours, and werkzeug's."""

import os
from typing import Any

_NODES = os.environ.get("REPLICAS", "").split()
_SETTINGS = {"services": {"inventory": {"nodes": _NODES}}, "routes": {"/api/inventory": "inventory"}}


def __getattr__(name: str) -> Any:
    if name == "asgi":
        from balancemw_starlette import BalanceMiddleware

        return BalanceMiddleware(_nothing_asgi, _SETTINGS)
    if name == "wsgi":
        from balancemw_werkzeug import BalanceMiddleware as Wsgi

        return Wsgi(_nothing, _SETTINGS)
    if name == "werkzeug":
        from werkzeug.middleware.http_proxy import ProxyMiddleware

        return ProxyMiddleware(_nothing, {"/api/": {"target": _NODES[0]}})
    raise AttributeError(name)


def _nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise RuntimeError("all requests are forwarded")


async def _nothing_asgi(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("all requests are forwarded")
