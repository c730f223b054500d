"""Run the clients' own tests through the adapters: ``make upstream [CLIENTS="aiohttp httpx requests"]``.

Their tests are not ours to keep: they are taken out of the source distribution of the version that is installed, which
pip downloads. Each suite runs twice, as it is and with its servers behind a service's name. What passes the first time
must pass the second time, but for what `known` gives a reason for. (httpx2 is distributed without its tests.)
"""

import os
import subprocess
import sys
import tarfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from urllib.request import urlopen
from xml.etree import ElementTree

from tests.adapters.replicas import free_port
from tests.clients.upstream.known import KNOWN

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PLACE = ROOT / "build" / "upstream"

SUITES = {
    "aiohttp": ["tests/test_client_functional.py", "tests/test_client_ws_functional.py"],
    "httpx": ["tests"],
    "requests": ["tests/test_requests.py", "tests/test_lowlevel.py"],
}
# httpbin asks for versions that are at odds with everybody else's, so it gets an environment of its own.
HTTPBIN = ["brotlicffi", "decorator", "flasgger", "flask<3", "six", "werkzeug<3", "setuptools<81"]
SERVE = "import sys; from httpbin import app; from werkzeug.serving import *; \
WSGIRequestHandler.protocol_version = 'HTTP/1.1'; run_simple('127.0.0.1', int(sys.argv[1]), app, threaded=True)"


def pip(python: str | Path, *arguments: str) -> None:
    subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def sources(client: str) -> Path:
    """The client's sources but for the client itself: the installed one is to be tested."""
    name = f"{client}-{version(client)}"
    if not (PLACE / name).exists():
        pip(
            sys.executable,
            "download",
            "--no-deps",
            "--no-binary",
            client,
            "--dest",
            str(PLACE),
            name.replace("-", "=="),
        )
        with tarfile.open(PLACE / f"{name}.tar.gz") as archive:
            itself = (f"{name}/{client}/", f"{name}/src/")
            archive.extractall(PLACE, [file for file in archive if not file.name.startswith(itself)], filter="data")
    return PLACE / name


@contextmanager
def httpbin() -> Iterator[str]:
    """The port of a running httpbin, which requests' tests talk to."""
    home = PLACE / "httpbin"
    python = home / "bin" / "python"
    if not home.exists():
        venv.create(home, with_pip=True)
        pip(python, "install", *HTTPBIN)
        pip(python, "install", "--no-deps", "httpbin==0.10.4")
    port = str(free_port())
    with subprocess.Popen([python, "-c", SERVE, port], stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/get")
            yield port
        finally:
            server.kill()


def wait_for(url: str) -> None:
    for _ in range(100):
        try:
            urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(url)


def passing(client: str, *, through: bool, port: str) -> set[str]:
    """The names of the tests that pass."""
    report = PLACE / f"{client}.xml"
    place = sources(client)
    (place / "pytest.ini").write_text("[pytest]\n")  # not ours
    options = ["-p", "no:asyncio", "-p", "no:cacheprovider", "--tb=no", "-q", "--timeout=60"]
    command = [sys.executable, "-m", "pytest", *options, "-p", f"through_{client}", f"--junitxml={report}"]
    own = {"PYTHONPATH": str(HERE), "THROUGH": "1" if through else "", "HTTPBIN_PORT": port}
    subprocess.run([*command, *SUITES[client]], cwd=place, env={**os.environ, **own}, check=False)
    cases = ElementTree.parse(report).iter("testcase")
    passed = {f"{case.get('classname')}::{case.get('name')}" for case in cases if len(case) == 0}
    if not passed:
        raise SystemExit(f"No test of {client} has passed: see above.")
    return passed


def compare(client: str) -> list[str]:
    """The tests that the adapter makes fail, and nobody knows why."""
    with httpbin() if client == "requests" else nullcontext("") as port:
        plain = passing(client, through=False, port=port)
        through = passing(client, through=True, port=port)
    known = tuple(KNOWN[client])
    lost = sorted(name for name in plain - through if not name.partition("::")[2].startswith(known))
    print(f"{client} {version(client)}: {len(plain)} pass without the adapter, {len(plain & through)} through it")
    return lost


def main(clients: list[str]) -> int:
    PLACE.mkdir(parents=True, exist_ok=True)
    lost = [name for client in clients or SUITES for name in compare(client)]
    print(
        "\n".join(["", "Failed through the adapter:", *lost] if lost else ["", "Nothing is lost through the adapters."])
    )
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
