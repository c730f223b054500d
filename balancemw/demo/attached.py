"""Runs a module as a program that ends when its standard input is closed: ``python -m …attached MODULE …``.

The demo holds the other end of that pipe. However the demo ends, even by SIGKILL, its servers end with it.
"""

import os
import runpy
import signal
import sys
import threading
import time

GRACE = 3.0
"""Seconds to end in good order."""


def end_with_standard_input() -> None:
    """Wait for the end of standard input, and end the process."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)  # its workers too: the demo gave it a session of its own


if __name__ == "__main__":
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
