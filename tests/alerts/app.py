"""An app that answers what a replica of ``inventory`` answered."""

import requests
from flask import Flask

from balancemw import Node, balanced, remaining
from balancemw_flask import Balance

app = Flask(__name__)
Balance(app)


@balanced("inventory", idempotent=True)
def stock(node: Node) -> str:
    return requests.get(node.url, timeout=remaining()).text


@app.get("/")
def view() -> str:
    return stock()
