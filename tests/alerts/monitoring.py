"""Real Prometheus and Alertmanager, with the configuration that docs/alerts.md has ready to paste."""

import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import reduce
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "alerts.md"
FILES = ("balancemw.toml", "prometheus.yml", "rules.yml", "alertmanager.yml")
PATIENCE = 60.0


def program(*names: str) -> str:
    """The path of a program; where there is none, the test is skipped."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"{names[0]} is not installed: on Debian, `make servers` (as root) installs it")
    return found


def written(directory: Path, changes: Mapping[str, str]) -> dict[str, Path]:
    """The files of docs/alerts.md, each with `changes` made that apply to it."""
    found = re.findall(
        r"`([a-z]+\.[a-z]+)`[^`]*(?:`[a-z:]+`[^`]*)*```(?:toml|yaml)\n(.*?)```", DOCS.read_text(), re.DOTALL
    )
    files = dict(found)
    assert tuple(files) == FILES
    whole = "".join(files.values())
    assert all(old in whole for old in changes), [old for old in changes if old not in whole]
    for name, text in files.items():
        (directory / name).write_text(reduce(lambda so_far, change: so_far.replace(*change), changes.items(), text))
    return {name: directory / name for name in FILES}


class Replica:
    """A replica that answers every call well, and tells Prometheus how old its stock is."""

    def __init__(self) -> None:
        self.age = 1.0
        self.disk = 0.5
        self.calls = 0
        replica = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                metrics = f"inventory_stock_age_seconds {replica.age}\ninventory_disk_used_ratio {replica.disk}\n"
                body = metrics.encode() if self.path == "/metrics" else replica.name.encode()
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.name = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def replicas(count: int) -> Iterator[list[Replica]]:
    with ExitStack() as stack:
        started = [Replica() for _ in range(count)]
        for replica in started:
            stack.callback(replica.close)
        yield started


@contextmanager
def daemon(command: Sequence[str], ready: str, log: Path) -> Iterator[None]:
    """A server, from when it answers at `ready` to the end of the block."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            eventually(lambda: process.poll() is not None or answers(ready), lambda: log.read_text()[-4000:])
            assert process.poll() is None, log.read_text()[-4000:]
            yield
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False
    return True


def eventually(holds: Callable[[], object], told: Callable[[], object] = lambda: "") -> None:
    """Wait until it holds; what is `told` goes into the error if that takes too long."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, told()
        time.sleep(0.1)
