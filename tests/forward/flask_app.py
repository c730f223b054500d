"""As `app`, with Flask."""

from flask import Flask, Response, current_app

from balancemw_flask import Balance
from tests.forward.about import about

app = Flask(__name__)
Balance(app)


@app.route("/self")
def itself() -> dict[str, object]:
    return about(current_app.extensions["balancemw"])


@app.route("/<path:path>")
def own(path: str) -> Response:
    return Response(f"the app's own /{path}", mimetype="text/plain")
