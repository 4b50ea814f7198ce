"""The dataset card: what the folder holds, in numbers, how it was made, and what it must not be used for.

Markdown with the YAML front matter that hubs and `datasets.load_dataset` read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from artifact.suremath.accounting import PROPOSAL_STAGES, BuildReport
from artifact.suremath.lineage import CURATED, MODEL
from artifact.suremath.load import Published
from artifact.suremath.settings import SureMathSettings
from artifact.suremath.strategies import STRATEGIES
from artifact.worlds.tiny.problems import DIFFICULTIES

STAGE_WORDS = {
    "evolve": "the generator gave no problem",
    "well_formed": "not well-formed",
    "decontaminate": "overlaps a benchmark",
    "duplicates": "repeats another problem",
    "solvable": "the labeller's samples do not agree",
    "size": "not drawn",
}


def statistics(rows: Mapping[str, Sequence[Published]]) -> dict[str, Any]:
    """Counts by split, difficulty, strategy and answer source, and the entropy by difficulty (annotated rows only)."""
    train = rows["train"]
    entropy = {}
    for difficulty in DIFFICULTIES:
        values = [r.normalised for r in train if r.difficulty == difficulty and r.normalised is not None]
        if values:
            entropy[difficulty] = {
                "n": len(values),
                "mean_normalised": sum(values) / len(values),
                "share_zero": sum(v == 0 for v in values) / len(values),
                "mean_weight": sum(1 - v for v in values) / len(values),
            }
    return {
        "rows": {split: len(of_split) for split, of_split in rows.items()},
        "difficulty_by_strategy": {
            d: {s: sum(r.difficulty == d and r.strategy == s for r in train) for s in (CURATED, *STRATEGIES)}
            for d in DIFFICULTIES
        },
        "test_difficulties": {d: sum(r.difficulty == d for r in rows["test"]) for d in DIFFICULTIES},
        "answer_source": dict(sorted(Counter(r.answer_source for r in train).items())),
        "rounds": {str(k): n for k, n in sorted(Counter(r.round for r in train).items())},
        "characters": {
            "mean": sum(len(r.question) for r in train) / max(1, len(train)),
            "max": max((len(r.question) for r in train), default=0),
        },
        "entropy": entropy,
    }


def card(settings: SureMathSettings, report: BuildReport, facts: Mapping[str, Any], teacher: str) -> str:
    """The README.md of the folder."""
    n = sum(facts["rows"].values())
    size = next(label for limit, label in _SIZES if n < limit)
    header = {
        "pretty_name": settings.name,
        "license": settings.license,
        "language": ["en"],
        "task_categories": ["text-generation", "question-answering"],
        "size_categories": [size],
        "tags": ["mathematics", "semantic-entropy", "on-policy-distillation", f"tier-{settings.tier}"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": s, "path": f"data/{s}-*.parquet"} for s in facts["rows"]],
            }
        ],
    }
    front = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    note = "" if settings.tier == "paper" else ", not a paper number"
    made = f"Tier: **{settings.tier}**{note}. Version {settings.version}."
    parts = [
        f"---\n{front}---\n\n# {settings.name}\n\n{settings.description}\n\n{made}",
        _contents(report, facts),
        _annotation(facts, teacher),
        _making(settings, report),
        _overlaps(report),
        _limits(settings, report, facts),
        _use(),
    ]
    return "\n\n".join(parts) + "\n"


_SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**18, "n>100K"))


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines)


def _contents(report: BuildReport, facts: Mapping[str, Any]) -> str:
    names = (CURATED, *STRATEGIES)
    table = facts["difficulty_by_strategy"]
    rows = [[d, *(table[d][s] for s in names), sum(table[d].values())] for d in DIFFICULTIES]
    rows.append(["all", *(sum(table[d][s] for d in DIFFICULTIES) for s in names), facts["rows"]["train"]])
    held_out = " and ".join(f"{n} {split}" for split, n in facts["rows"].items() if split != "train")
    sources = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in facts["answer_source"].items())
    return (
        f"## Contents\n\n{facts['rows']['train']} training problems ({report.train - report.evolved} curated and "
        f"{report.evolved} evolved) and {held_out} held-out curated problems with ground truth.\n\n"
        f"Training problems by difficulty and strategy:\n\n{_table(['difficulty', *names, 'all'], rows)}\n\n"
        f"Answers of the training problems: {sources}. Every row carries its lineage: `strategy`, `round`, "
        "`parent_ids`, `root_id`, `source`. `lineage.parquet` has the ancestry and the fate of every proposal, kept or "
        "not."
    )


def _annotation(facts: Mapping[str, Any], teacher: str) -> str:
    if not facts["entropy"]:
        return "## Semantic entropy\n\nThis release is not annotated: the entropy columns are empty."
    rows = [
        [t, e["n"], f"{e['mean_normalised']:.3f}", f"{e['share_zero']:.3f}", f"{e['mean_weight']:.3f}"]
        for t, e in facts["entropy"].items()
    ]
    head = ["difficulty", "problems", "mean H / log N", "share with H = 0", "mean w = 1 − H / log N"]
    return (
        f"## Semantic entropy\n\nTeacher: {teacher}. H is over classes of equivalent answers among N samples; it is "
        f"a property of that teacher, not of the problem.\n\n{_table(head, rows)}"
    )


def _making(settings: SureMathSettings, report: BuildReport) -> str:
    licenses = {
        s.name: (s.license, s.hub or s.path or f"{s.task}/{s.split}" if s.kind != "tinyworld" else "procedural")
        for s in (*settings.curated.sources, *settings.seeds)
    }
    rows = [[r["role"], r["source"], *licenses[r["source"]][::-1], r["usable"], r["dropped"]] for r in report.sources]
    left, funnel = report.proposed, []
    for stage in PROPOSAL_STAGES:
        lost = sum(r["n"] for r in report.funnel if r["stage"] == stage)
        left -= lost
        funnel.append([STAGE_WORDS[stage], lost, left])
    rounds = ", ".join(f"{d} {settings.evolution.rounds[d]}" for d in DIFFICULTIES)  # type: ignore[index]
    sources_head = ["role", "source", "from", "licence", "usable rows", "unusable rows"]
    return (
        f"## How it was made\n\nGenerator: {report.generator}. Labeller: {report.labeller}. Rounds of evolution by "
        f"difficulty of the seed: {rounds}.\n\n{_table(sources_head, rows)}\n\n"
        f"{report.proposed} proposals were made from {report.seeds} seeds:\n\n"
        f"{_table(['dropped because', 'dropped', 'left'], funnel)}"
    )


def _overlaps(report: BuildReport) -> str:
    sizes = ", ".join(f"{name} ({n})" for name, n in sorted(report.benchmarks.items()))
    text = (
        f"## Overlap with benchmarks\n\nCompared with: {sizes}. An overlapping seed is never evolved, an overlapping "
        "problem is dropped. `dropped.parquet` names each item, the benchmark item and the rule, without the text."
    )
    if not report.overlaps:
        return f"{text}\n\nNothing overlapped."
    rows = [[r["stage"], r["source"], r["benchmark"], r["reason"], r["n"]] for r in report.overlaps]
    return f"{text}\n\n{_table(['stage', 'source', 'benchmark', 'rule', 'dropped'], rows)}"


def _limits(settings: SureMathSettings, report: BuildReport, facts: Mapping[str, Any]) -> str:
    subject = {
        "all": "Every evolved problem had to pass the labeller's agreement",
        "model": "Evolved problems without ground truth had to pass the labeller's agreement",
        "none": "Agreement of the labeller was not required",
    }[settings.labels.subject]
    lines = [
        f"{facts['answer_source'].get(MODEL, 0)} training answers are a model's majority, not verified truth.",
        f"{subject} (share of the largest answer class at least {settings.labels.min_share:g}). Problems on which the "
        "labeller is most unsure are therefore under-represented: the entropy distribution is that of what is left.",
        f"Overlap is measured by normalised text and by runs of {settings.filters.ngram} words "
        f"({settings.filters.long_ngram} against long items); a paraphrase or a translation of a benchmark item "
        "is not found.",
        f"An n-gram in more than {settings.filters.boilerplate_items} benchmark items counts as a stock phrase.",
        "`difficulty` of a problem evolved by a language model is its parent's; nobody has graded the problem itself.",
        "Not for measuring models by the training split; not for any decision about people.",
    ]
    if settings.tier == "tiny":
        lines.append(
            "This release is procedural: it shows the pipeline and says nothing about natural mathematics texts."
        )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _use() -> str:
    return (
        "## Use\n\n```python\nfrom datasets import load_dataset\n"
        'rows = load_dataset("path/to/this/folder", split="train")\n```\n\n'
        "`weights.parquet` is the file that weighted training reads (`artifact.suremath.weights.import_weights`). "
        "`sha256sum -c SHA256SUMS` checks all files; `croissant.json` describes them."
    )
