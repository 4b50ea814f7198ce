"""The leak check on real rollouts: a finished run's responses, scored by the models that would teach from them.

The probes and what they mean stand in `stats/leak.py`; here they get a run's rollouts, its prompts, and the teacher
actor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from artifact.actors.calls import call
from artifact.actors.session import open_actors
from artifact.config import Config
from artifact.errors import EmptyDataset
from artifact.paths import resolve_model
from artifact.records import Rollout, index_by_id
from artifact.stats.leak import CONTEXTS, build_probes, leak_frame
from artifact.studies import store
from artifact.studies.inputs import build_inputs, tokenizer_of
from artifact.studies.runner import RunInfo, rollouts_of


def spread_over(rollouts: Callable[[], Iterable[Rollout]], limit: int) -> list[Rollout]:
    """At most `limit` rollouts with a box, evenly spaced over training, the first of each group only.

    rollouts  begins anew at each call: they are counted first, and then those that are wanted are kept
    """
    counted = Counter(map(_first_with_a_box, rollouts()))
    if not counted[True]:
        raise EmptyDataset(f"none of the run's {counted[False]} rollouts has a box to cut before")
    n = min(limit, counted[True])
    wanted = {i * counted[True] // n for i in range(n)}
    return [r for i, r in enumerate(filter(_first_with_a_box, rollouts())) if i in wanted]


def _first_with_a_box(rollout: Rollout) -> bool:
    return rollout.sample == 0 and "\\boxed{" in rollout.text


def leak_check(info: RunInfo, *, limit: int = 64, contexts: Sequence[str] = CONTEXTS) -> pd.DataFrame:
    """Probabilities of the gold answer for a run's teacher, and for its initial student (the self-distilled teacher).

    One row per probe: model, problem_id, sample, correct, context, fraction, probability. A run that sampled nothing
    raises EmptyDataset.
    """
    config = Config.model_validate(info.manifest["config"])
    inputs, tokenizer = build_inputs(config), tokenizer_of(config.models.student)
    probes = build_probes(
        index_by_id(inputs.train),
        spread_over(lambda: rollouts_of(info), limit),
        inputs.encode,
        lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
        lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True),
        contexts=contexts,
    )
    with store.actors_of(config, config.models.student):
        actors = open_actors(config, engines_for=None, teacher=True)
        models = {f"teacher {config.teacher}": config.teacher_path, "initial student": config.models.student}
        frames = []
        for name, model in models.items():
            path = resolve_model(model)
            frame = leak_frame(
                probes,
                lambda pairs, path=path: call(  # type: ignore[misc]
                    actors.teacher.logprobs.remote(path, pairs, config.optimiser.micro_batch_tokens),
                    config.cluster.step_timeout_s,
                    "the leak check",
                ),
            )
            frames.append(frame.assign(model=name))
    return pd.concat(frames, ignore_index=True)
