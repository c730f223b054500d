"""httpx and httpx2, sync and async."""

import json
from collections.abc import Callable
from typing import Any

from balancemw import Balancer
from balancemw_httpx import AsyncBalancedTransport, BalancedTransport
from tests.clients.drivers.common import Answer, Driver, Errors, Times, tls


class Httpx(Driver):
    def __init__(self, module: Any, *, asynchronous: bool) -> None:
        self.module, self.asynchronous = module, asynchronous
        self.name = module.__name__ + (" async" if asynchronous else "")
        self.response = module.Response
        self.errors = Errors(
            root=module.HTTPError,
            refused=module.ConnectError,
            connect_timeout=module.ConnectTimeout,
            read_timeout=module.ReadTimeout,
            pool_timeout=module.PoolTimeout,
            disconnected=module.RemoteProtocolError,
            reset=module.ReadError,
            lost=module.TransportError,
            nonsense=module.RemoteProtocolError,
            broken_body=module.RemoteProtocolError,
            reading_timeout=module.ReadTimeout,
            decoding=module.DecodingError,
            invalid_json=json.JSONDecodeError,
            invalid_url=module.InvalidURL,
            redirects=module.TooManyRedirects,
            status=module.HTTPStatusError,
            certificate=module.ConnectError,
        )

    def make(self, balancer: Balancer | None, **own: Any) -> Any:
        inner: dict[str, Any] = {"verify": tls(own.pop("trust", None), own.pop("certificate", None))}
        if "limit" in own:
            limit = own.pop("limit")
            inner["limits"] = self.module.Limits(max_connections=limit, max_keepalive_connections=limit)
        client = self.module.AsyncClient if self.asynchronous else self.module.Client
        mounted = own.pop("mounted", None)
        if balancer is None:
            return client(**inner, **own)
        balanced = AsyncBalancedTransport if self.asynchronous else BalancedTransport
        if mounted:
            return client(mounts={f"all://{mounted}": balanced(balancer, **inner)}, **inner, **own)
        return client(transport=balanced(balancer, **inner), **own)

    def options(self, **options: Any) -> dict[str, Any]:
        times: Times | None = options.pop("times")
        if times is not None:
            options["timeout"] = self.module.Timeout(
                connect=times.connect, read=times.read, write=times.read, pool=times.pool
            )
        return options

    def send(self, raw: Any, method: str, url: str, own: dict[str, Any]) -> Any:
        sending = {"follow_redirects": own.pop("follow")}
        if "auth" in own:
            sending["auth"] = own.pop("auth")
        return raw.send(raw.build_request(method, url, **own), stream=True, **sending)

    def read(self, response: Any) -> Any:
        return response.aread() if self.asynchronous else response.read()

    def chunks(self, response: Any) -> Any:
        return response.aiter_bytes() if self.asynchronous else response.iter_bytes()

    def lines(self, response: Any) -> Any:
        return response.aiter_lines() if self.asynchronous else response.iter_lines()

    def close(self, response: Any) -> Any:
        return response.aclose() if self.asynchronous else response.close()

    def shut(self, raw: Any) -> Any:
        return raw.aclose() if self.asynchronous else raw.close()

    def view(self, response: Any, wait: Callable[[Any], Any], *, step: bool = False) -> Answer:
        return Answer(
            raw=response,
            status=response.status_code,
            reason=response.reason_phrase,
            url=str(response.url),
            headers=[(name.decode(), value.decode("latin-1")) for name, value in response.headers.raw],
            asked_method=response.request.method,
            asked_url=str(response.request.url),
            asked_headers=response.request.headers,
            cookies=lambda: dict(response.cookies),
            history=[] if step else [self.view(each, wait, step=True) for each in response.history],
            text=lambda: response.text,
            json=response.json,
            check=response.raise_for_status,
        )
