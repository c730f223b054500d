"""What a server's process knows of itself."""

import os
import re
from pathlib import Path
from typing import Any

from balancemw import Balancer


def about(balancer: Balancer) -> dict[str, Any]:
    memory = dict(re.findall(r"(Vm\w+):\s+(\d+) kB", Path("/proc/self/status").read_text()))
    return {
        "rss": int(memory["VmRSS"]) * 1024,
        "peak": int(memory["VmHWM"]) * 1024,
        "files": len(os.listdir("/proc/self/fd")),
        "services": balancer.status()["services"],
    }
