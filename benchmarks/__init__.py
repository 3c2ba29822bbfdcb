"""The benchmark: `python -m benchmarks` compares the estimators with the closed forms."""
