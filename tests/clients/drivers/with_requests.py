"""requests."""

from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3

from balancemw import Balancer
from balancemw_requests import mount
from tests.clients.drivers.common import Answer, Driver, Errors, Times


class Requests(Driver):
    name = "requests"
    asynchronous = False
    response = requests.Response
    counts_bytes = not urllib3.__version__.startswith("1.")
    errors = Errors(
        root=requests.RequestException,
        refused=requests.ConnectionError,
        connect_timeout=requests.ConnectTimeout,
        read_timeout=requests.ReadTimeout,
        pool_timeout=None,
        disconnected=requests.ConnectionError,
        reset=requests.ConnectionError,
        lost=(requests.ConnectionError, requests.exceptions.ChunkedEncodingError),
        nonsense=requests.ConnectionError,
        broken_body=requests.exceptions.ChunkedEncodingError,
        reading_timeout=requests.ConnectionError,
        decoding=requests.exceptions.ContentDecodingError,
        invalid_json=requests.JSONDecodeError,
        invalid_url=requests.exceptions.InvalidURL,
        redirects=requests.TooManyRedirects,
        status=requests.HTTPError,
        certificate=requests.exceptions.SSLError,
    )

    def make(self, balancer: Balancer | None, **own: Any) -> Any:
        session = requests.Session()
        session.verify = own.pop("trust", True)
        session.cert = own.pop("certificate", None)
        for name, value in own.items():
            setattr(session, name, value)
        if balancer is not None:
            mount(session, balancer)
        return session

    def options(self, **options: Any) -> dict[str, Any]:
        if "content" in options:
            options["data"] = options.pop("content")
        times: Times | None = options.pop("times")
        if times is not None:
            options["timeout"] = (times.connect, times.read)
        options["allow_redirects"] = options.pop("follow")
        return options

    def send(self, raw: Any, method: str, url: str, own: dict[str, Any]) -> Any:
        return raw.request(method, url, stream=True, **own)

    def read(self, response: Any) -> bytes:
        return response.content

    def chunks(self, response: Any) -> Iterator[bytes]:
        return response.iter_content(1)

    def lines(self, response: Any) -> Iterator[str]:
        return response.iter_lines(decode_unicode=True)

    def close(self, response: Any) -> None:
        response.close()

    def shut(self, raw: Any) -> None:
        raw.close()

    def view(self, response: Any, wait: Callable[[Any], Any], *, step: bool = False) -> Answer:
        return Answer(
            raw=response,
            status=response.status_code,
            reason=response.reason,
            url=response.url,
            headers=list(response.raw.headers.items()),
            asked_method=response.request.method,
            asked_url=response.request.url,
            asked_headers=response.request.headers,
            cookies=lambda: dict(response.cookies),
            history=[] if step else [self.view(each, wait, step=True) for each in response.history],
            text=lambda: response.text,
            json=response.json,
            check=response.raise_for_status,
        )
