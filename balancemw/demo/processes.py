"""The processes of the demo: three replicas and the app, which never outlive it."""

import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from balancemw.demo import record

NAMES = ("a", "b", "c")

WORKERS = 4
"""Processes that serve the app, and act as one."""

SETTINGS = """\
state = "sqlite:///{directory}/state.db"  # so that all workers know what one has learnt

[services.inventory]
nodes = [
    {nodes},
]
attempt_timeout = 1             # seconds for one try
timeout = 4                     # for the whole call, all tries and waits
ejection = {{base = 1, max = 4}}  # time out of the pool, doubled per relapse
slow_start = {{window = 2}}       # who is back takes up its share by degrees

[services.inventory.probe]      # asks each replica how it is
kind = "http"
path = "/health"
interval = 1
timeout = 0.5
fast_interval = 0.25            # while a replica is changing
down_interval = 0.5             # while it is out

[admin]                         # {url}/_balancer
token = "{token}"

[inbound]
drain_seconds = 0               # the app ends at once with the demo
"""

_GUNICORN = ("gunicorn", "--config", "python:balancemw.demo.gunicorn_config", "--bind")

SERVERS: Mapping[str, tuple[str, ...]] = {
    "starlette": ("balancemw.demo.starlette_server",),
    "flask": (*_GUNICORN[:1], "balancemw.demo.flask_app:app", *_GUNICORN[1:]),
    "django": (*_GUNICORN[:1], "balancemw.demo.django_app:application", *_GUNICORN[1:]),
}
"""The command that serves each app, but for the port at its end."""

_FOREIGN = ("GUNICORN_", "UVICORN_", "WEB_CONCURRENCY", "FLASK_", "DJANGO_", "BALANCEMW_")
"""Variables of the environment that would change how the app is served begin like that."""


def free_port() -> int:
    """A port where nobody listens, below those that clients are given: it stays free while its replica is dead."""
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


class Program:
    """``python -m`` something, in a session of its own: Ctrl-C at the terminal is the demo's affair, not its.

    Args:
        command: what follows ``python -m``.
        env: its environment.
        output: where what it says goes.
    """

    def __init__(self, command: tuple[str, ...], env: Mapping[str, str], output: Path) -> None:
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=env,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def hang_up(self) -> None:
        """Close its standard input, which asks it to end."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def kill(self, grace: float = 0.0) -> None:
        """SIGKILL it and all that it started, after `grace` seconds to end by itself."""
        if grace:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        with suppress(ProcessLookupError, PermissionError):  # the latter is how macOS says that all are gone
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.hang_up()


class Replica:
    """A replica of the demo's service, the same address in every life.

    Attributes:
        name: what it answers.
        node: what the balancer calls it: ``host:port``.
        url: where it listens.
    """

    def __init__(self, name: str, stage: "Stage") -> None:
        port = free_port()
        self.name = name
        self.node = f"127.0.0.1:{port}"
        self.url = f"http://{self.node}"
        self._command = ("balancemw.demo.replica", name, str(port), str(stage.orders))
        self._output = stage.directory / f"replica-{name}.log"
        self.start()

    def start(self) -> None:
        self._program = Program(self._command, os.environ, self._output)

    def behave(self, mode: str) -> None:
        """Take up one of the modes of `balancemw.demo.replica`."""
        self._program.tell(mode)

    def kill(self) -> None:
        self._program.kill()


class Stage:
    """A temporary directory and what runs in it.

    Args:
        app: ``starlette``, ``flask`` or ``django``.
        directory: where settings, logs and records are kept.

    Attributes:
        orders: the file where replicas note every order they receive.
        failures: the file where the app's workers note every failed try.
        settings: the app's settings, as TOML.
        url: of the app.
        token: of its admin surface.
        replicas: by name.
    """

    def __init__(self, app: str, directory: Path) -> None:
        self.directory = directory
        self.orders = directory / "orders.log"
        self.failures = directory / "failures.jsonl"
        self.orders.touch()
        self.failures.touch()
        self.replicas: dict[str, Replica] = {}
        self.settings = ""
        self.url = f"http://127.0.0.1:{free_port()}"
        self.token = secrets.token_hex(12)
        self._app = app
        self._served: Program | None = None

    def start(self) -> None:
        """Start the replicas and the app; they answer when they answer."""
        for name in NAMES:
            self.replicas[name] = Replica(name, self)
        urls = [replica.url for replica in self.replicas.values()]
        nodes = ",\n    ".join(map(json.dumps, urls))
        self.settings = SETTINGS.format(nodes=nodes, directory=self.directory, url=self.url, token=self.token)
        file = self.directory / "balancemw.toml"
        file.write_text(self.settings)
        env = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        env |= {"BALANCEMW_SETTINGS": str(file), record.VARIABLE: str(self.failures)}
        env |= {"no_proxy": "*", "NO_PROXY": "*"}  # urllib would send calls to 127.0.0.1 through a proxy
        address = self.url.removeprefix("http://")
        where = address.rpartition(":")[2] if self._app == "starlette" else address
        self._served = Program(("balancemw.demo.attached", *SERVERS[self._app], where), env, self.directory / "app.log")

    @property
    def serving(self) -> bool:
        """Whether the app's server is running."""
        return self._served is not None and self._served.running

    def complaints(self) -> str:
        """The last words of the app's server."""
        said = (self.directory / "app.log").read_text(errors="replace").strip()
        return "\n".join(said.splitlines()[-20:])

    def end(self) -> None:
        """End everything that was started."""
        if self._served is not None:
            self._served.hang_up()
            self._served.kill(grace=2.0)
        for replica in self.replicas.values():
            replica.kill()


@contextmanager
def set_stage(app: str) -> Generator[Stage, None, None]:
    """Replicas and an app, starting; nothing of them is left when the block ends, however it ends."""
    with TemporaryDirectory(prefix="balancemw-demo-") as directory:
        stage = Stage(app, Path(directory))
        try:
            stage.start()
            yield stage
        finally:
            stage.end()
