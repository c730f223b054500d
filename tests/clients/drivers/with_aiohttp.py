"""aiohttp."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import yarl

from balancemw import Balancer
from balancemw_aiohttp import balance
from tests.clients.drivers.common import Answer, Driver, Errors, Times, tls


class Aiohttp(Driver):
    name = "aiohttp"
    asynchronous = True
    response = aiohttp.ClientResponse
    errors = Errors(
        root=aiohttp.ClientError,
        refused=aiohttp.ClientConnectorError,
        connect_timeout=aiohttp.ConnectionTimeoutError,
        read_timeout=aiohttp.SocketTimeoutError,
        pool_timeout=aiohttp.ConnectionTimeoutError,
        disconnected=aiohttp.ServerDisconnectedError,
        reset=aiohttp.ClientOSError,
        lost=aiohttp.ClientError,
        nonsense=aiohttp.ClientResponseError,
        broken_body=aiohttp.ClientPayloadError,
        reading_timeout=aiohttp.SocketTimeoutError,
        decoding=aiohttp.ClientPayloadError,
        invalid_json=json.JSONDecodeError,
        invalid_url=aiohttp.InvalidURL,
        redirects=aiohttp.TooManyRedirects,
        status=aiohttp.ClientResponseError,
        certificate=aiohttp.ClientConnectorCertificateError,
    )

    def make(self, balancer: Balancer | None, **own: Any) -> Any:
        trust, limit = tls(own.pop("trust", None), own.pop("certificate", None)), own.pop("limit", 100)
        if balancer is not None:
            own["middlewares"] = (*own.get("middlewares", ()), balance(balancer))

        async def session() -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(ssl=trust, limit=limit, resolver=aiohttp.ThreadedResolver())
            return aiohttp.ClientSession(connector=connector, **own)

        return session()

    def options(self, **options: Any) -> dict[str, Any]:
        if "content" in options:
            options["data"] = options.pop("content")
        times: Times | None = options.pop("times")
        if times is not None:
            total, read = times.total, times.read
            sock_connect = times.connect
            options["timeout"] = aiohttp.ClientTimeout(
                total=total, connect=times.pool, sock_connect=sock_connect, sock_read=read
            )
        if "auth" in options:
            given = b64encode(":".join(options.pop("auth")).encode()).decode()
            options["headers"] = {**(options.get("headers") or {}), "Authorization": f"Basic {given}"}
        options["allow_redirects"] = options.pop("follow")
        return options

    def send(self, raw: Any, method: str, url: str, own: dict[str, Any]) -> Any:
        return raw.request(method, url, **own)

    def read(self, response: Any) -> Any:
        return response.read()

    def chunks(self, response: Any) -> AsyncIterator[bytes]:
        return response.content.iter_any()

    async def lines(self, response: Any) -> AsyncIterator[str]:
        async for line in response.content:
            yield line.decode().rstrip("\n")

    async def close(self, response: Any) -> None:
        response.close()

    async def shut(self, raw: Any) -> None:
        await raw.close()
        await asyncio.sleep(0)

    def view(self, response: Any, wait: Callable[[Any], Any], *, step: bool = False) -> Answer:
        return Answer(
            raw=response,
            status=response.status,
            reason=response.reason,
            url=str(response.url),
            headers=[(name.decode(), value.decode("latin-1")) for name, value in response.raw_headers],
            asked_method=response.request_info.method,
            asked_url=str(response.request_info.real_url),
            asked_headers=response.request_info.headers,
            cookies=lambda: {name: morsel.value for name, morsel in response.cookies.items()},
            history=[] if step else [self.view(each, wait, step=True) for each in response.history],
            text=lambda: wait(response.text()),
            json=lambda: wait(response.json()),
            check=response.raise_for_status,
        )

    def url(self, url: str) -> Any:
        return yarl.URL(url, encoded=True)
