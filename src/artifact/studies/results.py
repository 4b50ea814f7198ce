"""Stored runs, evaluations and annotations as tidy frames: what every figure and table is drawn from.

`transcripts` leads from a number back to the responses behind it, `graded_frame` has them judged by every grader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from artifact.config import Config, TaskSection, load
from artifact.errors import ArtifactError, EmptyDataset
from artifact.evaluate.agreement import graded
from artifact.evaluate.evaluate import to_frame
from artifact.files import read_json_lines
from artifact.phase1.records import Annotation
from artifact.records import Problem, Rollout, index_by_id, read_parquet
from artifact.report import qualitative
from artifact.studies import store
from artifact.studies.annotate import annotate, samples_folder
from artifact.studies.inputs import answer_verifier, problems_of
from artifact.studies.runner import RunInfo, evaluate_checkpoint


def rollout_groups(path: Path) -> dict[str, list[Rollout]]:
    """The rollouts of a Parquet file by problem, in stored order."""
    groups: dict[str, list[Rollout]] = {}
    for r in read_parquet(path, Rollout):
        groups.setdefault(r.problem_id, []).append(r)
    return groups


def stored_problems(folder: Path, task: TaskSection, split: str) -> dict[str, Problem]:
    """The problems of a split by id: those stored with the result where they are, else those of the task."""
    own = store.files(folder, "problems.parquet")
    return index_by_id(read_parquet(own[0], Problem) if own else problems_of(task, split, None))


def _frame(path: Path, task: TaskSection, split: str) -> pd.DataFrame:
    groups = rollout_groups(path)
    by_id = stored_problems(path.parents[1], task, split)
    return to_frame([by_id[i] for i in groups], list(groups.values()), split)


def _task(info: RunInfo) -> TaskSection:
    config = info.manifest.get("config")
    return TaskSection.model_validate(config["task"]) if config else load(info.manifest["tier"]).task


def evaluation_frame(runs: Iterable[RunInfo], decoding: str = "greedy") -> pd.DataFrame:
    """One row per response on the final splits; `reads_gold` says whose training read gold answers or solutions."""
    parts = []
    for info in runs:
        for path in store.files(info.folder, f"evaluation/*.{decoding}.parquet"):
            parts.append(_read_labels(info, info.named(_frame(path, _task(info), split_of(path)))))
    return pd.concat(parts, ignore_index=True)


def _read_labels(info: RunInfo, frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with a column that says whether training read labels; what no run trained read none."""
    return frame.assign(reads_gold=bool(info.manifest.get("needs", {}).get("gold", False)))


def split_of(path: Path) -> str:
    """The split that `evaluation/<split>.<decoding>.parquet` holds."""
    return path.name.removesuffix(".parquet").rpartition(".")[0]


def graded_frame(
    runs: Iterable[RunInfo], decoding: str = "greedy", graders: Sequence[str] | None = None
) -> pd.DataFrame:
    """The stored responses of `evaluation_frame`, judged by every grader (`agreement.graded`); nothing is sampled.

    One row per response: label, cell, teacher, seed, key, reads_gold, split, problem_id, sample, gold, question,
    response, and `<grader>`, `<grader>_answer` for each grader; `math_verify` extracts by the run's own rules.
    """
    parts = []
    for info in runs:
        task = _task(info)
        for path in store.files(info.folder, f"evaluation/*.{decoding}.parquet"):
            groups, by_id = rollout_groups(path), stored_problems(info.folder, task, split_of(path))
            problems = [by_id[i] for i in groups]
            frame = graded(problems, list(groups.values()), graders, answer_verifier(task))
            parts.append(_read_labels(info, info.named(frame.assign(split=split_of(path)))))
    if not parts:
        raise EmptyDataset(f"none of the runs holds an evaluation by {decoding!r}: there are no responses to grade")
    return pd.concat(parts, ignore_index=True)


KINDS = ("evaluations", "checkpoints", "runs", "untrained", "distances", "annotations", "samples")
"""The kinds of stored results that lead to responses; an annotation leads to the samples it was made from."""

WHAT = ("evaluation", "curve", "rollouts", "samples", "greedy")
"""The parts of a stored result that hold responses: final evaluation, learning curve, rollouts (of training, or those
of a distance), and a teacher's samples and greedy answers."""


def stored_folder(name: str | Path) -> Path:
    """The folder of a finished result of `KINDS`, by path or by key. ArtifactError when there is none."""
    given = Path(name).expanduser()
    places = [given, *(store.folder_of(kind, given.name) for kind in KINDS)]
    for folder in places:
        if store.read_manifest(folder) is not None:
            return folder
    raise ArtifactError(
        f"{name} is no finished result: no manifest.json in {', '.join(map(str, dict.fromkeys(places)))}; give the "
        "folder or the key that `artifact evaluate`, `artifact train` or `artifact annotate` printed"
    )


def transcripts(
    folder: str | Path,
    what: str | None = None,
    *,
    problem: str | None = None,
    wrong: bool = False,
    limit: int | None = None,
) -> pd.DataFrame:
    """The stored responses of a result of `KINDS`, as text: one row per response, in stored order.

    `what` is a part of `WHAT`; default: the first of them that the result holds. `problem` keeps one problem, `wrong`
    all responses that were not judged correct. Raises ArtifactError where the folder holds no such responses or the
    problem is not among them.
    """
    if what not in (None, *WHAT):
        raise ArtifactError(f"what = {what!r}; a stored result holds {', '.join(WHAT)}")
    place = stored_folder(folder)
    if store.finished(place).get("kind") == "annotations":
        place = samples_folder(place)
    manifest = store.finished(place)
    held = ((part, found) for part in ([what] if what else WHAT) if (found := _response_files(place, part)))
    what, paths = next(held, (what, []))
    rows: list[dict[str, Any]] = []
    for path in paths:
        task, split = asked_of(manifest, str(what), path)
        by_id = stored_problems(place, task, split)
        for r in read_parquet(path, Rollout):
            p, v = by_id[r.problem_id], r.verdict
            rows.append(
                {
                    "source": path.stem,
                    "problem_id": p.id,
                    "sample": r.sample,
                    "difficulty": p.difficulty,
                    "question": p.question,
                    "gold": p.answer,
                    "response": r.text,
                    "extracted": v.extracted if v else None,
                    "status": str(v.status) if v else "unverified",
                    "rule": v.rule if v else "",
                    "detail": v.detail if v else "",
                    "finish_reason": r.finish_reason,
                    "response_tokens": len(r.response_ids),
                }
            )
    if not rows:
        raise ArtifactError(f"{place} holds no {what or 'responses'}: there is nothing to show")
    frame = pd.DataFrame(rows)
    if problem is not None and not frame["problem_id"].eq(problem).any():
        near = get_close_matches(problem, frame["problem_id"].unique(), n=3, cutoff=0.0)
        raise ArtifactError(f"no problem {problem!r} in the {what} of {place}; the nearest are {', '.join(near)}")
    if problem is not None:
        frame = frame[frame["problem_id"] == problem]
    if wrong:
        frame = frame[frame["status"] != "correct"]
    return frame.head(limit).reset_index(drop=True) if limit is not None else frame.reset_index(drop=True)


def _response_files(place: Path, what: str) -> list[Path]:
    """The Parquet files of a part: one of its name, or those of a folder of its name."""
    return store.files(place, f"{what}.parquet") or store.files(place, f"{what}/*.parquet")


def asked_of(manifest: Mapping[str, Any], what: str, path: Path) -> tuple[TaskSection, str]:
    """The task and the split whose problems the responses in `path` answer."""
    kind = manifest.get("kind")
    if kind == "samples":
        task = TaskSection.model_validate(manifest["settings"]["task"])
        return task, task.train_split
    if kind == "untrained":
        stated = manifest["settings"]
        return TaskSection.model_validate(stated["task"]), stated["evaluation"]["curve"]
    if "config" not in manifest:
        raise ArtifactError(f"{path} is of a {kind!r}; transcripts are those of {', '.join(KINDS)}")
    config = Config.model_validate(manifest["config"])
    if what == "rollouts" and kind == "distances":
        return config.task, config.evaluation.final[0]
    splits = {"evaluation": split_of(path), "curve": config.evaluation.curve}
    return config.task, splits.get(what, config.task.train_split)


def metrics_frame(runs: Iterable[RunInfo]) -> pd.DataFrame:
    """One row per optimiser step: label, cell, teacher, seed, step and everything the loop logged."""
    parts = []
    for info in runs:
        rows = read_json_lines(store.file(info.folder, "metrics.jsonl"), store.remedy(info.folder))
        parts.append(info.named(pd.DataFrame(rows)))
    return pd.concat(parts, ignore_index=True)


def curve_frame(runs: Sequence[RunInfo]) -> pd.DataFrame:
    """One row per problem and evaluation point, with the tokens and seconds that had been spent by then.

    Columns: label, cell, teacher, seed, step, problem_id, difficulty, family, correct, response_tokens_so_far,
    teacher_tokens_so_far, seconds_so_far (phases of the loop, without evaluations). Raises ArtifactError for a run that
    was trained without a curve.
    """
    parts = []
    for info in runs:
        spent = metrics_frame([info]).sort_values("step")
        seconds = spent.filter(like="seconds/").sum(axis=1)
        points = store.files(info.folder, "curve/step-*.parquet")
        if not points:
            raise ArtifactError(
                f"run {info.key} ({info.label}) measured no learning curve: name its cell {info.cell!r} under "
                "`reads: {curve: …}` of the study whose figure reads it (configs/studies), or set train.curve_every"
            )
        for path in points:
            step = int(path.stem.split("-")[1])
            before = spent["step"] < step
            frame = _frame(path, _task(info), info.manifest["config"]["evaluation"]["curve"])[
                ["problem_id", "difficulty", "family", "correct"]
            ]
            totals = {
                "step": step,
                "response_tokens_so_far": spent.loc[before, "response_tokens"].sum(),
                "teacher_tokens_so_far": spent.loc[before, "teacher_tokens"].sum(),
                "seconds_so_far": float(seconds[before].sum()),
            }
            parts.append(info.named(frame.assign(**totals)))
    return pd.concat(parts, ignore_index=True)


def annotation_frame(folder: Path) -> pd.DataFrame:
    """One row per annotated problem, with the problem's text and difficulty and the teacher's greedy verdict."""
    task = TaskSection.model_validate(store.finished(folder)["settings"]["task"])
    by_id = index_by_id(problems_of(task, task.train_split, task.train_limit))
    answered = rollout_groups(store.file(samples_folder(folder), "greedy.parquet"))
    greedy = {i: g[0].correct for i, g in answered.items()}
    rows: list[dict[str, Any]] = []
    for a in read_parquet(store.file(folder, "annotations.parquet"), Annotation):
        p = by_id[a.problem_id]
        rows.append(
            {
                "problem_id": p.id,
                "difficulty": p.difficulty,
                "family": p.meta.get("family", ""),
                "question": p.question,
                "answer": p.answer,
                "normalised": a.normalised,
                "entropy": a.entropy,
                "discrete_entropy": a.discrete_entropy,
                "weight": a.weight,
                "clusters": a.clusters,
                "majority_answer": a.majority_answer,
                "majority_share": a.majority_share,
                "answer_string_entropy": a.answer_string_entropy,
                "mean_logprob": a.mean_logprob,
                "majority_correct": a.majority_correct == 1,
                "greedy_correct": greedy[p.id],
                "n": a.n,
                "n_valid": a.n_valid,
            }
        )
    return pd.DataFrame(rows)


EXAMPLE_POOL = 200
"""Training problems, the first of the split, among which those of U-T3 are drawn; only these are measured."""


def annotated_examples(info: RunInfo, config: Config, per_group: int = 2) -> tuple[pd.DataFrame, list[Annotation]]:
    """U-T3 for one run: chosen training prompts with the teacher's classes and the student before and after training.

    Returns the rows of `qualitative.examples` and the annotations behind them.
    """
    data = config.model_dump(mode="json") | {"teacher": info.teacher}
    data["evaluation"] |= {"final": [config.task.train_split], "limit": EXAMPLE_POOL}
    measured = type(config).model_validate(data)
    folder = annotate(measured)
    answers = []
    for model in (config.models.student, str(info.folder / "weights")):
        stored = evaluate_checkpoint(measured, model, info.label, info.cell)
        groups = rollout_groups(store.file(stored.folder, f"evaluation/{config.task.train_split}.greedy.parquet"))
        answers.append({i: (g[0].text, g[0].correct) for i, g in groups.items()})
    annotations = read_parquet(store.file(folder, "annotations.parquet"), Annotation)
    before, after = answers
    frame = annotation_frame(folder)
    frame = frame[frame["problem_id"].isin(before)]
    rows = qualitative.examples(frame, annotations, per_group=per_group, before=before, after=after)
    return rows, annotations
