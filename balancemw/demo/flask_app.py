"""The demo's app for Flask: ``gunicorn balancemw.demo.flask_app:app``."""

import json
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

from flask import Flask

from balancemw import Node, balanced, remaining
from balancemw.demo.record import record
from balancemw_flask import Balance

app = Flask(__name__)
Balance(app)  # the settings are in the file that BALANCEMW_SETTINGS names
record(app.extensions["balancemw"])


@balanced("inventory", idempotent=True)
def stock(node: Node, sku: str) -> Any:
    """What is left of an article: asking twice does no harm."""
    with urlopen(f"{node.url}/stock/{sku}", timeout=remaining()) as response:
        return json.load(response)


@balanced("inventory")
def place_order(node: Node, number: str) -> Any:
    """Place an order: never sent again once a replica may have received it."""
    with urlopen(Request(f"{node.url}/orders/{number}", method="POST"), timeout=remaining()) as response:
        return json.load(response)


@app.get("/stock/<sku>")
def show_stock(sku: str) -> Any:
    return stock(sku)


@app.post("/orders/<number>")
def order(number: str) -> Any:
    try:
        return place_order(number), 201
    except (OSError, HTTPException) as error:
        return {"error": f"{type(error).__name__}: {error}"}, 502
