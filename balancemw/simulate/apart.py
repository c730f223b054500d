"""One simulation in a process of its own: its order comes on standard input, its outcome goes to standard output."""

import gc
import os
import pickle
import sys

from balancemw.simulate.course import follow


def main() -> None:
    """Carry out the order."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a strategy of one's own prints must not get into the outcome
    scenario, strategy, seed, variant = pickle.load(sys.stdin.buffer)
    gc.disable()  # also for what comes after the simulation: nothing is kept longer than the process lives
    outcome = follow(scenario, strategy, seed, variant)
    out.write(pickle.dumps(outcome))
    out.close()
    gc.freeze()  # a million nodes go with the process: to take them apart before would take seconds
