"""Scripts of their own process that watch nodes with callables."""

import os
import subprocess
import sys
from pathlib import Path

from tests.adapters.watching import FAST, SYNC

ROOT = Path(__file__).parent.parent.parent
FORKS = "ignore:This process:DeprecationWarning"  # that it has threads and forks is the point


def run_script(script: str) -> "subprocess.CompletedProcess[str]":
    """Runs `script` in a fresh interpreter that treats warnings as errors."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-W", FORKS, "-c", PREAMBLE + script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters")])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


PREAMBLE = f"""
import os, threading, time, logging
logging.getLogger("asyncio").setLevel(logging.ERROR)  # it tells of every slow step in development mode
logging.getLogger("balancemw").setLevel(logging.ERROR)
from balancemw import Balancer
from tests.adapters import callables
FAST = {FAST!r}
def eventually(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)
def balancer(**probe):
    nodes = ["http://one:1", "http://two:2"]
    probe = {{"kind": "{SYNC}", **FAST, **probe}}
    return Balancer({{"services": {{"s": {{"nodes": nodes, "probe": probe}}}}}})
"""


FORK = """
def child(code):
    pid = os.fork()
    if pid == 0:
        try:
            code()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
def names():
    return [thread.name for thread in threading.enumerate() if thread.name == "balancemw-monitor"]
watched = balancer(fall=1)
service = watched["s"]
service.pick()
probe = service.pool.must_wait.__self__
eventually(lambda: probe.proven)
"""
