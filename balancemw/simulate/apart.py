"""One simulation in a process of its own: its order comes on standard input, its outcome goes to standard output.

It ends with the process that asked for it, which has the other end of the pipe that it is told of as an argument.
"""

import gc
import os
import pickle
import sys
from threading import Thread

from balancemw.simulate.course import follow


def main() -> None:
    """Carry out the order."""
    Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a strategy of one's own prints must not get into the outcome
    scenario, strategy, seed, variant = pickle.load(sys.stdin.buffer)
    gc.disable()  # also for what comes after the simulation: nothing is kept longer than the process lives
    outcome = follow(scenario, strategy, seed, variant)
    out.write(pickle.dumps(outcome))
    out.close()
    gc.freeze()  # a million nodes go with the process: to take them apart before would take seconds


def _end_with(pipe: int) -> None:
    os.read(pipe, 1)  # nobody ever writes: its end is that of the process that holds the other end
    os._exit(1)
