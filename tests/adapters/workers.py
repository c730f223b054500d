"""Workers for tests: processes that share a service, and that are killed, stopped and asked as tests need it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.adapters.replicas import Replica
from tests.adapters.watching import eventually

PROGRAM = Path(__file__).with_name("worker_program.py")
ROOT = Path(__file__).parent.parent.parent
EJECTION = {"base": 0.5, "max": 1.0}


class Worker:
    """A process with a balancer of service ``s``; its methods are those of `worker_program.Worker`.

    It is waited for when it is asked for the first time, so that several start at once.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAM), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self._ready = False

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Let it do that, and return what came of it."""
        assert self.process.stdin is not None
        if not self._ready:
            assert self._read() == "ready"
            self._ready = True
        self.process.stdin.write(json.dumps([name, arguments, options]) + "\n")
        self.process.stdin.flush()
        return json.loads(self._read())

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT …"""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def quit(self) -> None:
        """Let it end by itself, as a server's worker does."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def settings_for(urls: Sequence[str], state: str, **service: Any) -> dict[str, Any]:
    """Settings of service ``s`` at `urls`, quick to put a node out and to try it again."""
    shape = {"nodes": list(urls), "ejection": EJECTION, "slow_start": {"window": 0}, **service}
    return {"services": {"s": shape}, "state": state}


@contextmanager
def crew(count: int, settings: Mapping[str, Any]) -> Iterator[list[Worker]]:
    """That many workers that know of each other, killed at the end."""
    with ExitStack() as stack:
        workers = []
        for _ in range(count):
            workers.append(Worker(settings))
            stack.callback(workers[-1].kill)
        for worker in workers:
            worker.ask("start")
        for worker in workers:
            eventually(lambda worker=worker: worker.ask("workers") == count, "all workers are known")
        yield workers


def leader(workers: Sequence[Worker]) -> Worker:
    """The one that makes the checks."""
    eventually(lambda: sum(worker.ask("leads") for worker in workers) == 1, "one of them is elected")
    return next(worker for worker in workers if worker.ask("leads"))


def name(replica: Replica) -> str:
    """What its node is called."""
    return f"127.0.0.1:{replica.port}"


def urls(replicas: Sequence[Replica]) -> list[str]:
    return [replica.url for replica in replicas]


def node_of(worker: Worker, replica: Replica) -> Any:
    """The replica's part of the worker's status."""
    return next(each for each in worker.ask("nodes") if each["name"] == name(replica))


def all_say(workers: Sequence[Worker], replica: Replica, *states: str) -> None:
    """Wait until the replica is in one of these states for all workers."""
    for worker in workers:
        eventually(lambda worker=worker: worker.ask("states")[name(replica)] in states, f"{states}")
