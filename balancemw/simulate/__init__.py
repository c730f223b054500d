"""Which strategy and which settings? A simulation on virtual time that drives the engine itself, not a model of it.

    from balancemw.simulate import Scenario, compare, simulate

    scenario = Scenario(callers=50, replicas=20, utilization=0.8)
    print(simulate(scenario, "least_requests").p99)
    print(compare(scenario).recommendation)

Every caller has a pool of its own, with the engine's strategies, retries, hedges, budgets, ejection, trials, zones and
slow start; replicas, their queues, the network and what goes wrong are simulated.
"""

from balancemw.simulate.comparison import Comparison, compare, default_strategies, simulate
from balancemw.simulate.faults import Antagonists, Fault
from balancemw.simulate.outcome import Outcome
from balancemw.simulate.ready import READY, ready
from balancemw.simulate.scenario import Scenario
from balancemw.simulate.site import Network, Replica
from balancemw.simulate.times import ServiceTime
from balancemw.simulate.verdict import recommend

__all__ = [
    "READY",
    "Antagonists",
    "Comparison",
    "Fault",
    "Network",
    "Outcome",
    "Replica",
    "Scenario",
    "ServiceTime",
    "compare",
    "default_strategies",
    "ready",
    "recommend",
    "simulate",
]
