"""One simulation in a process of its own: its order comes on standard input, its outcome goes to standard output."""

import os
import pickle
import sys

from balancemw.simulate.course import follow


def main() -> None:
    """Carry out the order."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a strategy of one's own prints must not get into the outcome
    scenario, strategy, seed, variant = pickle.load(sys.stdin.buffer)
    outcome = follow(scenario, strategy, seed, variant)
    out.write(pickle.dumps(outcome))
    out.close()
