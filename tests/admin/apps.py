"""Apps for real servers, one per adapter: each answers with the name of the node that a call went to."""

from collections.abc import Iterable
from typing import Any

from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import balancemw_starlette
import balancemw_werkzeug
from balancemw import Node, balanced
from balancemw_flask import Balance


@balanced("inventory", idempotent=True)
def stock(node: Node) -> str:
    return node.name


def view(request: Request) -> Response:
    return PlainTextResponse(stock())


def plain(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("content-type", "text/plain")])
    return [stock().encode()]


starlette_app = balancemw_starlette.BalanceMiddleware(Starlette(routes=[Route("/{path:path}", view)]))
wsgi_app = balancemw_werkzeug.BalanceMiddleware(plain)

flask_app = Flask(__name__)
Balance(flask_app)
flask_app.add_url_rule("/", view_func=stock)
flask_app.add_url_rule("/<path:path>", view_func=lambda path: stock(), endpoint="any")
