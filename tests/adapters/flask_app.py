"""A Flask app for real servers: it answers what a replica of ``inventory`` answered."""

import os
from collections.abc import Iterator

import aiohttp
import requests
from flask import Flask, Response

from balancemw import Node, balanced, remaining
from balancemw_flask import Balance

app = Flask(__name__)
Balance(app)


@balanced("inventory", idempotent=True)
def stock(node: Node) -> requests.Response:
    return requests.get(node.url, timeout=remaining())


@balanced("inventory", idempotent=True)
async def stock_async(node: Node) -> str:
    async with aiohttp.ClientSession() as session, session.get(node.url) as response:
        response.raise_for_status()
        return await response.text()


if os.environ.get("CALL_AT_IMPORT"):  # under --preload that is before the workers are forked
    stock()


@app.get("/sync")
def sync_view() -> str:
    return stock().text


@app.get("/async")
async def async_view() -> str:
    return await stock_async()


@app.get("/stream")
def stream() -> Response:
    def chunks() -> Iterator[str]:
        for _ in range(3):
            yield stock().text + "\n"

    return Response(chunks())


@app.get("/choices")
def choices() -> str:
    """The worker, and which replicas its first choices were."""
    picked = [str(app.extensions["balancemw"]["inventory"].pick()) for _ in range(32)]
    return f"{os.getpid()} {' '.join(picked)}"


@app.get("/sharing")
def sharing() -> dict[str, object]:
    """The worker, and what it knows of the nodes."""
    status = app.extensions["balancemw"].status()
    return {"pid": os.getpid(), "nodes": status["services"]["inventory"]["nodes"]}
