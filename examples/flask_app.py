"""A shop on Flask; what is in stock comes from whichever replica of the inventory is well.

python -m http.server 8001 & python -m http.server 8002 &
INVENTORY=http://127.0.0.1:8001,http://127.0.0.1:8002 gunicorn --threads 8 examples.flask_app:app
"""

import os

import requests
from flask import Flask, jsonify
from flask.typing import ResponseReturnValue

from balancemw import Node, NoNodeAvailable, balanced, remaining
from balancemw_flask import Balance

app = Flask(__name__)
app.config["BALANCEMW"] = {
    "services": {
        "inventory": {
            "nodes": os.environ.get("INVENTORY", "http://127.0.0.1:8001,http://127.0.0.1:8002").split(","),
            "timeout": 5.0,  # the whole call, all attempts
            "attempt_timeout": 1.0,  # one attempt
            "probe": True,  # find out by a TCP connection whether a replica is back
        }
    }
}
Balance(app)


@balanced("inventory", idempotent=True)  # asking twice does no harm, so every failure may be tried again
def stock(node: Node, sku: str) -> requests.Response:
    return requests.get(f"{node.url}/{sku}", timeout=remaining())


@balanced("inventory")  # reserving twice does: tried again only if nothing can have reached a replica
def reserve(node: Node, sku: str) -> requests.Response:
    return requests.post(f"{node.url}/{sku}", timeout=remaining())


@app.get("/product/<sku>")
def product(sku: str) -> ResponseReturnValue:
    answer = stock(sku)
    return answer.text, answer.status_code


@app.post("/order/<sku>")
def order(sku: str) -> ResponseReturnValue:
    answer = reserve(sku)
    return jsonify(reserved=answer.status_code), 201 if answer.ok else 502


@app.get("/health")
def health() -> ResponseReturnValue:
    """What the balancer knows of the replicas."""
    return jsonify(app.extensions["balancemw"].status())


@app.errorhandler(NoNodeAvailable)  # without a handler of its own, an app answers 503 as application/problem+json
def closed(error: NoNodeAvailable) -> ResponseReturnValue:
    return "The shop is closed for the moment.", 503, {"Retry-After": str(round(error.retry_after))}
