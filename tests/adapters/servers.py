"""Real servers for tests: uvicorn and gunicorn as processes of their own, on a free port, until they answer."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.adapters.replicas import free_port

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 30.0


class ServerFailed(AssertionError):
    """The server did not start, or did not stop; the message ends with what it said."""


@contextmanager
def uvicorn(app: str, *, workers: int = 1, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """The base url of `app` (``module:name``) under uvicorn."""
    port = free_port()
    command = ["uvicorn", app, "--port", str(port), "--workers", str(workers), "--log-level", "warning"]
    with process(command, f"http://127.0.0.1:{port}", env):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def gunicorn(
    app: str, *options: str, workers: int = 1, threads: int = 32, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The base url of `app` (``module:name``) under gunicorn with threaded workers."""
    port = free_port()
    shape = ["--worker-class", "gthread", "--workers", str(workers), "--threads", str(threads)]
    command = ["gunicorn", app, "--bind", f"127.0.0.1:{port}", *shape, "--log-level", "warning", *options]
    with process(command, f"http://127.0.0.1:{port}", env):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def process(command: Sequence[str], url: str, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """``python -m command``, from when `url` answers, with whatever status, to the end of the block."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
    with TemporaryFile() as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths, **(env or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for(server, url, output)
            yield
        finally:
            _stop(server, output)


def _wait_for(server: "subprocess.Popen[bytes]", url: str, output: IO[bytes]) -> None:
    patience = time.monotonic() + PATIENCE
    while time.monotonic() < patience and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=PATIENCE).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ServerFailed(f"no answer from {url}:\n{_said(output)}")


def _stop(server: "subprocess.Popen[bytes]", output: IO[bytes]) -> None:
    patience = time.monotonic() + PATIENCE
    try:
        while server.poll() is None:  # an app of ours serves on for a while; told a second time it ends at once
            if time.monotonic() > patience:
                raise ServerFailed(f"the server did not stop:\n{_said(output)}")
            os.killpg(server.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                server.wait(0.1)
    finally:
        with suppress(ProcessLookupError):  # what is left of its session
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _said(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace")[-8000:]
