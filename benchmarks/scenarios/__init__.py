"""Scenarios, one a file: what happens to the replicas while the load is on. ``python -m benchmarks NAME`` runs one."""
