"""Replicas for tests: real processes that hang, slow down, fail, die and come back as they are told."""

import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

PROGRAM = Path(__file__).with_name("replica_program.py")

_given: set[int] = set()


def free_port() -> int:
    """A port where nobody listens, and below those that clients are given: it stays free while its server is dead.

    None is given twice: whoever has been given one may not listen yet.
    """
    while True:
        port = random.randrange(12000, 32000)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


class Replica:
    """A replica process: answers its name with status 200 on every path until it is told otherwise.

    It is being started when it is made, so that several start at once; `wait` before anything else.

    Attributes:
        name: what it answers.
        url: where it listens, the same after every restart.
    """

    def __init__(self, name: str, journal: Path) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._journal = journal
        self._journal.touch()
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, str(PROGRAM), self.name, str(self.port), str(self._journal)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait(self) -> None:
        """Until it listens."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"replica {self.name} did not start on port {self.port}")

    def _tell(self, kind: str, value: float = 0.0) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{kind} {value}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def hang(self) -> None:
        """Accept and read, and never answer."""
        self._tell("hang")

    def slow(self, seconds: float) -> None:
        """Answer that much later."""
        self._tell("slow", seconds)

    def status(self, code: int) -> None:
        """Answer at once with this status."""
        self._tell("status", code)

    def reset(self) -> None:
        """Reset the connection after reading the request."""
        self._tell("reset")

    def half(self) -> None:
        """Close the connection half-way through the body."""
        self._tell("half")

    def recover(self) -> None:
        """Answer as at the beginning."""
        self._tell("answer")

    def kill(self) -> None:
        """SIGKILL; what it received so far stays known."""
        self._process.kill()
        self._process.communicate()

    @property
    def dead(self) -> bool:
        """Whether it was killed and not started again."""
        return self._process.poll() is not None

    def restart(self) -> None:
        """Start again on the same port, after `kill`."""
        self._process = self._start()
        self.wait()

    @property
    def received(self) -> int:
        """How many requests it has read, over all its lives."""
        return sum(self.counts().values())

    def counts(self) -> Counter[str]:
        """How often it has read a request with each id: header ``X-Id``, else ``id`` in the query, else ``-``."""
        return Counter(line.split(" ", 1)[0] for line in self._journal.read_text().splitlines())


@contextmanager
def running(count: int) -> Iterator[list[Replica]]:
    """`count` replicas, named ``replica-0`` and so on, killed at the end."""
    started: list[Replica] = []
    with TemporaryDirectory() as directory:
        try:
            for index in range(count):
                started.append(Replica(f"replica-{index}", Path(directory, f"replica-{index}")))
            for replica in started:
                replica.wait()
            yield started
        finally:
            for replica in started:
                replica.kill()
