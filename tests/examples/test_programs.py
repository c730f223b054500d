"""The programs in examples/, run as their users run them."""

import os
import subprocess
import sys

from tests.adapters.replicas import running
from tests.adapters.servers import ROOT


def run(program: str, *arguments: str, **env: str) -> list[str]:
    """The lines that a program prints; it must end well and say nothing to standard error."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters")]), **env}
    ended = subprocess.run(
        [sys.executable, "-W", "error", f"examples/{program}.py", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    return ended.stdout.splitlines()


def test_the_random_balancer_gives_every_node_its_share():
    title, *lines = run("random_balancer", "5", "20000")
    assert title == "20000 requests, 5 nodes, 1/N = 20.00%"
    served = [int(line.split()[1]) for line in lines]
    assert sum(served) == 20000
    # Chi-square with 4 degrees of freedom: above 40 once in 20 million runs.
    assert 0 < sum((count - 4000) ** 2 / 4000 for count in served) < 40


def test_the_system_heals_itself_of_each_kind_of_fault():
    lines = run("self_healing")
    story = [line.split(" ms  ", 1)[1] for line in lines]
    names = story[0].removeprefix("shop      three replicas serve: ").split(", ")
    assert len(names) == 3
    faults = ("is killed", "freezes", "begins to fail")
    remedies = ("is dead: starting it again", "hangs: replacing the process", "fails: making it reload")
    place = 0
    for name, fault, remedy in zip(names, faults, remedies, strict=True):
        for part in (f"{name} {fault}", f"{name} {remedy}", f"{name}: readmitted by "):
            place = next(index for index in range(place, len(story)) if part in story[index])
    served, _, visits = story[-1].removeprefix("shop      ").partition(" customers")[0].partition(" of ")
    assert int(served) == int(visits) > 0


def test_every_client_goes_to_the_replicas():
    with running(2) as replicas:
        lines = run("clients", INVENTORY=",".join(replica.url for replica in replicas))
        assert lines == ["aiohttp 200", "requests 200", "httpx 200", "httpx, async 200"]
        assert sum(replica.received for replica in replicas) == len(lines)
