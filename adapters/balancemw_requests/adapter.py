"""The transport adapter: a request to a service's name goes to one of its replicas."""

import sys
from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter

from balancemw import BalanceError, Balancer
from balancemw.balancer import current
from balancemw.errors import in_dialect
from balancemw.exchange import Destination, services
from balancemw_requests.errors import NoNode, TooLate
from balancemw_requests.limits import granted
from balancemw_requests.outgoing import Outgoing
from balancemw_requests.pools import Address, Pools
from balancemw_requests.sending import Options, Sending

Key = Callable[[PreparedRequest], str | None]

_NO_LIMIT = sys.maxsize
_PORTS = {"http": 80, "https": 443}

_pickled: WeakValueDictionary[str, Balancer] = WeakValueDictionary()  # by what a copy knows of its balancer


class BalancedAdapter(HTTPAdapter):
    """Sends requests to services to their replicas, and again where that is safe. One may serve any number of threads.

    It can be copied and pickled, as sessions are, and has the same balancer afterwards. Unpickled in another process,
    where that is not, it takes the one of the app or process there (`balancemw.configure`) when it is first used.

    Args:
        balancer: whose services they are.
        key: for services whose strategy goes by key: gives it for a request.
        pool_connections: of how many replicas connections are kept; None: of all.
        pool_maxsize: how many idle connections to each.
        pool_block: whether to wait for one of these rather than open another.
    """

    __attrs__ = [*HTTPAdapter.__attrs__, "_key", "_names", "_token"]  # noqa: RUF012  what is pickled

    def __init__(
        self,
        balancer: Balancer,
        *,
        key: Key | None = None,
        pool_connections: int | None = None,
        pool_maxsize: int = 10,
        pool_block: bool = False,
    ) -> None:
        self._balancer: Balancer | None = balancer
        self._services: Mapping[str, Destination] = services(balancer)
        self._names = tuple(balancer.services)
        self._token = token_hex(16)
        _pickled[self._token] = balancer
        self._key = key
        super().__init__(pool_connections or _NO_LIMIT, pool_maxsize, pool_block=pool_block)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What to mount it at: with what ends a host's name, so that it is the whole name."""
        hosts = [f"{scheme}://{name.lower()}" for name in self._names for scheme in ("http", "https")]
        return tuple(host + end for host in hosts for end in "/:?#")

    # -- a request

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send `request`, and again where that is safe; of several answers the last is given.

        Args:
            request: to a service; to any other host it is sent as requests does.
            stream: whether the body is left to be read later.
            timeout: seconds, or (connect, read), or urllib3's `Timeout`, of each try; the service's settings bound it.
            verify: as in requests. A certificate has to be for the service's name.
            cert: as in requests.
            proxies: for other hosts only.

        Raises:
            requests.RequestException: the last try's own; also, where there was no replica at all, a `NoNodeAvailable`,
                and where the time was up, a `DeadlineExceeded`.
            BalancerNotConfigured, UnknownService: after unpickling, where there is no balancer that knows the services.
        """
        found = self._find(request.url or "")
        if found is None:
            return super().send(request, stream, timeout, verify, cert, proxies)
        destination, host = found
        key = None if self._key is None else self._key(request)
        options = Options(key, host, granted(timeout), stream, verify, cert)
        try:
            return Sending(request, destination, super().send, options).send()
        except BalanceError as error:
            told = in_dialect(error, NoNode, TooLate)
            if isinstance(told, RequestException):
                told.request = request
            raise told from error.__cause__

    def _find(self, url: str) -> tuple[Destination, str] | None:
        """The service that `url` names, and what it is called there; None: it names another host."""
        known = self._services or self._bind()
        parts = url.split("/", 3)
        name = parts[2] if len(parts) > 2 else ""
        if name in known:
            return known[name], name
        try:
            split = urlsplit(url)
            name, port = split.hostname or "", split.port
        except ValueError:
            return None
        if name not in known:
            return None
        return known[name], name if port in (None, _PORTS.get(split.scheme)) else f"{name}:{port}"

    def _bind(self) -> Mapping[str, Destination]:
        """Take the balancer that is here, when the adapter was pickled somewhere else."""
        if self._balancer is None:
            balancer = current()
            for name in self._names:
                balancer[name]  # raises, with a hint, for a service that is not known here
            self._balancer, self._services = balancer, services(balancer)
        return self._services

    # -- what HTTPAdapter asks for in between

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: bool | str | None, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool of the replica: no proxy, and none of the questions about one."""
        if not isinstance(request, Outgoing):
            return super().get_connection_with_tls_context(request, verify, proxies, cert)

        def find() -> Any:
            host, options = self.build_connection_pool_key_attributes(request, verify, cert)
            return self.poolmanager.connection_from_host(**host, pool_kwargs=options)

        return self._pools.get((request.node.url, request.name, verify, cert), find)

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: bool | str | None, cert: Any = None
    ) -> tuple[Any, Any]:
        """As requests', and for TLS the name that the certificate is for: connections are not shared between names."""
        requests_own: Any = super()
        host, options = requests_own.build_connection_pool_key_attributes(request, verify, cert)
        if isinstance(request, Outgoing) and host["scheme"] == "https":
            options["server_hostname"] = request.name
        return host, options

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        """What is asked for: the path below the node's."""
        return request.target if isinstance(request, Outgoing) else super().request_url(request, proxies)

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        """The response to what the caller asked for."""
        return super().build_response(req.caller if isinstance(req, Outgoing) else req, resp)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        """As requests', with a pool for every replica."""
        self._pool_connections, self._pool_maxsize, self._pool_block = connections, maxsize, block
        self._pools = self.poolmanager = Pools(
            self._present, num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs
        )

    def _present(self) -> set[Address]:
        known = {} if self._balancer is None else self._balancer.services
        return {(node.host, node.port) for service in known.values() for node in service.nodes}

    # -- copies

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._balancer = balancer = _pickled.get(state["_token"])
        self._services = {} if balancer is None else services(balancer)
        requests_own: Any = super()
        requests_own.__setstate__(state)
