"""A real name server: dnsmasq, authoritative for ``.test``."""

import getpass
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dns.exception
import dns.message
import dns.query

from tests.adapters.replicas import free_port
from tests.debian import program


class Dnsmasq:
    """One server on a port of its own, which changes its records by starting anew.

    Attributes:
        address: to be asked at.
    """

    def __init__(self) -> None:
        self._program = program("dnsmasq", "dnsmasq-base")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"127.0.0.1:{self._port}"

    def serve(self, *records: str, ttl: int = 1) -> None:
        """Answer with these records, options of dnsmasq like ``host-record=a.test,127.0.0.1``, and no others."""
        self.stop()
        command = [self._program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]
        command += [f"--port={self._port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file="]
        command += [f"--user={getpass.getuser()}", "--local=/test/", f"--local-ttl={ttl}", "--host-record=up.test,::1"]
        self._process = subprocess.Popen([*command, *(f"--{record}" for record in records)], stderr=subprocess.PIPE)
        question = dns.message.make_query("up.test", "AAAA")
        for _ in range(400):
            try:
                dns.query.udp(question, "127.0.0.1", timeout=0.25, port=self._port)
            except (dns.exception.Timeout, OSError):
                assert self._process.poll() is None, self._process.communicate()[1]
                time.sleep(0.01)
            else:
                return
        raise AssertionError("dnsmasq does not answer")

    def stop(self) -> None:
        """Answer no more."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def name_server(*records: str, ttl: int = 1) -> Iterator[Dnsmasq]:
    server = Dnsmasq()
    try:
        server.serve(*records, ttl=ttl)
        yield server
    finally:
        server.stop()
