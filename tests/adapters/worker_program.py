"""A worker as a program of its own: a balancer that does what it is told on standard input, one JSON list a line.

It calls service ``s`` as fast as it is told to, and remembers what came of it.
"""

import http.client
import json
import logging
import sys
import threading
import time
from typing import Any

from balancemw import Balancer, Node

PATIENCE = 5.0


class Load:
    """Idempotent calls, one after the other."""

    def __init__(self, balancer: Balancer) -> None:
        self._call = balancer.call("s", idempotent=True)(self._get)
        self._pause = 1.0
        self.errors: list[str] = []
        self.seconds: list[float] = []
        self.sent: list[str] = []
        self._thread: threading.Thread | None = None
        self._on = False

    def _get(self, node: Node) -> "Answer":
        self.sent.append(node.name)
        connection = http.client.HTTPConnection(node.host, node.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/stock")
            answer = connection.getresponse()
            answer.read()
            return Answer(answer.status)
        finally:
            connection.close()

    def start(self, pause: float) -> None:
        self._pause, self._on = pause, True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._on = False
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._on:
            self.once()
            time.sleep(self._pause)

    def once(self) -> str | None:
        begin = time.monotonic()
        try:
            status = self._call().status_code
            problem = None if status == 200 else f"status {status}"
        except Exception as error:
            problem = repr(error)
        if problem is not None:
            self.errors.append(problem)
        self.seconds.append(time.monotonic() - begin)
        return problem


class Answer:
    def __init__(self, status: int) -> None:
        self.status_code = status


class Worker:
    def __init__(self, settings: str) -> None:
        self.balancer = Balancer(json.loads(settings))
        self.service = self.balancer["s"]
        self.load = Load(self.balancer)

    def start(self) -> None:
        self.balancer.start()

    def close(self) -> None:
        self.balancer.close()

    def begin(self, pause: float) -> None:
        self.load.start(pause)

    def end(self) -> None:
        self.load.stop()

    def call(self, times: int = 1) -> list[str | None]:
        return [self.load.once() for _ in range(times)]

    def result(self) -> list[Any]:
        return [self.load.errors, self.load.seconds, self.load.sent]

    def mark(self, *arguments: Any, **options: Any) -> None:
        self.service.mark(*arguments, **options)

    def clear(self, node: str) -> None:
        self.service.clear(node)

    def states(self) -> dict[str, str]:
        return {each["name"]: each["state"] for each in self.nodes()}

    def nodes(self) -> Any:
        services: Any = self.balancer.status()["services"]
        return services["s"]["nodes"]

    def events(self, after: int = 0) -> list[Any]:
        return [
            [each.id, each.event, each.node, each.source, each.reason, dict(each.evidence)]
            for each in self.balancer.journal.after(after)
        ]

    def leads(self) -> bool:
        sharing = self.balancer._sharing
        assert sharing is not None
        return sharing.leads("s")

    def workers(self) -> int:
        return self.service.pool.budget.workers


def main(settings: str) -> None:
    logging.getLogger("balancemw").setLevel(logging.ERROR)
    worker = Worker(settings)
    print("ready", flush=True)
    for line in sys.stdin:
        name, arguments, options = json.loads(line)
        print(json.dumps(getattr(worker, name)(*arguments, **options)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
