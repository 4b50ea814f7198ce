"""A run of a real language model in numbers and words: distance to the teacher, seconds, tokens and memory by phase.

Frames, manifests and rollouts come in, tables go out (`format_*` as a reader sees them); nothing is run here. Left out:
figures (`figures_language_model.py`) and accuracy (`tables.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from artifact.escape import markdown_block, markdown_code, visible
from artifact.records import Problem, Rollout, Status
from artifact.report.text import DASH, SAME, count, intervals, markdown_table, number, percent, say, with_ends
from artifact.report.times import phase_seconds

COUNTS = {"rollout": "response_tokens", "teacher": "teacher_tokens", "student": "teacher_tokens"}
"""The metric that counts the tokens of a phase."""

SETS = {"base": "the base student's rollouts", "own": "its own rollouts"}
"""The sets of sequences a distance is measured on, in words."""

ACTORS = {"rollout": "engine-0", "teacher": "teacher", "student": "student-0", "sync": "engine-0"}
"""Which actor's memory a phase of the loop stands for."""


def format_distances(summary: pd.DataFrame) -> pd.DataFrame:
    """`held_out.distance_summary` as text: mean KL in nats per token with its interval over problems."""
    return pd.DataFrame(
        {
            "teacher": summary["teacher"],
            "method": summary["label"],
            "sequences": summary["sequences"].map(SETS),
            "problems": summary["problems"].astype(str),
            "tokens": summary["tokens"].map(count),
            "KL teacher ‖ student": intervals(summary, "forward", "forward_low", "forward_high"),
            "KL student ‖ teacher": intervals(summary, "reverse", "reverse_low", "reverse_high"),
            "of the former, tail": (summary["forward"] - summary["binned"]).map(partial(number, digits=4)),
            "teacher mass on top-k": [f"{percent(mass, 2)} %" for mass in summary["teacher_mass"]],
            "same top token": [f"{percent(share)} %" for share in summary["agreement"]],
        }
    )


def distance_sentences(changes: pd.DataFrame, measure: str = "forward") -> list[str]:
    """One sentence per method and set of a `held_out.distance_changes` table; of several teachers, which one."""
    name = {"forward": "KL(teacher ‖ student)", "reverse": "KL(student ‖ teacher)"}[measure]
    template = (
        "{who}: held-out {name} on {on} {verb} from {before:3} to {after:3} nats per token (change {change:+}, 95 % "
        "interval {change:to+}, {p_value:p}, n = {problems})."
    )
    rows = with_ends(changes[changes["measure"] == measure], "change", "low", "high")
    many = changes["teacher"].nunique() > 1
    return [
        say(
            template,
            r,
            name=name,
            who=say("{label}, teacher {teacher}" if many else "{label}", r),
            on=SETS[r["sequences"]],
            verb=r["verdict"] if r["verdict"] in ("falls", "rises") else f"shows {SAME} from before:",
        )
        for r in rows.to_dict("records")
    ]


def promise_sentence(changes: pd.DataFrame, cells: Sequence[str]) -> str:
    """Of the methods `cells`, how many moved towards their teacher on the base student's rollouts, and which did not.

    A method counts once per teacher, and as fallen only where its interval lies below 0.
    """
    fixed = changes[(changes["sequences"] == "base") & (changes["measure"] == "forward")]
    fixed = fixed[fixed["cell"].isin(cells)]
    others = "; ".join(f"{r.label}: {r.verdict}" for r in fixed.itertuples() if r.verdict != "falls")
    fallen = int((fixed["verdict"] == "falls").sum())
    return (
        f"KL(teacher ‖ student) on {SETS['base']} falls in {fallen} of {len(fixed)} runs that distil from this teacher"
        f"{f' ({others})' if others else ''}."
    )


def phase_tokens(metrics: pd.DataFrame) -> pd.DataFrame:
    """What each phase of the training loop works on, over all runs of `metrics`.

    Columns: phase, tokens (response tokens per step, mean over steps and runs: sampled in `rollout`, distilled in
    `teacher` and `student`, where CORE's pairs come on top).
    """
    return pd.DataFrame(
        {"phase": list(COUNTS), "tokens": [float(metrics[c].sum()) / len(metrics) for c in COUNTS.values()]}
    )


def phase_times(metrics: pd.DataFrame, memory: Mapping[str, float]) -> pd.DataFrame:
    """Where the seconds of the training loop went, over all runs of `metrics`.

    memory  peak resident GiB by actor (`largest_memory` of the runs' manifests). Columns: phase, seconds (per step,
    mean over steps and runs), share, tokens_per_second (of the tokens of `phase_tokens`; missing elsewhere), memory_gib
    (of the actor that does it; missing where the loop itself does).
    """
    seconds = phase_seconds(metrics).sum()
    return pd.DataFrame(
        [
            {
                "phase": name,
                "seconds": seconds[name] / len(metrics),
                "share": seconds[name] / seconds.sum(),
                "tokens_per_second": _rate(metrics[COUNTS[name]].sum() if name in COUNTS else 0, seconds[name]),
                "memory_gib": memory.get(ACTORS.get(name, "")),
            }
            for name in seconds.index
        ]
    )


def _rate(tokens: float, seconds: float) -> float | None:
    return float(tokens / seconds) if tokens and seconds else None


def stage_tokens(stages: Iterable[tuple[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """Results and response tokens of whole stages, from their manifests: (name, manifest) pairs, same names added up.

    `tokens` are those of an annotation's samples and greedy answers, or of a held-out measurement; missing where a
    stage counts none.
    """
    rows = [(name, 1, _sampled(m) + m.get("greedy", {}).get("tokens", 0)) for name, m in stages]
    table = pd.DataFrame(rows, columns=["stage", "results", "tokens"]).groupby("stage", sort=False).sum().reset_index()
    return table.assign(tokens=[float(t) if t else None for t in table["tokens"]])


def stage_times(stages: Iterable[tuple[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """Minutes and rates of whole stages, as `stage_tokens` adds them up.

    `tokens_per_second` counts only the tokens that `seconds.sampling` timed: the greedy answers are not among them.
    """
    rows = [(n, m["seconds"]["total"] / 60, _sampled(m), m["seconds"].get("sampling", 0.0)) for n, m in stages]
    table = pd.DataFrame(rows, columns=["stage", "minutes", "timed", "sampling"]).groupby("stage", sort=False).sum()
    rates = [_rate(t, s) for t, s in zip(table["timed"], table["sampling"], strict=True)]
    return table[["minutes"]].assign(tokens_per_second=rates).reset_index()


def _sampled(manifest: Mapping[str, Any]) -> int:
    """The response tokens whose sampling a manifest timed."""
    return int(manifest.get("response_tokens", 0) or manifest.get("sampled", {}).get("tokens", 0))


def largest_memory(manifests: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The highest peak of each actor over several runs, GiB; a run of a version that recorded none adds nothing."""
    out: dict[str, float] = {}
    for manifest in manifests:
        for actor, gib in manifest.get("peak_memory_gib", {}).items():
            out[actor] = max(gib, out.get(actor, 0.0))
    return out


def verdict_counts(metrics: pd.DataFrame) -> pd.DataFrame:
    """Training rollouts by verdict: one row per method, one column per status (a status that never occurred is 0)."""
    names = [str(status) for status in Status]
    present = metrics.reindex(columns=[f"verdict/{n}" for n in names]).fillna(0.0)
    table = present.assign(label=metrics["label"]).groupby("label", sort=False).sum().astype(int)
    table.columns = pd.Index(names)
    return table.assign(rollouts=table.sum(axis=1)).reset_index()


def two_rollouts(rollouts: Iterable[Rollout]) -> list[Rollout]:
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
    rows = []
    for t, (i, logprob, own) in enumerate(zip(rollout.response_ids, rollout.logprobs, mask, strict=True)):
        token = visible(json.dumps(tokenizer.decode([i]), ensure_ascii=False))
        rows.append((t, token, "policy", number(logprob, 2)) if own else (t, token, "calculator", DASH))
    table = pd.DataFrame(rows, columns=["t", "token", "written by", "log p"])
    return (
        f"Problem {markdown_code(rollout.problem_id)}, sample {rollout.sample}: {len(mask)} response tokens, "
        f"{tool_tokens(rollout)} of them the calculator's.\n\n{markdown_table(table)}\n"
    )


def rollout_markdown(rollout: Rollout, problem: Problem, tokenizer: Any) -> str:
    """A rollout in full: prompt and response as the model reads and writes them, special tokens too; verdict."""
    v = rollout.verdict
    found = v and (markdown_code(str(v.extracted)), markdown_code(str(v.rule)))
    said = f"**{v.status}**, answer {found[0]} by rule {found[1]}" if v and found else "**unverified**"
    return (
        f"Problem {markdown_code(problem.id)}, gold answer {markdown_code(problem.answer)}, sample {rollout.sample}, "
        f"policy version {rollout.policy_version}: {said}; {len(rollout.prompt_ids)} prompt and "
        f"{len(rollout.response_ids)} response tokens, ended by {rollout.finish_reason}, mean log-probability "
        f"{rollout.mean_logprob:.2f}.\n\n"
        f"{markdown_block(tokenizer.decode(list(rollout.prompt_ids)))}\n\nResponse:\n\n"
        f"{markdown_block(tokenizer.decode(list(rollout.response_ids)))}\n"
    )
