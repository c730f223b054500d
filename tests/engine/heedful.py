"""A strategy that goes by what nodes report, or so it says."""

from balancemw.strategies.rotation import RoundRobin

HEEDFUL = f"{__name__}:Heedful"


class Heedful(RoundRobin):
    """In turn, and asks for reports."""

    reports = True
