"""Evaluation tables and grader agreement as a reader sees them, and in sentences.

The numbers come from `studies/benchmark_results.benchmark_table` and from frames of `evaluate/agreement.graded`; here
they only get words, brackets and digits, and the reports of `evaluate/agreement.py` are put side by side.
Percentages, with intervals over problems. Left out: sampling and grading.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table

from artifact.escape import markdown_text
from artifact.evaluate.agreement import HEADLINE, graders_in, report_of
from artifact.evaluate.agreement import disagreements as disagreements  # read beside the tables of this file
from artifact.report.text import DASH, bullets, count, interval, markdown_table, per_teacher, percent, say

JUDGED = {
    "description": "answers are descriptions, which the benchmark's authors have a language model judge",
    "no final answer": "rows state no final answer (proofs)",
    "malformed gold answer": "gold answers are malformed in the source, so that no response could be right",
}
"""Why rows of a benchmark are left out, in words; the keys are those of `Split.excluded`."""


def _interval(row: pd.Series, value: str) -> str:
    """`41.2 (38.9 to 43.6)` in percent, from a row with `value`, low and high."""
    return interval(row[value], row["low"], row["high"], percent)


def format_benchmarks(table: pd.DataFrame, ks: Sequence[int] | None = None) -> pd.DataFrame:
    """`benchmark_table` with one row per evaluation: its metrics side by side, then what lies behind them.

    Of pass@k and maj@k those for `ks`; default: the number of samples only.
    """
    wanted = table["k"].eq(table["samples"]) if ks is None else table["k"].isin(ks)
    table = table[wanted | table["metric"].str.fullmatch(r"avg@\d+|pass@1")]
    metrics = list(dict.fromkeys(table["metric"]))
    order = {"pass@1": 0, "avg": 1, "pass": 2, "maj": 3}
    metrics.sort(key=lambda m: (order.get(m, order[m.partition("@")[0]]), int(m.partition("@")[2])))
    told = [c for c in ("teacher", "seed") if table[c].nunique() > 1]  # several training runs
    rows = []
    for _, part in table.groupby(["label", "teacher", "seed", "benchmark", "split", "protocol", "key"], sort=False):
        first, by_metric = part.iloc[0], part.set_index("metric")
        rows.append(
            {
                "model": first["label"],
                **{c: str(first[c]) for c in told},
                "benchmark": first["benchmark"],
                "split": first["split"],
                "protocol": _protocol(first),
                "problems": _problems(first),
                "responses": count(first["responses"]),
                **{
                    f"{m} %": _interval(by_metric.loc[m], "estimate") if m in by_metric.index else DASH for m in metrics
                },
                "truncated %": percent(first["truncated"]),
                "unparsed %": percent(first["unparsed"]),
                "verifier failed %": percent(first["timeout"] + first["error"]),
                "tokens": count(first["response_tokens"]),
                "left out": first["left_out"] or DASH,
            }
        )
    return pd.DataFrame(rows)


def _protocol(row: pd.Series) -> str:
    return (
        "greedy" if row["temperature"] == 0 else f"{row['protocol']}, T = {row['temperature']:g}, p = {row['top_p']:g}"
    )


def _problems(row: pd.Series) -> str:
    return " of ".join(map(count, dict.fromkeys((row["problems"], row["of"]))))


def benchmark_notes(table: pd.DataFrame) -> list[str]:
    """What a reader must know beside the numbers: how intervals are made, what is left out and how that is judged."""
    levels = " and ".join(f"{100 * level:g} %" for level in sorted(set(table["level"])))
    notes = [
        f"Intervals: {levels}, over problems; all samples of a problem are one cluster ("
        + "; ".join(sorted(set(table["method"])))
        + ")."
    ]
    if table["metric"].str.startswith("maj@").any():
        notes.append(
            "maj@k: expected accuracy of a majority vote over k of the samples, over all subsets; a tie of t answers "
            "counts 1/t, responses without an answer do not vote."
        )
    if table["prompt"].eq("plain").any():
        notes.append(
            "Prompts are plain text (Question: … Answer: …) without the model's chat template; a response ends where "
            "the model asks the next question itself."
        )
    several = table.groupby("benchmark")["split"].nunique().gt(1)
    evaluations = {
        f"{benchmark}, {split}" if several[benchmark] else benchmark: part
        for (benchmark, split), part in table.groupby(["benchmark", "split"], sort=False)
    }
    for name, part in evaluations.items():
        first = part.iloc[0]
        for item in filter(None, str(first["left_out"]).split("; ")):
            count, _, reason = item.partition(" ")
            notes.append(
                f"{name}: {count} {JUDGED.get(reason, f'rows are left out ({reason})')}; they are not asked and not "
                f"counted here, every number is over the other {first['of']:,} problems of the split"
                + ("." if first["problems"] == first["of"] else f" (of which the first {first['problems']:,}).")
            )
    for name, part in evaluations.items():
        cut = part[part["truncated"] >= 0.1].drop_duplicates(["label", "protocol"])
        notes += [
            f"{name}, {r.protocol}: {percent(r.truncated)} % of the responses were cut off at {r.max_new_tokens:,} "
            "tokens; a larger budget (--max-new-tokens) could change the accuracy."
            for r in cut.itertuples()
        ]
    return notes


def markdown(shown: pd.DataFrame, notes: Sequence[str] = (), line: str = "") -> str:
    """A table of text as Markdown, its notes as a list, and the stamp line."""
    parts = [markdown_table(shown), bullets(notes), f"<sub>{markdown_text(line)}</sub>" if line else ""]
    return "\n\n".join(p for p in parts if p) + "\n"


def grader_table(graded: pd.DataFrame, by: Sequence[str] = ("teacher", "label")) -> pd.DataFrame:
    """The headline under every grader: one row for each group of `by` and grader, seeds of a group pooled by problem.

    Raises ValueError without verdicts of the headline grader.
    """
    keys = list(by)
    if HEADLINE not in graders_in(graded):
        raise ValueError(f"the frame lacks verdicts of {HEADLINE!r}, with which the others are compared")
    parts = []
    for values, group in graded.groupby(keys, sort=False):
        accuracy, headline = report_of(group).accuracy, group[HEADLINE].eq("correct")
        beside = []
        for grader in accuracy["grader"]:
            this = group[grader].eq("correct")
            beside.append(
                {
                    "agreement": float((this == headline).mean()),
                    "only_headline": int((headline & ~this).sum()),
                    "only_this": int((this & ~headline).sum()),
                }
            )
        parts.append(_named(keys, values, pd.concat([accuracy, pd.DataFrame(beside)], axis=1)))
    return pd.concat(parts, ignore_index=True)


def agreement_table(graded: pd.DataFrame, by: Sequence[str] = ("teacher", "label")) -> pd.DataFrame:
    """Agreement and Cohen's kappa of every pair of graders, for each group of `by` (`agreement.pairwise_agreement`)."""
    groups = graded.groupby(list(by), sort=False)
    return pd.concat([_named(by, values, report_of(g).agreement) for values, g in groups], ignore_index=True)


def _named(by: Sequence[str], values: Sequence[object], table: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns `by`, constant at `values`, before its own."""
    named = pd.DataFrame([dict(zip(by, values, strict=True))] * len(table))
    return pd.concat([named, table], axis=1)


def format_graders(table: pd.DataFrame) -> pd.DataFrame:
    """`grader_table` with one row per group: accuracy under each grader, and its agreement with the headline."""
    keys = list(table.columns[: list(table.columns).index("grader")])
    graders = list(dict.fromkeys(table["grader"]))
    rows = []
    for values, part in table.groupby(keys, sort=False):
        by_grader = part.set_index("grader")
        row = dict(zip(keys, map(str, values), strict=True))
        row |= {name: count(part[name].iloc[0]) for name in ("problems", "responses")}
        row |= {f"{g} %": _interval(by_grader.loc[g], "accuracy") for g in graders}
        row |= {f"{g} agrees %": percent(by_grader.loc[g, "agreement"]) for g in graders if g != HEADLINE}
        rows.append(row)
    return pd.DataFrame(rows)


def grader_sentences(table: pd.DataFrame) -> list[str]:
    """How far the headline depends on the grader: one sentence per other grader of `grader_table`."""
    keys = list(table.columns[: list(table.columns).index("grader")])
    ours = table[table["grader"] == HEADLINE].set_index(keys)["accuracy"]

    def words(rows: pd.DataFrame) -> str:
        own = rows.set_index(keys)
        sums, (swaps, pairs) = own[["responses", "only_this", "only_headline"]].sum(), _swaps(ours, own["accuracy"])
        worst = own["difference"].abs().idxmax()
        return say(
            f"agrees with {HEADLINE} on {{agree:%}} % of {{responses:,}} responses ({{only_this:,}} accepted by "
            f"{{grader}} alone, {{only_headline:,}} by {HEADLINE} alone); the largest difference of accuracy is "
            "{most:+%} points ({where}){swapped}",
            sums,
            agree=float((own["agreement"] * own["responses"]).sum() / sums["responses"]),
            grader=own["grader"].iloc[0],
            most=own.loc[worst, "difference"],
            where=", ".join(map(str, worst if isinstance(worst, tuple) else (worst,))),
            swapped=f"; {swaps} of {pairs} pairs of rows change their order" if pairs else "",
        )

    return per_teacher(table[table["grader"] != HEADLINE], words, by="grader")


def _swaps(a: pd.Series, b: pd.Series) -> tuple[int, int]:
    """(pairs that a orders one way and b the other, all pairs) of labels that are compared; ties are in no order."""
    both = pd.DataFrame({"a": a, "b": b.reindex(a.index)}).reset_index()
    if "label" not in both:
        return 0, 0
    others = [c for c in both.columns if c not in ("a", "b", "label")]
    blocks = [part for _, part in both.groupby(others, sort=False)] if others else [both]
    moves = [
        (part["a"].iloc[i] - part["a"].iloc[j]) * (part["b"].iloc[i] - part["b"].iloc[j]) < 0
        for part in blocks
        for i in range(len(part))
        for j in range(i)
    ]
    return sum(moves), len(moves)


def print_benchmarks(frame: pd.DataFrame, console: Console) -> None:
    """`studies/benchmark_jobs.benchmark_list` on a terminal."""
    table = Table(*frame.columns, title="Benchmarks for --benchmark", title_justify="left")
    for row in frame.itertuples(index=False):
        table.add_row(*map(str, row))
    console.print(table)
    console.print("NAME@FOLDER: a file FOLDER/<split>.jsonl of your own below --data-dir, in the format of NAME")
