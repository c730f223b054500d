"""The part of Kubernetes' API server that watches EndpointSlices, as it is documented."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.discovery.serving import Served

SAMPLES = Path(__file__).with_name("samples")
PATH = "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices"
Document = Mapping[str, Any]


def listed() -> Any:
    return json.loads((SAMPLES / "kubernetes-list.json").read_text())


def events() -> list[Any]:
    return [json.loads(line) for line in (SAMPLES / "kubernetes-watch.jsonl").read_text().splitlines()]


class KubernetesServer(Served):
    """One namespace, ``prod``, with the slices of one service, ``shop``.

    Attributes:
        tokens: those that are valid.
        oldest: the first version from which a watch can go on.
        by_status: whether a watch from an older one is refused by status 410, or begun and ended by an event.
        trouble: a status with which everything is refused, or 0.
    """

    def __init__(self, document: Any = None, tls: ssl.SSLContext | None = None) -> None:
        document = document or listed()
        self.tokens = {"first-token"}
        self.oldest = 0
        self.by_status = False
        self.trouble = 0
        self._slices: dict[str, Document] = {each["metadata"]["name"]: each for each in document["items"]}
        self._version = int(document["metadata"]["resourceVersion"])
        self._history: list[tuple[int, Document]] = []
        self._news = asyncio.Event()
        self._ended: set[int] = set()
        super().__init__(tls)

    @property
    def lists(self) -> int:
        return sum("watch" not in request.query for request in self.asked)

    @property
    def watches(self) -> list[str]:
        """From which versions watches were asked for."""
        return [request.query["resourceVersion"] for request in self.asked if "watch" in request.query]

    def tell(self, kind: str, each: Any) -> None:
        """A slice is added, modified or deleted; or a bookmark, or an error, is told."""

        def change() -> None:
            self._version += 1
            told = each
            if kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
                told = {**each, "metadata": {**each["metadata"], "resourceVersion": str(self._version)}}
            if kind in ("ADDED", "MODIFIED"):
                self._slices[each["metadata"]["name"]] = told
            elif kind == "DELETED":
                self._slices.pop(each["metadata"]["name"], None)
            self._history.append((self._version, {"type": kind, "object": told}))
            self._wake()

        self.do(change)

    def end_watches(self) -> None:
        """Ends those that are open, as their time is up."""

        def change() -> None:
            self._ended = {id(request) for request in self.asked}
            self._wake()

        self.do(change)

    def forget(self) -> None:
        """Compacts the history: only watches from now on can go on."""

        def change() -> None:
            self._version += 10
            self.oldest = self._version
            self._history.clear()

        self.do(change)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.trouble:
            return web.json_response({"kind": "Status", "code": self.trouble}, status=self.trouble)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return web.json_response({"kind": "Status", "reason": "Unauthorized", "code": 401}, status=401)
        if request.path != PATH or request.query.get("labelSelector") != "kubernetes.io/service-name=shop":
            return web.json_response({"kind": "EndpointSliceList", "metadata": {"resourceVersion": "1"}, "items": []})
        if "watch" in request.query:
            return await self._watch(request)
        metadata = {"resourceVersion": str(self._version)}
        return web.json_response(
            {"kind": "EndpointSliceList", "metadata": metadata, "items": list(self._slices.values())}
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        assert request.query["allowWatchBookmarks"] == "true"
        version = int(request.query["resourceVersion"])
        gone = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410}
        if version < self.oldest and self.by_status:
            return web.json_response(gone, status=410)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if version < self.oldest:
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        try:
            async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                await self._stream(request, response, version)
        except TimeoutError:
            pass
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse, version: int) -> None:
        while id(request) not in self._ended:
            news = self._news
            for at, event in self._history:
                if at > version:
                    version = at
                    line = json.dumps(event).encode() + b"\n"
                    half = len(line) // 2  # a line may come in pieces
                    await response.write(line[:half])
                    await asyncio.sleep(0)
                    await response.write(line[half:])
            if id(request) not in self._ended:
                await news.wait()
