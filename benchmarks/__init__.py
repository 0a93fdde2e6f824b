"""Benchmarks against plain baselines, alternating in one run: `make bench`."""
