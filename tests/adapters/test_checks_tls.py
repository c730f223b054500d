"""Whose certificate a check wants to see. In a process of its own, as what it trusts is decided when aiohttp starts."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.adapters.checking import OK
from tests.adapters.failing_server import Peer, serving

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import asyncio, sys
from balancemw import Node
from balancemw.checks import Check, Loop, open_session
from balancemw.settings import ProbeSettings

async def run(url, service):
    async with open_session() as session:
        return await Check(ProbeSettings(kind="http"), service)(Node(url), session)

with asyncio.Runner(loop_factory=Loop) as runner:
    outcome = runner.run(run(*sys.argv[1:]))
print(outcome.passed, outcome.fault)
"""


@pytest.mark.parametrize(
    ("host", "service", "found"),
    [
        ("127.0.0.1", "inventory", "True None"),
        ("127.0.0.1", "billing", "False tls"),
        ("127.0.0.1", "", "False tls"),
        ("localhost", "billing", "True None"),  # a node that has a name goes by it
    ],
)
def test_a_node_addressed_by_ip_shows_a_certificate_for_the_service(
    host: str, service: str, found: str, tmp_path: Path
) -> None:
    ca, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("inventory", "localhost").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def script(peer: Peer) -> None:
        peer.connection = context.wrap_socket(peer.connection, server_side=True)
        peer.hear()
        peer.say(OK)

    with serving(script) as (server, _):
        url = f"https://{host}:{server.rpartition(':')[2]}"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, url, service],
            env={**os.environ, "PYTHONPATH": str(ROOT), "SSL_CERT_FILE": str(tmp_path / "ca.pem")},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert done.stdout.strip() == found
