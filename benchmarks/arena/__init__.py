"""Where contenders meet: the same replicas, the same load and the same faults for each, one after the other.

A scenario is a file in `benchmarks.scenarios`; what a contender is stands in `contenders` and, for the proxies, in
`benchmarks/proxies`. Replicas, load generator and proxy are processes of their own; `stage` runs them.
"""
