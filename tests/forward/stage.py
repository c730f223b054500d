"""Replicas and a server in front of them, all real processes on loopback."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from tests.adapters.replicas import free_port
from tests.adapters.servers import process

PROGRAM = Path(__file__).with_name("replica_program.py")
PATIENCE = 30.0


class Replica:
    """A replica process.

    Attributes:
        url: where it listens.
    """

    def __init__(self, conduct: str = "", program: Path = PROGRAM) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, str(program), str(self.port), conduct]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def journal(self) -> dict[str, Any]:
        """What it has seen: requests, how many were cut off, and connections open."""
        with urllib.request.urlopen(f"{self.url}/journal", timeout=PATIENCE) as answer:
            found: dict[str, Any] = json.load(answer)
        found["connections"] -= 1  # our own
        return found

    def received(self, target: str) -> int:
        """How many requests have come with this ``METHOD /target``."""
        return int(self.journal()["requests"].count(target))

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Server:
    """The server in front.

    Attributes:
        url: where it listens.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def about(self) -> dict[str, Any]:
        """What the server's process knows of itself."""
        with urllib.request.urlopen(f"{self.url}/self", timeout=PATIENCE) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def node(self, replica: Replica, service: str = "inventory") -> dict[str, Any]:
        """What it knows of a replica."""
        nodes = self.about()["services"][service]["nodes"]
        found: dict[str, Any] = next(node for node in nodes if node["url"] == replica.url)
        return found

    def raw(self, data: bytes) -> bytes:
        """What it answers to these bytes until it closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(data)
            answer = b""
            try:
                while part := connection.recv(65536):
                    answer += part
            except ConnectionResetError:
                pass
        return answer


@contextmanager
def replicas(*conducts: str) -> Iterator[list[Replica]]:
    """A replica for each conduct; ``""`` does what the request's path says."""
    with ExitStack() as stack:
        started = []
        for conduct in conducts:
            replica = Replica(conduct)
            stack.callback(replica.kill)
            started.append(replica)
        yield started


def _uvicorn(app: str, *options: str) -> list[str]:
    return ["uvicorn", app, "--no-proxy-headers", "--log-level", "warning", *options]


def _gunicorn(app: str) -> list[str]:
    shape = ["--worker-class", "gthread", "--workers", "1", "--threads", "200"]  # each slow client has a thread
    return ["gunicorn", app, *shape, "--log-level", "critical"]


KINDS = {
    "h11": _uvicorn("tests.forward.app:app", "--http", "h11"),
    "httptools": _uvicorn("tests.forward.app:app", "--http", "httptools"),
    "wsgi": _gunicorn("tests.forward.wsgi_app:app"),
    "flask": _gunicorn("tests.forward.flask_app:app"),
    "django": _gunicorn("tests.forward.django_project:wsgi"),
    "django-asgi": _uvicorn("tests.forward.django_project:asgi", "--http", "httptools"),
    "django-mixed": _uvicorn("tests.forward.django_project:asgi", "--http", "h11"),
}
"""What stands in front, and how it is started."""

_GUNICORN, _DJANGO_ASGI = {"wsgi", "flask", "django"}, {"django-asgi", "django-mixed"}
_DJANGO = {"django", *_DJANGO_ASGI}

CANNOT = {
    "see repeated headers apart": _GUNICORN,  # joined, as WSGI has them
    "see underscores in headers": _GUNICORN,  # dropped, so that nothing is taken for what it is not
    "see a client leave": _GUNICORN,  # before there is something to send or to read
    "answer before a body has come": _GUNICORN | _DJANGO_ASGI,  # read() waits; Django has all of it first
    "stream a request": _DJANGO_ASGI,  # Django has all of it first, on disk
    "repeat headers": _DJANGO,  # joined in an answer, but for cookies
}
"""What a server or framework in front does not do, and no middleware inside it can."""


def can(kind: str, what: str) -> bool:
    """Whether a kind of front is able to."""
    return kind not in CANNOT[what]


@contextmanager
def serving(settings: dict[str, Any], kind: str = "h11", *options: str, **env: str) -> Iterator[Server]:
    """A server of this kind."""
    server = Server(free_port())
    command = KINDS[kind]
    address = ["--port", str(server.port)] if command[0] == "uvicorn" else ["--bind", f"127.0.0.1:{server.port}"]
    with NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(toml(settings))
        file.flush()
        env |= {"BALANCEMW_SETTINGS": file.name} | ({"MIXED": "1"} if kind == "django-mixed" else {})
        with process([*command, *address, *options], server.url, env):
            yield server


def toml(settings: dict[str, Any]) -> str:
    """`settings` as TOML: JSON's values are TOML's as well, but for mappings."""
    return "\n".join(f"{key} = {_inline(value)}" for key, value in settings.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def until(condition: Callable[[], object]) -> None:
    """Wait for `condition`, however long a busy machine needs for it."""
    patience = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < patience, "it never happened"
        time.sleep(0.02)
