"""All of them."""

import httpx
import httpx2

from tests.clients.drivers.common import Driver
from tests.clients.drivers.with_aiohttp import Aiohttp
from tests.clients.drivers.with_httpx import Httpx
from tests.clients.drivers.with_requests import Requests

DRIVERS: dict[str, Driver] = {
    driver.name: driver
    for driver in (
        Aiohttp(),
        Requests(),
        Httpx(httpx, asynchronous=False),
        Httpx(httpx, asynchronous=True),
        Httpx(httpx2, asynchronous=False),
        Httpx(httpx2, asynchronous=True),
    )
}
