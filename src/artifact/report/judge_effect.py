"""What another judge changes, as tables and sentences: classes, entropy, AUROC; and its errors where truth is known.

Takes the frames of `phase1/judge_effect.py`, with a `teacher` column where there are several. "No significant
difference" where the interval of a difference holds 0. Left out: computing anything.
"""

from __future__ import annotations

import pandas as pd

from artifact.report.text import (
    SAME,
    comparison,
    count,
    direction,
    interval,
    intervals,
    number,
    per_teacher,
    percent,
    say,
)

BY_GOLD = {
    "consistent": "of right answers with each other",
    "wrong": "of a right with a wrong answer",
    "unknown": "of wrong answers with each other, which gold cannot check",
}
"""What a reader sees instead of the values of `by_gold`."""


def format_effect(table: pd.DataFrame) -> pd.DataFrame:
    """`judge_effect.effect_table`, before = first judge, after = second."""
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "problems": table["group"],
            "n": table["n"].map(count),
            "wrong": table["n_wrong"].map(count),
            "classes changed, % of problems": intervals(table, "changed", "changed_lower", "changed_upper", percent),
            "pairs of samples merged / split": [f"{count(r.merged)} / {count(r.split)}" for r in table.itertuples()],
            "judgements undecided / failed / overruled": [
                f"{count(r.undecided)} / {count(r.accidents)} / {count(r.contradicted)}" for r in table.itertuples()
            ],
            "H / log N before": table["entropy_before"].map(number),
            "after": table["entropy_after"].map(number),
            "change": [
                interval(r.entropy_change, r.entropy_change_lower, r.entropy_change_upper, sign=True)
                for r in table.itertuples()
            ],
            "AUROC before": table["auroc_before"].map(number),
            "AUROC after": table["auroc_after"].map(number),
            "AUROC change": [
                interval(r.auroc_change, r.auroc_change_lower, r.auroc_change_upper, sign=True)
                for r in table.itertuples()
            ],
        }
    )


def format_merge_rates(table: pd.DataFrame) -> pd.DataFrame:
    """`judge_effect.merge_rates`: one row per judge and kind, over all kinds first."""
    return pd.DataFrame(
        {
            "judge": table["judge"],
            "kind": table["kind"],
            "questions": table["questions"].map(count),
            "pairs that mean the same": table["equal"].map(count),
            "of them missed": table["missed"].map(count),
            "missed %": intervals(table, "missed_share", "missed_share_lower", "missed_share_upper", percent),
            "pairs that differ": table["different"].map(count),
            "of them merged": table["false"].map(count),
            "false merges %": intervals(table, "false_share", "false_share_lower", "false_share_upper", percent),
            "failed": table["accidents"].map(count),
        }
    )


def effect(table: pd.DataFrame, merged: pd.DataFrame) -> list[str]:
    """What the second judge changes over all problems of a teacher, whether gold agrees, and what the AUROC does.

    `merged` are the rows of `judge_effect.merged_answers`, with a `teacher` column.
    """
    nothing = (
        "no class of {n:,} problems changes (95 % interval of the share that changes: {changed:to%} %), so entropies, "
        "weights and AUROC are what they were"
    )
    something = (
        "the classes change on {changed:~%} % of {n:,} problems; mean H / log N moves from {entropy_before:3} to "
        "{entropy_after:3} (change {entropy_change:~+})"
    )
    evidence = (
        "{auroc_after:3} against {auroc_before:3}, difference {auroc_change:~+}, {n_wrong:,} of {n:,} problems wrong"
    )

    def words(rows: pd.DataFrame) -> str:
        r = rows[rows["group"] == "all"].iloc[0]
        failed = say("; the algebra failed on {accidents:,} pairs of answers", r) if r["accidents"] else ""
        if r["changed"] == 0:
            return say(nothing, r) + failed
        own = merged[merged["teacher"] == r["teacher"]]["by_gold"]
        kinds = ", ".join(f"{count((own == kind).sum())} {text}" for kind, text in BY_GOLD.items())
        joined = f"; {count(len(own))} merges of former classes: {kinds}"
        if r["auroc_before"] != r["auroc_before"]:
            return say(something, r) + joined + failed + "; too few right or wrong answers for an AUROC"
        claim = direction(r["auroc_change_lower"], r["auroc_change_upper"], "is above", "is below", SAME)
        told = comparison("AUROC after", "AUROC before", claim, say(evidence, r))
        return say(something, r) + joined + failed + "; " + told

    return per_teacher(table, words)


def merge_rates(table: pd.DataFrame) -> list[str]:
    """What each judge misses and what it merges wrongly, over all kinds of question."""
    template = (
        "misses {missed:,} of {equal:,} pairs that mean the same ({missed_share:~%} %) and merges {false:,} of "
        "{different:,} that differ ({false_share:~%} %), on {questions:,} questions"
    )
    whole = table[table["kind"] == "all"].assign(name=lambda t: "Judge `" + t["judge"] + "`")
    return per_teacher(whole, lambda rows: say(template, rows.iloc[0]), by="name")
