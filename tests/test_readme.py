"""The README's first example and those of the clients run, and survive the loss of a replica."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.adapters.replicas import free_port

README = Path(__file__).parents[1] / "README.md"
ASK = "\nprint(app.test_client().get('/hello.txt').text)\n"


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[int]:
    """The port of one replica that serves a directory with a file."""
    (tmp_path / "hello.txt").write_text("hello")
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        stack.callback(process.kill)
        for _ in range(200):
            with closing(socket.socket()) as probe:
                probe.settimeout(0.05)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield port


def test_the_example_runs_and_fails_over(replica: int, tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    dead = free_port()
    shop = tmp_path / "shop.py"
    shop.write_text(code.replace("8001", str(dead)).replace("8002", str(replica)) + ASK * 5)
    ran = subprocess.run([sys.executable, shop], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "hello\n" * 5, ran.stderr


BALANCER = """
from balancemw import Balancer
balancer = Balancer({"services": {"inventory": {"nodes": %r, "strategy": "round_robin"}}})
"""
CLIENTS = ("aiohttp", "requests", "httpx")


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_balanced_in_five_lines(client: str, replica: int) -> None:
    section = README.read_text().partition("## Balance the client you already have")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == len(CLIENTS)
    (code,) = (block for block in blocks if block.startswith(f"import {client}"))
    lines = [line for line in code.replace("/stock/1", "/hello.txt").splitlines() if line]
    assert len(lines) == 5
    if client == "aiohttp":
        lines = ["import asyncio", "async def ask():", *("    " + line for line in lines), "    return stock"]
        lines.append("stock = asyncio.run(ask())")
    nodes = [f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{replica}"]
    program = "\n".join([BALANCER % nodes, *lines, "print(stock)"])
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "hello\n", ran.stderr
