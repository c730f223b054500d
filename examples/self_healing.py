"""A system that watches itself and recovers: each kind of fault is noticed, named, and answered with its own remedy.

Three replicas serve. One is killed, one freezes, one begins to fail while its health check still passes. Calls and
checks find out which it is, the healer restarts, replaces or reloads, and callers see nothing of it.

    python examples/self_healing.py
"""

import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import requests

from balancemw import Balancer, Event, Node, remaining

SERVICE = {
    "strategy": "round_robin",
    "attempt_timeout": 0.5,
    "ejection": {"base": 1},
    "probe": {"kind": "http", "path": "/health", "interval": 0.5, "timeout": 0.5, "rise": 1, "down_interval": 0.5},
}
PATIENCE = 20.0  # seconds within which a fault has to be healed
LOG = logging.getLogger("shop")  # beside the balancer's own, `balancemw`


class Replica:
    """A replica as a process of its own, and what can befall it and be done for it."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, __file__, str(self.port)], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        with self.process.stdout as ready:
            ready.readline()

    def restart(self) -> None:
        self.kill()
        self.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)  # connections are accepted, and nobody answers

    def spoil(self) -> None:
        self.process.send_signal(signal.SIGUSR1)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)


FAULTS = {"is killed": Replica.kill, "freezes": Replica.freeze, "begins to fail": Replica.spoil}
REMEDIES = {
    "refused": ("is dead: starting it again", Replica.restart),
    "reset": ("is dead: starting it again", Replica.restart),
    "timeout": ("hangs: replacing the process", Replica.restart),
    "connect_timeout": ("hangs: replacing the process", Replica.restart),
    "unavailable": ("fails: making it reload", Replica.reload),
}


def heal(replicas: dict[str, Replica], events: "Queue[Event]", healed: "Queue[str]") -> None:
    """Answer what the balancer says of a node with the remedy for it; the balancer says when that has worked."""
    treated: set[str] = set()
    while True:
        event = events.get()
        node = event.node or ""
        if event.event in ("ejected", "down") and event.fault in REMEDIES and node not in treated:
            diagnosis, remedy = REMEDIES[event.fault]
            LOG.info("%s %s", node, diagnosis)
            treated.add(node)
            remedy(replicas[node])
        elif event.event == "readmitted":
            treated.discard(node)
            healed.put(node)


def befall(replicas: dict[str, Replica], healed: "Queue[str]") -> None:
    """One fault after the other, each when the former is healed."""
    for (name, replica), (words, fault) in zip(replicas.items(), FAULTS.items(), strict=True):
        time.sleep(1.0)
        LOG.info("%s %s", name, words)
        fault(replica)
        healed.get(timeout=PATIENCE)


def visit(balancer: Balancer, answers: list[bool], over: threading.Event) -> None:
    """What a customer does until it is over."""

    @balancer.call("shop", idempotent=True)
    def ask(node: Node) -> requests.Response:
        return requests.get(node.url, timeout=remaining())

    while not over.wait(0.05):
        try:
            answers.append(ask().ok)
        except Exception:
            answers.append(False)
            LOG.exception("a customer was let down")


def main() -> int:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(relativeCreated)6d ms  %(name)-9s %(message)s")
    replicas = {f"127.0.0.1:{replica.port}": replica for replica in (Replica(), Replica(), Replica())}
    LOG.info("three replicas serve: %s", ", ".join(replicas))
    answers: list[bool] = []
    events, healed, over = Queue[Event](), Queue[str](), threading.Event()
    nodes = [f"http://{name}" for name in replicas]
    with Balancer({"services": {"shop": {"nodes": nodes, **SERVICE}}}) as balancer:
        balancer.subscribe(events.put)
        threading.Thread(target=heal, args=(replicas, events, healed), daemon=True).start()
        customers = [threading.Thread(target=visit, args=(balancer, answers, over)) for _ in range(5)]
        for customer in customers:
            customer.start()
        try:
            befall(replicas, healed)
        finally:
            over.set()
            for customer in customers:
                customer.join()
            for replica in replicas.values():
                replica.kill()
    LOG.info("%d of %d customers were served, through %d faults", sum(answers), len(answers), len(FAULTS))
    return 0 if all(answers) else 1


class Page(BaseHTTPRequestHandler):
    """What a replica serves."""

    spoilt = False

    def do_GET(self) -> None:
        body = b"served"
        self.send_response(503 if Page.spoilt and self.path != "/health" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(port: int) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: setattr(Page, "spoilt", True))
    signal.signal(signal.SIGHUP, lambda *_: setattr(Page, "spoilt", False))
    with ThreadingHTTPServer(("127.0.0.1", port), Page) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:]:
        serve(int(sys.argv[1]))
    else:
        sys.exit(main())
