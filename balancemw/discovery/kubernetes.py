"""A service in Kubernetes as a source: its EndpointSlices, listed once and then watched."""

import json
import os
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import aiohttp

from balancemw.discovery.found import Answer, Found, SourceError, reading
from balancemw.discovery.slices import WHAT, Gone, Slices
from balancemw.discovery.web import LARGEST, Status, get, read_json, trust, within
from balancemw.settings import KubernetesSettings

_WATCH = (240.0, 480.0)  # seconds for which a watch is asked for; spread, so that not all begin anew together
_PAUSE = (0.5, 1.0)  # seconds before a watch that has ended is begun anew


class Kubernetes:
    """Lists and watches at the cluster's API server, with the credentials of the pod it runs in."""

    def __init__(self, settings: KubernetesSettings, rng: Random) -> None:
        self._settings = settings
        self._rng = rng
        self._slices = Slices(settings)
        self._watch: _Watch | None = None

    async def ask(self, session: aiohttp.ClientSession) -> Answer:
        """The endpoints: at once the first time, later when something has changed."""
        try:
            if not self._slices.version:
                return await self._list(session)
            if self._watch is None:
                await self._begin(session)
                return Answer(None, 0.0)  # a sign of life, for those who had to wait for one
            return await self._next(self._watch)
        except Gone:
            self._forget()
            return Answer(None, self._pause())
        except BaseException:
            self.close()
            raise

    async def _list(self, session: aiohttp.ClientSession) -> Answer:
        async with within(self._settings.timeout), await self._get(session, {}) as response:
            self._slices.replace(await read_json(response, WHAT))
        return Answer(self._found(), 0.0)

    async def _begin(self, session: aiohttp.ClientSession) -> None:
        seconds = round(self._rng.uniform(*_WATCH))
        asked = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._slices.version,
            "timeoutSeconds": str(seconds),
        }
        try:
            async with within(self._settings.timeout):
                response = await self._get(session, asked)
        except Status as error:
            if error.status == 410:
                raise Gone from None
            raise
        self._watch = _Watch(response, time.monotonic() + seconds + self._settings.timeout)

    async def _next(self, watch: "_Watch") -> Answer:
        events = await watch.events()
        if events is None:
            self.close()
            return Answer(None, self._pause())
        changed = False
        for event in events:
            changed = self._slices.apply(event) or changed
        return Answer(self._found() if changed else None, 0.0)

    def _found(self) -> tuple[Found, ...]:
        try:
            return self._slices.found()
        except SourceError:
            self._forget()  # or the watch, which works, would look like a recovery
            raise

    async def _get(self, session: aiohttp.ClientSession, asked: dict[str, str]) -> aiohttp.ClientResponse:
        settings = self._settings
        namespace = settings.namespace or _content(settings.namespace_file)
        where = f"{_server(settings)}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        params = {"labelSelector": f"kubernetes.io/service-name={settings.service}", **asked}
        headers = {"Authorization": f"Bearer {_content(settings.token_file)}"}
        return await get(session, where, params, headers, trust(settings.ca_file))

    def _pause(self) -> float:
        return self._rng.uniform(*_PAUSE)

    def _forget(self) -> None:
        self.close()
        self._slices.version = ""

    def close(self) -> None:
        """End the watch."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None


def _server(settings: KubernetesSettings) -> str:
    if settings.address:
        return settings.address
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise SourceError("this is no pod (KUBERNETES_SERVICE_HOST is not set): `address` has to name the API server")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _content(path: str) -> str:
    """What a file of the pod's credentials says now: tokens are replaced while they are valid."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise SourceError(f"{path} cannot be read: {reason}") from None


class _Watch:
    """The answer to a watch: one event on each line, as they happen."""

    def __init__(self, response: aiohttp.ClientResponse, until: float) -> None:
        self._response = response
        self._until = until
        self._rest = b""

    async def events(self) -> list[Any] | None:
        """The next events, at least one; None: the watch has ended.

        Raises:
            SourceError: what comes is no event, or nothing comes although its time is over.
        """
        async with within(max(0.0, self._until - time.monotonic())):
            while b"\n" not in self._rest:
                chunk = await self._response.content.readany()
                if not chunk:
                    return None
                self._rest += chunk
                if len(self._rest) > LARGEST:
                    raise SourceError(f"an event is longer than {LARGEST >> 20} MiB")
        with reading(WHAT):
            return [json.loads(line) for line in self._lines()]

    def _lines(self) -> Iterator[bytes]:
        *lines, self._rest = self._rest.split(b"\n")
        return (line for line in lines if line.strip())

    def close(self) -> None:
        """End it."""
        self._response.close()
