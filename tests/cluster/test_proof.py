"""The sync proof: what differs more than the tolerance, or is not a number, stops the run."""

from __future__ import annotations

import numpy as np
import pytest

from artifact.cluster.proof import prove
from artifact.errors import StaleEngine

EXPECTED = [np.array([-1.0, -2.0]), np.array([-0.5])]


def test_the_largest_gap_over_engines_and_sequences_is_returned() -> None:
    engines = [[np.array([-1.0, -2.0]), np.array([-0.5])], [np.array([-1.0, -2.0]), np.array([-0.50003])]]
    assert prove(EXPECTED, engines, 1e-4, "after weight sync 3") == pytest.approx(3e-5)


def test_a_stale_engine_is_named() -> None:
    engines = [EXPECTED, [np.array([-1.0, -2.5]), np.array([-0.5])]]
    with pytest.raises(StaleEngine, match=r"after weight sync 3: engine 1 differs .* by 5.00e-01 nats"):
        prove(EXPECTED, engines, 1e-4, "after weight sync 3")


def test_a_value_that_is_no_number_does_not_pass() -> None:
    with pytest.raises(StaleEngine, match="nan"):
        prove(EXPECTED, [[np.array([-1.0, np.nan]), np.array([-0.5])]], 1e-4, "x")
