"""Measuring policies: benchmarks, pass@1, avg@k, and the statistics behind every interval."""
