"""What the benchmarks of whole steps share: the meter, our step, the peers' steps, and the files they write."""

ANSWER = "MEASURED "
"""What a peer's line of numbers begins with; whatever else it writes is talk."""
