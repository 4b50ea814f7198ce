"""avg@k of runs and checkpoints: k samples a problem from stored weights, kept as results of their own.

Greedy pass@1 is a part of every run. Sampled responses (UOPD section 4.3: k = 16 at T = 1.2, top-p 0.95) cost k times
as many tokens and few tables read them, so they are no part of a run and of its key: whoever reads them asks for them
here, for the runs at hand, and they are found under the weights, the problems and the decoding. `limit` takes the first
problems of each final split; the prompts, the budget of tokens and the verifier are those of the greedy evaluation.

    config = planned[0][1]
    sampled = sampled_evaluations(runs, config.evaluation.sampled)
    frame = evaluation_frame(sampled, decoding_of(config.evaluation.sampled))   # one row per response
    calibration = sampled_evaluations(runs, SampledEvaluation(k=8, temperature=0.7, top_p=1.0, limit=100))

Left out: what is made of the responses (`evaluate/protocol.py`: pass@k, maj@k; `report/main_table.py`: avg@k).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from artifact.actors.session import connect
from artifact.config import Config, ConfigError, SampledEvaluation
from artifact.studies.inputs import build_inputs
from artifact.studies.lanes import side_by_side
from artifact.studies.runner import RunInfo, evaluate_checkpoint


def decoding_of(sampled: SampledEvaluation) -> str:
    """How the files of such an evaluation are called: `evaluation/<split>.avg16.parquet`."""
    return f"avg{sampled.k}"


def sampled_evaluations(
    runs: Sequence[RunInfo], sampled: SampledEvaluation | None, *, force: bool = False
) -> list[RunInfo]:
    """`sampled` responses of each of `runs` on its final splits, in their order; made where they are not stored.

    A run of any kind: trained (its weights), or a measured checkpoint (`runner.baselines`). Each comes back under the
    names of the run it belongs to, with key and folder of its own. `cluster.lanes` are worked on side by side; runs
    that share their weights, such as those of a method without a teacher, share the result. The responses of a run are
    drawn with its seed. Raises ConfigError where the tier says nothing of sampling.
    """
    if sampled is None:
        raise ConfigError(
            "avg@k is not defined here: set evaluation.sampled in the tier's file or as an override, for example "
            '--set evaluation.sampled=\'{"k": 16, "temperature": 1.2, "top_p": 0.95}\''
        )
    distinct = list({info.key: info for info in runs}.values())
    if not distinct:
        return []
    first = _config_of(distinct[0])
    if first.cluster.lanes > 1:  # once, before several threads ask for it
        connect(first.cluster)
        build_inputs(first)

    def work(info: RunInfo, lane: int) -> RunInfo:
        trained = info.manifest["kind"] == "runs"
        model = str(info.folder / "weights") if trained else str(info.manifest["model"])
        # A checkpoint may be of another architecture, whose engines serve all lanes at once (`open_actors`).
        on = lane if trained else 0
        return evaluate_checkpoint(_config_of(info), model, info.label, info.cell, force, sampled, on)

    measured = side_by_side(distinct, first.cluster.lanes, work)
    of = {info.key: found for info, found in zip(distinct, measured, strict=True)}
    return [_of_run(info, of[info.key]) for info in runs]


def _of_run(info: RunInfo, found: RunInfo) -> RunInfo:
    """The result `found` under the names of the run whose weights were measured, and with what its training read."""
    read = {"needs": info.manifest["needs"]} if "needs" in info.manifest else {}
    return replace(info, key=found.key, folder=found.folder, manifest=found.manifest | read)


def _config_of(info: RunInfo) -> Config:
    return Config.model_validate(info.manifest["config"])
