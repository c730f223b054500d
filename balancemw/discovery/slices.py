"""The EndpointSlices of a service in Kubernetes (``discovery.k8s.io/v1``), and the nodes that follow. No I/O."""

from collections.abc import Iterable, Mapping
from typing import Any

from balancemw.discovery.found import Found, SourceError, reading, url
from balancemw.node import Node
from balancemw.settings import KubernetesSettings

WHAT = "Kubernetes' EndpointSlices"


class Gone(Exception):
    """What changed since the version asked for is not known any more: everything has to be listed again."""


class Slices:
    """What is known of a service's slices, from a list and the changes that a watch tells.

    Attributes:
        version: the resource version known; a watch goes on from it.
    """

    def __init__(self, settings: KubernetesSettings) -> None:
        self.version = ""
        self._settings = settings
        self._slices: dict[str, Mapping[str, Any]] = {}

    def replace(self, listed: Any) -> None:
        """Take in a whole list.

        Raises:
            SourceError: it is none.
        """
        with reading(WHAT):
            slices = {_name(each): each for each in listed["items"] or ()}
            self.version = str(listed["metadata"]["resourceVersion"])
        self._slices = slices

    def apply(self, event: Any) -> bool:
        """Take in an event of a watch; returns whether slices have changed.

        Raises:
            Gone: as it says.
            SourceError: the server tells of an error, or what it tells is no event.
        """
        with reading(WHAT):
            kind, told = event["type"], event["object"]
            if kind == "ERROR":
                if told.get("code") == 410:
                    raise Gone
                raise SourceError(f"the watch ends with status {told.get('code')}: {told.get('reason')}")
            version = str(told["metadata"]["resourceVersion"])
            if kind in ("ADDED", "MODIFIED"):
                self._slices[_name(told)] = told
            elif kind == "DELETED":
                self._slices.pop(_name(told), None)
        self.version = version
        return kind in ("ADDED", "MODIFIED", "DELETED")

    def found(self) -> tuple[Found, ...]:
        """The nodes that all slices together name, each once.

        As kube-proxy does, endpoints that are terminating but serve are used only where there is no other.

        Raises:
            SourceError: the slices are of an unknown form, or it is not clear which port is meant.
        """
        with reading(WHAT):
            endpoints = list(self._endpoints())
            ready = _unique(self._node(*each) for each in endpoints if _ready(each[0]))
            leaving = _unique(self._node(*each) for each in endpoints if _draining(each[0]))
        if not ready:
            return tuple(Found(node) for node in leaving.values())
        drained = [Found(node, "drain", "terminating") for url, node in leaving.items() if url not in ready]
        return (*(Found(node) for node in ready.values()), *drained)

    def _endpoints(self) -> Iterable[tuple[Mapping[str, Any], int]]:
        """The endpoints with their port, of one family of addresses: a pod with two is still one pod."""
        slices = [each for _, each in sorted(self._slices.items()) if each.get("endpoints")]
        with_port = [(each, port) for each in slices if (port := _port(each, self._settings.port)) is not None]
        if slices and not with_port:
            ports = sorted({str(port.get("name") or port.get("port")) for each in slices for port in _ports(each)})
            raise SourceError(f"its ports are {', '.join(ports) or 'not told'}: `port` has to say which")
        family = min((each.get("addressType", "") for each, _ in with_port), key=_FAMILIES.index, default="")
        for each, port in with_port:
            if each.get("addressType", "") == family:
                yield from ((endpoint, port) for endpoint in each["endpoints"] if endpoint.get("addresses"))

    def _node(self, endpoint: Mapping[str, Any], port: int) -> Node:
        settings = self._settings
        told = {"pod": (endpoint.get("targetRef") or {}).get("name"), "node": endpoint.get("nodeName")}
        metadata = {**settings.metadata, **{key: value for key, value in told.items() if value}}
        where = url(settings.scheme, endpoint["addresses"][0], port, settings.prefix)  # the others are the same pod's
        return Node(where, settings.weight, endpoint.get("zone") or settings.zone, settings.priority, metadata)


_FAMILIES = ("IPv4", "IPv6", "FQDN", "")


def _name(each: Mapping[str, Any]) -> str:
    return str(each["metadata"]["name"])


def _ports(each: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [port for port in each.get("ports") or () if port.get("protocol", "TCP") == "TCP"]


def _port(each: Mapping[str, Any], wanted: int | str | None) -> int | None:
    """The number of the wanted port in one slice, if it is clear which."""
    if isinstance(wanted, int):
        return wanted
    ports = [port for port in _ports(each) if wanted is None or port.get("name") == wanted]
    return ports[0].get("port") if len(ports) == 1 else None


def _conditions(endpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    return endpoint.get("conditions") or {}


def _ready(endpoint: Mapping[str, Any]) -> bool:
    """Whether it takes calls; what is not told is to be taken for true, says the API."""
    said = _conditions(endpoint)
    return said.get("ready") is not False and not said.get("terminating")


def _draining(endpoint: Mapping[str, Any]) -> bool:
    """Whether it still answers, but is about to end."""
    said = _conditions(endpoint)
    return bool(said.get("terminating")) and said.get("serving", said.get("ready")) is not False


def _unique(nodes: Iterable[Node]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for node in nodes:
        found.setdefault(node.url, node)
    return dict(sorted(found.items()))
