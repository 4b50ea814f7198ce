"""A run of a real language model in numbers and words: distance to the teacher, seconds, tokens and memory by phase.

Frames, manifests and rollouts come in, tables go out (`show_*` as a reader sees them); nothing is run here. Left out:
figures (`figures_language_model.py`) and accuracy (`tables.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from artifact.records import Status
from artifact.report.styles import PHASES

if TYPE_CHECKING:
    from artifact.records import Problem, Rollout

SETS = {"base": "the base student's rollouts", "own": "its own rollouts"}
"""The sets of sequences a distance is measured on, in words."""

ACTORS = {"rollout": "engine-0", "teacher": "teacher", "student": "student-0", "sync": "engine-0"}
"""Which actor's memory a phase of the loop stands for."""


def show_distances(summary: pd.DataFrame) -> pd.DataFrame:
    """`held_out.distance_summary` as text: mean KL in nats a token with its interval over problems."""

    def bar(name: str) -> list[str]:
        columns = (summary[name], summary[f"{name}_low"], summary[f"{name}_high"])
        return [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in zip(*columns, strict=True)]

    return pd.DataFrame(
        {
            "teacher": summary["teacher"],
            "method": summary["label"],
            "sequences": summary["sequences"].map(SETS),
            "problems": summary["problems"].astype(str),
            "tokens": [f"{n:,}" for n in summary["tokens"]],
            "KL teacher ‖ student": bar("forward"),
            "KL student ‖ teacher": bar("reverse"),
            "of the former, tail": [f"{f - b:.4f}" for f, b in zip(summary["forward"], summary["binned"], strict=True)],
            "teacher mass on top-k": [f"{100 * m:.2f} %" for m in summary["teacher_mass"]],
            "same top token": [f"{100 * a:.1f} %" for a in summary["agreement"]],
        }
    )


def distance_sentences(changes: pd.DataFrame, measure: str = "forward") -> list[str]:
    """One sentence for each method and set of a `held_out.distance_changes` table; of several teachers, which one."""
    names = {"forward": "KL(teacher ‖ student)", "reverse": "KL(student ‖ teacher)"}
    out = []
    several = changes["teacher"].nunique() > 1
    for r in changes[changes["measure"] == measure].itertuples():
        numbers = (
            f"from {r.before:.3f} to {r.after:.3f} nats a token (change {r.change:+.3f}, 95 % interval {r.low:+.3f} to "
            f"{r.high:+.3f}, p = {r.p_value:.2g}, n = {r.problems})"
        )
        verb = {"falls": "falls", "rises": "rises"}.get(r.verdict, "cannot be told apart from before:")
        who = f"{r.label}, teacher {r.teacher}" if several else r.label
        out.append(f"{who}: held-out {names[measure]} on {SETS[r.sequences]} {verb} {numbers}.")
    return out


def promise_sentence(changes: pd.DataFrame, cells: Sequence[str]) -> str:
    """Of the methods `cells`, how many moved towards their teacher on the base student's rollouts, and which did not.

    A method counts once a teacher, and as fallen only where its interval lies below 0. A finding, not a check.
    """
    fixed = changes[(changes["sequences"] == "base") & (changes["measure"] == "forward")]
    fixed = fixed[fixed["cell"].isin(cells)]
    others = "; ".join(f"{r.label}: {r.verdict}" for r in fixed.itertuples() if r.verdict != "falls")
    fallen = int((fixed["verdict"] == "falls").sum())
    return (
        f"KL(teacher ‖ student) on {SETS['base']} falls in {fallen} of {len(fixed)} runs that distil from this teacher"
        f"{f' ({others})' if others else ''}."
    )


def phase_table(metrics: pd.DataFrame, memory: Mapping[str, float]) -> pd.DataFrame:
    """Where the seconds of the training loop went, over all runs of `metrics`.

    memory  peak resident GiB by actor (`largest_memory` of the runs' manifests). Columns: phase, seconds (a step, mean
    over steps and runs), share, tokens (response tokens a step: sampled in `rollout`, distilled in `teacher` and
    `student`, where CORE's pairs come on top; missing elsewhere), tokens_per_second, memory_gib (of the actor that does
    it; missing where the loop itself does).
    """
    columns = [c for c in metrics.columns if c.startswith("seconds/")]
    names = [p for p in PHASES if f"seconds/{p}" in columns]
    names += [n for n in (c.removeprefix("seconds/") for c in columns) if n not in PHASES]
    counts = {"rollout": "response_tokens", "teacher": "teacher_tokens", "student": "teacher_tokens"}
    total = float(metrics[columns].sum().sum())
    rows = []
    for name in names:
        seconds = float(metrics[f"seconds/{name}"].fillna(0.0).sum())
        tokens = float(metrics[counts[name]].sum()) if name in counts else None
        rows.append(
            {
                "phase": name,
                "seconds": seconds / len(metrics),
                "share": seconds / total,
                "tokens": None if tokens is None else tokens / len(metrics),
                "tokens_per_second": tokens / seconds if tokens and seconds else None,
                "memory_gib": memory.get(ACTORS.get(name, "")),
            }
        )
    return pd.DataFrame(rows)


def stage_table(stages: Iterable[tuple[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """Minutes, tokens and rate of whole stages, from their manifests: (name, manifest) pairs, same names added up.

    `tokens` are response tokens: of an annotation's samples and greedy answers, or of a held-out measurement.
    `tokens_per_second` counts only those that `seconds.sampling` timed: the greedy answers are not among them.
    Columns: stage, results, minutes, tokens, tokens_per_second.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, manifest in stages:
        row = rows.setdefault(
            name, {"stage": name, "results": 0, "minutes": 0.0, "tokens": 0.0, "timed": 0.0, "sampling": 0.0}
        )
        seconds, greedy = manifest["seconds"], manifest.get("greedy", {}).get("tokens", 0)
        timed = manifest.get("response_tokens", 0) or manifest.get("sampled", {}).get("tokens", 0)
        row["results"] += 1
        row["minutes"] += seconds["total"] / 60
        row["tokens"] += float(timed + greedy)
        row["timed"] += float(timed)
        row["sampling"] += float(seconds.get("sampling", 0.0))
    table = pd.DataFrame(rows.values())
    rate = [t / s if t and s else None for t, s in zip(table["timed"], table["sampling"], strict=True)]
    tokens = [t or None for t in table["tokens"]]
    return table.drop(columns=["timed", "sampling"]).assign(tokens=tokens, tokens_per_second=rate)


def largest_memory(manifests: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The highest peak of each actor over several runs, GiB; a run of a version that recorded none adds nothing."""
    out: dict[str, float] = {}
    for manifest in manifests:
        for actor, gib in manifest.get("peak_memory_gib", {}).items():
            out[actor] = max(gib, out.get(actor, 0.0))
    return out


def verdict_counts(metrics: pd.DataFrame) -> pd.DataFrame:
    """Training rollouts by verdict: one row a method, one column a status (a status that never occurred is 0)."""
    names = [str(status) for status in Status]
    present = metrics.reindex(columns=[f"verdict/{n}" for n in names]).fillna(0.0)
    table = present.assign(label=metrics["label"]).groupby("label", sort=False).sum().astype(int)
    table.columns = pd.Index(names)
    return table.assign(rollouts=table.sum(axis=1)).reset_index()


def two_rollouts(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """The last correct rollout and the last that is not, in the order of training; one where all verdicts agree."""
    by_verdict = {r.correct: r for r in rollouts}
    return [by_verdict[flag] for flag in (True, False) if flag in by_verdict]


def tool_tokens(rollout: Rollout) -> int:
    """How many tokens of a response a tool wrote."""
    return (rollout.response_mask or ()).count(False)


def calculator_rollout(rollouts: Iterable[Rollout]) -> Rollout | None:
    """The first rollout among those with the most tool tokens; None where the policy never called the calculator."""
    return max((r for r in rollouts if tool_tokens(r)), key=tool_tokens, default=None)


def mask_markdown(rollout: Rollout, tokenizer: Any) -> str:
    """The response token by token: a table of index, token, log-probability and who wrote it (the policy or the tool).

    A tool's tokens are no action of the policy: masked out of every loss, their log-probability stands as 0.
    """
    mask = rollout.response_mask or (True,) * len(rollout.response_ids)
    rows = ["| t | token | written by | log p |", "|---:|---|---|---:|"]
    for t, (i, logprob, own) in enumerate(zip(rollout.response_ids, rollout.logprobs, mask, strict=True)):
        token = json.dumps(tokenizer.decode([i]), ensure_ascii=False)[1:-1].replace("|", "\\|")
        who, said = ("policy", f"{logprob:.2f}") if own else ("**calculator**", "–")
        rows.append(f"| {t} | `{token}` | {who} | {said} |")
    return (
        f"Problem `{rollout.problem_id}`, sample {rollout.sample}: {len(mask)} response tokens, "
        f"{tool_tokens(rollout)} of them the calculator's.\n\n" + "\n".join(rows) + "\n"
    )


def rollout_markdown(rollout: Rollout, problem: Problem, tokenizer: Any) -> str:
    """A rollout in full: prompt and response as the model reads and writes them, special tokens too; verdict."""
    v = rollout.verdict
    said = f"**{v.status}**, answer `{v.extracted}` by rule `{v.rule}`" if v else "**unverified**"
    return (
        f"Problem `{problem.id}`, gold answer `{problem.answer}`, sample {rollout.sample}, policy version "
        f"{rollout.policy_version}: {said}; {len(rollout.prompt_ids)} prompt and {len(rollout.response_ids)} response "
        f"tokens, ended by {rollout.finish_reason}, mean log-probability "
        f"{rollout.mean_logprob:.2f}.\n\n"
        f"```text\n{tokenizer.decode(list(rollout.prompt_ids))}\n```\n\nResponse:\n\n"
        f"```text\n{tokenizer.decode(list(rollout.response_ids))}\n```\n"
    )
