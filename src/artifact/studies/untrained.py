"""The first point of every learning curve: the untrained student on the curve split, measured once.

Before the first step all runs of one student are the same policy: whatever they go on to learn, engines with the same
settings answer the same prompts alike. So the run that comes first measures, and keeps what it found under a key of its
own (`results/untrained`); the others read it, and each stores the same file as if it had measured by itself.
"""

from __future__ import annotations

from typing import Any

from artifact.config import Config
from artifact.provenance import digest
from artifact.records import Rollout, read_parquet, write_parquet
from artifact.studies import keys, store
from artifact.studies.inputs import stop_token_ids
from artifact.train.inputs import Measure, Outcomes, RunInputs

FIRST = "curve/step-000000.parquet"


def first_point(config: Config, inputs: RunInputs, measure: Measure) -> Outcomes:
    """The outcomes of the untrained student on `inputs.curve`: those stored, else those of `measure()`, then stored.

    To be called with the lane's actors in hand: who finds that another run is measuring waits for it.
    """
    settings = settings_of(config)
    key = digest(
        {
            "settings": settings,
            "student": keys.model_hash(config.models.student),
            "prompts": [inputs.prompts(inputs.curve), stop_token_ids(config.models.student)],
            "data": keys.data_hash(inputs.curve),
            "source": keys.source_of("checkpoints"),
            "lock": keys.environment_hash(config.cluster.device),
        }
    )
    with store.result("untrained", key, config, settings=settings) as out:
        if not out.finished:
            out.manifest["models"] = {"student": keys.model_identity(config.models.student)}
            write_parquet(out.folder / FIRST, (r for group in measure() for r in group), Rollout)
    return [(rollout,) for rollout in read_parquet(store.file(out.folder, FIRST), Rollout)]  # greedy: one a problem


def settings_of(config: Config) -> dict[str, Any]:
    """The settings on which it depends: those of the engines, the task, and the curve's part of the evaluation."""
    used = keys.settings(config, "task", "evaluation")
    curve = {name: used["evaluation"][name] for name in ("curve", "limit", "max_new_tokens")}
    engine = config.cluster.engine.model_dump(mode="json")
    return {"task": used["task"], "evaluation": curve, "engine": engine, "dtype": config.models.dtype}
