"""How fast a method learns, as an outcome that can be compared: its mean accuracy over the learning curve.

A problem counts as solved by the share of the evaluation points at which it is, from before the first step to the last;
the mean over problems is the area under the accuracy curve against steps. At equal steps and prompts the method with
the higher area got there earlier. Left out: the comparison itself (`differences.py`), which claims nothing that
problems and seeds do not support.
"""

from __future__ import annotations

import pandas as pd

from artifact.errors import ArtifactError


def over_the_curve(curves: pd.DataFrame) -> pd.DataFrame:
    """`results.curve_frame` as outcomes for `difference_table`: each evaluation point is a sample of its problem.

    Raises ArtifactError where two runs were evaluated after different steps: their areas would not compare.
    """
    steps = curves.groupby(["cell", "teacher", "seed"], sort=False)["step"].agg(lambda s: tuple(sorted(set(s))))
    if steps.nunique() != 1:
        others = dict(list(steps.drop_duplicates().items())[:2])
        raise ArtifactError(f"learning curves were taken at different steps: {others}; compare runs of one setting")
    return curves.assign(split="curve", sample=curves["step"])
