"""`python -m tests.faults [--some] [--json FILE]`: inflict the faults one after the other and print the table."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> int:
    """0 when no fault ended in a defect."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--some", action="store_true", help="a representative part")
    parser.add_argument("--json", type=Path, help="the outcomes as JSON, too")
    given = parser.parse_args()
    import pyarrow.dataset  # noqa: F401  # what a child would import anew each time
    import torch

    import artifact.studies.results  # noqa: F401

    torch.set_num_threads(1)  # a process with threads cannot be forked safely
    from tests.faults import world
    from tests.faults.matrix import representative, table, whole_matrix

    from artifact.studies import store

    store.git_state = dict  # type: ignore[assignment]  # git and the hardware are not asked once for each fault
    store.hardware = dict

    with tempfile.TemporaryDirectory() as folder:
        os.environ["ARTIFACT_RESULTS"] = f"{folder}/warm"
        world.start()  # torch imports its compiler at the first step of an optimiser: once here, not in every child
        outcomes = []
        for outcome in (representative if given.some else whole_matrix)(Path(folder)):
            outcomes.append(outcome)
            if not outcome.good:
                print(
                    f"{outcome.ended}: {outcome.group}: {outcome.fault}: {outcome.words}", file=sys.stderr, flush=True
                )
    print(table(outcomes))
    if given.json:
        given.json.write_text(json.dumps([asdict(o) | {"good": o.good} for o in outcomes], indent=1))
    return int(not all(o.good for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
