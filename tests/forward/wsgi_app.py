"""As `app`, for WSGI servers."""

import json
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from balancemw_werkzeug import BalanceMiddleware
from tests.forward.about import about


def own(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/self":
        return [json.dumps(about(environ["balancemw.balancer"])).encode()]
    return [b"the app's own " + environ["PATH_INFO"].encode("latin-1")]


app = BalanceMiddleware(own)
