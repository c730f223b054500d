"""What balancemw costs: ``python -m benchmarks [NAME …]``. See docs/benchmarks.md."""
