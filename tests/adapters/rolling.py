"""Servers that are restarted, one by one, each on its own port, while they are called."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.adapters.replicas import free_port
from tests.adapters.servers import PATIENCE, ROOT, ServerFailed

APPS = "tests.adapters.draining_apps"

Command = Callable[[int], Sequence[str]]

# Kept connections stay open much longer than a test lasts: a server that closes an idle one at the moment at which a
# call comes loses it whatever we do.
SERVERS: Mapping[str, Command] = {
    "gunicorn sync": lambda port: ["gunicorn", f"{APPS}:wsgi", "--bind", f"127.0.0.1:{port}"],
    "gunicorn gthread": lambda port: [*_gthread(port), "--threads", "8"],
    "gunicorn gthread preloaded": lambda port: [*_gthread(port), "--threads", "8", "--preload"],
    "gunicorn gthread, 2 workers": lambda port: [*_gthread(port), "--threads", "8", "--workers", "2"],
    "uvicorn": lambda port: ["uvicorn", f"{APPS}:asgi", "--port", str(port), "--timeout-keep-alive", "60"],
    "werkzeug": lambda port: [APPS, str(port)],
}


def _gthread(port: int) -> list[str]:
    return ["gunicorn", f"{APPS}:wsgi", "--bind", f"127.0.0.1:{port}", "-k", "gthread", "--keep-alive", "60"]


class Server:
    """A server process on a port of its own. It is being started when it is made; `answers` before anything else.

    Attributes:
        url: where it listens, after every restart too.
    """

    def __init__(self, kind: str, directory: Path, *, drain_seconds: float = 1.0) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", *SERVERS[kind](self.port)]
        self._log = directory / f"{self.port}.log"
        self._env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters")]),
            "DRAIN_SECONDS": str(drain_seconds),
            "JOURNAL": str(directory / "journal"),
        }
        self._launch()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._launch()
        self.answers()

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._env, stdout=log, stderr=log, start_new_session=True
            )

    def answers(self) -> None:
        """Wait until it answers."""
        patience = time.monotonic() + PATIENCE
        while time.monotonic() < patience and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/", timeout=PATIENCE).close()
            except urllib.error.HTTPError as answer:
                answer.close()
                return
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise ServerFailed(f"no answer from {self.url}:\n{self.said()}")

    def terminate(self) -> None:
        """Send SIGTERM, to the process that a supervisor would send it to."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Until it has ended."""
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"{self.url} does not end:\n{self.said()}") from None

    def said(self) -> str:
        """What it wrote to its standard output and error."""
        return self._log.read_text(errors="replace")[-8000:]

    def kill(self) -> None:
        """End it and what is left of it."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


@contextmanager
def servers(kind: str, count: int, directory: Path, *, drain_seconds: float = 1.0) -> Iterator[list[Server]]:
    """`count` servers of that kind, killed at the end."""
    started: list[Server] = []
    try:
        for _ in range(count):
            started.append(Server(kind, directory, drain_seconds=drain_seconds))
        for server in started:
            server.answers()
        yield started
    finally:
        for server in started:
            server.kill()
