"""The claims as a reader sees them: counts, tables and sentences, from the judgements of `studies/claims.py`.

Three parts that are never mixed: what the papers claim, judged at the papers' settings; what a smaller tier shows of
it; where a draft contradicts itself. Left out: judging, and the LaTeX (`book/claims.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import pandas as pd

from artifact.report.claim_rules import VERDICTS
from artifact.report.text import DASH

CLAIM, MECHANISM, DRAFT = "claim", "mechanism", "draft"

PARTS = {
    "What the papers claim, at the settings it needs": CLAIM,
    "What tier {tier} shows of it, no number of the papers": MECHANISM,
    "What the drafts say of themselves": DRAFT,
}
"""Heading → part, in the order of the page."""


class Judged(Protocol):
    """What is read of a judgement (`studies.claims.Judgement`)."""

    id: str
    paper: str
    where: str
    kind: str
    output: str
    part: str
    says: str
    tier: str
    verdict: str
    numbers: str
    reason: str
    cost: str
    evidence: tuple[str, ...]
    n: int | None
    seeds: int | None
    keys: tuple[str, ...]


def part(judgements: Iterable[Judged], of: str) -> list[Judged]:
    """The judgements of one part, in the order of the file."""
    return [j for j in judgements if j.part == of]


def counted(judgements: Sequence[Judged]) -> str:
    """`3 PASS, 1 FAIL of 4`; verdicts in a fixed order, those that do not occur left out."""
    counts = Counter(j.verdict for j in judgements)
    order = [*VERDICTS, *sorted(set(counts) - set(VERDICTS))]
    return f"{', '.join(f'{counts[v]} {v}' for v in order if counts[v])} of {len(judgements)}"


def counts(judgements: Sequence[Judged]) -> pd.DataFrame:
    """Verdicts by part and paper: part, paper, claims, and a column for each verdict."""
    rows = []
    for heading, of in PARTS.items():
        found = part(judgements, of)
        for paper in dict.fromkeys(j.paper for j in found):
            mine = Counter(j.verdict for j in found if j.paper == paper)
            rows.append({"part": of, "heading": heading, "paper": paper, "claims": sum(mine.values())})
            rows[-1] |= {verdict: mine[verdict] for verdict in VERDICTS}
    return pd.DataFrame(rows)


def table(judgements: Iterable[Judged]) -> pd.DataFrame:
    """One row per judgement: id, paper, where, part, claim, judged on (tier), verdict, numbers, n, seeds, evidence."""
    return pd.DataFrame(
        {
            "id": j.id,
            "part": j.part,
            "paper": j.paper,
            "where": j.where,
            "output": j.output,
            "says": j.says,
            "judged_on": j.tier,
            "verdict": j.verdict,
            "numbers": j.numbers or j.reason,
            "problems": "" if j.n is None else j.n,
            "seeds": "" if j.seeds is None else j.seeds,
            "evidence": ", ".join(j.evidence),
            "runs": " ".join(j.keys),
        }
        for j in judgements
    )


def format_table(table: pd.DataFrame, pages: Mapping[str, str] | None = None) -> pd.DataFrame:
    """`table` for a reader: the columns that one reads, dashes where there is nothing."""
    shown = {
        "verdict": table["verdict"],
        "claim": table["says"],
        "in": table["paper"] + ", " + table["where"],
        "what was found": table["numbers"],
        "n": [DASH if n != n or n is None else f"{int(n):,}" for n in table["problems"]],
        "seeds": [DASH if n != n or n is None else str(int(n)) for n in table["seeds"]],
        "output": table["output"].replace("", DASH),
        "evidence": table["evidence"].replace("", DASH),
    }
    return pd.DataFrame(shown)
