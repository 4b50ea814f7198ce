"""Stored runs and annotations as tidy frames: what every figure and table is drawn from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact.config import Config, TaskSection, load
from artifact.evaluate.evaluate import to_frame
from artifact.records import Rollout, index_by_id, read_parquet
from artifact.studies.annotate import samples_folder
from artifact.studies.runner import RunInfo
from artifact.studies.world import problems_of
from artifact.uncertainty.records import Annotation

if TYPE_CHECKING:
    import pandas as pd


def _groups(path: Path) -> dict[str, list[Rollout]]:
    groups: dict[str, list[Rollout]] = {}
    for r in read_parquet(path, Rollout):
        groups.setdefault(r.problem_id, []).append(r)
    return groups


def _frame(path: Path, task: TaskSection, split: str) -> pd.DataFrame:
    groups = _groups(path)
    by_id = index_by_id(problems_of(task, split, None))
    return to_frame([by_id[i] for i in groups], list(groups.values()), split)


def _labelled(frame: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    return frame.assign(label=info.label, teacher=info.teacher, seed=info.seed, key=info.key)


def _task(info: RunInfo) -> TaskSection:
    config = info.manifest.get("config")
    return TaskSection.model_validate(config["task"]) if config else load(info.manifest["tier"]).task


def evaluation_frame(runs: Iterable[RunInfo], decoding: str = "greedy") -> pd.DataFrame:
    """One row a response on the final splits: label, teacher, seed, key, split, problem_id, tier, family, correct, …"""
    import pandas as pd

    parts = []
    for info in runs:
        for path in sorted((info.folder / "evaluation").glob(f"*.{decoding}.parquet")):
            parts.append(_labelled(_frame(path, _task(info), path.name.split(".")[0]), info))
    return pd.concat(parts, ignore_index=True)


def metrics_frame(runs: Iterable[RunInfo]) -> pd.DataFrame:
    """One row an optimiser step: label, teacher, seed, step and everything the loop logged."""
    import pandas as pd

    parts = []
    for info in runs:
        lines = (info.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        parts.append(_labelled(pd.DataFrame([json.loads(line) for line in lines]), info))
    return pd.concat(parts, ignore_index=True)


def curve_frame(runs: Sequence[RunInfo]) -> pd.DataFrame:
    """One row a problem and evaluation point, with the tokens and seconds that had been spent by then.

    Columns: label, teacher, seed, step, problem_id, tier, family, correct, response_tokens_so_far,
    teacher_tokens_so_far, seconds_so_far (phases of the loop, without evaluations).
    """
    import pandas as pd

    parts = []
    for info in runs:
        spent = metrics_frame([info]).sort_values("step")
        seconds = spent.filter(like="seconds/").sum(axis=1)
        for path in sorted((info.folder / "curve").glob("step-*.parquet")):
            step = int(path.stem.split("-")[1])
            before = spent["step"] < step
            frame = _frame(path, _task(info), info.manifest["config"]["evaluation"]["curve"])[
                ["problem_id", "tier", "family", "correct"]
            ]
            totals = {
                "step": step, "response_tokens_so_far": spent.loc[before, "response_tokens"].sum(),
                "teacher_tokens_so_far": spent.loc[before, "teacher_tokens"].sum(),
                "seconds_so_far": float(seconds[before].sum()),
            }  # fmt: skip
            parts.append(_labelled(frame.assign(**totals), info))
    return pd.concat(parts, ignore_index=True)


def annotation_frame(folder: Path) -> pd.DataFrame:
    """One row an annotated problem, joined with the problem's text and tier and with the teacher's greedy verdict."""
    import pandas as pd

    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    task = TaskSection.model_validate(manifest["settings"]["task"])
    by_id = index_by_id(problems_of(task, task.train_split, task.train_limit))
    answered = _groups(samples_folder(folder) / "greedy.parquet")
    greedy = {i: bool(g[0].verdict and g[0].verdict.correct) for i, g in answered.items()}
    rows: list[dict[str, Any]] = []
    for a in read_parquet(folder / "annotations.parquet", Annotation):
        p = by_id[a.problem_id]
        rows.append({
            "problem_id": p.id, "tier": p.tier, "family": p.meta.get("family", ""),
            "question": p.question, "answer": p.answer,
            "normalised": a.normalised, "entropy": a.entropy, "discrete_entropy": a.discrete_entropy,
            "weight": a.weight,
            "clusters": a.clusters, "majority_answer": a.majority_answer, "majority_share": a.majority_share,
            "answer_string_entropy": a.answer_string_entropy, "mean_logprob": a.mean_logprob,
            "majority_correct": a.majority_correct == 1, "greedy_correct": greedy[p.id], "n": a.n, "n_valid": a.n_valid,
        })  # fmt: skip
    return pd.DataFrame(rows)


def annotated_examples(info: RunInfo, config: Config, per_group: int = 2) -> tuple[pd.DataFrame, list[Annotation]]:
    """U-T3 for one run: chosen training prompts with the teacher's classes and the student before and after training.

    Returns the rows of `qualitative.examples` and the annotations behind them. The greedy answers on the training split
    are measured here where they are not stored yet.
    """
    from artifact.report import qualitative
    from artifact.studies.annotate import annotate
    from artifact.studies.runner import evaluate_checkpoint

    data = config.model_dump(mode="json") | {"teacher": info.teacher}
    data["evaluation"] |= {"final": [config.task.train_split], "limit": config.task.train_limit, "sampled": None}
    measured = type(config).model_validate(data)
    folder = annotate(measured)
    answers = []
    for model in (config.models.student, str(info.folder / "weights")):
        stored = evaluate_checkpoint(measured, model, info.label)
        groups = _groups(stored.folder / "evaluation" / f"{config.task.train_split}.greedy.parquet")
        answers.append({i: (g[0].text, bool(g[0].verdict and g[0].verdict.correct)) for i, g in groups.items()})
    annotations = read_parquet(folder / "annotations.parquet", Annotation)
    before, after = answers
    rows = qualitative.examples(annotation_frame(folder), annotations, per_group=per_group, before=before, after=after)
    return rows, annotations
