"""What became of the claims, as a reader sees it: counts, tables and sentences.

Three parts that are never mixed: what the papers claim, judged at the papers' settings; what a smaller tier shows of
it; where a draft contradicts itself. Left out: judging (`studies/claims.py`), and the LaTeX of the appendix
(`book/experiments.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from artifact.escape import markdown_text
from artifact.report.claim_rules import NOT_RUN, VERDICTS
from artifact.report.text import DASH

NAME = "claims"
"""The stored table of all judgements."""

CLAIM, MECHANISM, DRAFT = "claim", "mechanism", "draft"

PARTS = {
    "What the papers claim, at the settings it needs": CLAIM,
    "What tier {tier} shows of it, no number of the papers": MECHANISM,
    "What the drafts say of themselves": DRAFT,
}
"""Heading → part, in the order of the page."""

PAPERS = ("UOPD", "CORE", "both")
"""In the order of the page."""


@dataclass(frozen=True)
class Judgement:
    """What became of a claim, or of a mechanism of it, at one tier; `cost` is that of what was not made."""

    id: str
    paper: str
    where: str
    kind: str
    output: str
    part: str
    says: str
    tier: str
    verdict: str
    numbers: str = ""
    reason: str = ""
    cost: str = ""
    evidence: tuple[str, ...] = ()
    n: int | None = None
    seeds: int | None = None
    keys: tuple[str, ...] = ()

    def to_row(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**self.__dict__, "evidence": list(self.evidence), "keys": list(self.keys)}


def part(judgements: Iterable[Judgement], of: str) -> list[Judgement]:
    """The judgements of one part, in the order of the file."""
    return [j for j in judgements if j.part == of]


def counted(judgements: Sequence[Judgement]) -> str:
    """`3 PASS, 1 FAIL of 4`; verdicts in a fixed order, those that do not occur left out."""
    counts = Counter(j.verdict for j in judgements)
    order = [*VERDICTS, *sorted(set(counts) - set(VERDICTS))]
    return f"{', '.join(f'{counts[v]} {v}' for v in order if counts[v])} of {len(judgements)}"


def counts(judgements: Sequence[Judgement], tier: str) -> pd.DataFrame:
    """Verdicts by part and paper: part, what (its heading), paper, claims, and a column for each verdict."""
    rows = []
    verdicts = [*VERDICTS, *sorted({j.verdict for j in judgements} - set(VERDICTS))]
    for heading, of in PARTS.items():
        found = part(judgements, of)
        for paper in (p for p in PAPERS if any(j.paper == p for j in found)):
            mine = Counter(j.verdict for j in found if j.paper == paper)
            row = {"part": of, "what": heading.format(tier=tier), "paper": paper, "claims": sum(mine.values())}
            rows.append(row | {verdict: mine[verdict] for verdict in verdicts})
    return pd.DataFrame(rows)


def table(judgements: Iterable[Judgement]) -> pd.DataFrame:
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


def format_counts(table: pd.DataFrame) -> pd.DataFrame:
    """`counts` for a reader: nothing is a dash."""
    return table.drop(columns="part").replace(0, DASH)


def in_short(judgements: Sequence[Judgement], tier: str) -> list[str]:
    """A sentence for each part: how many of its claims have which verdict."""
    parts = {heading.format(tier=tier): part(judgements, of) for heading, of in PARTS.items()}
    return [f"{heading}: {counted(found)}." for heading, found in parts.items() if found]


def format_table(table: pd.DataFrame) -> pd.DataFrame:
    """`table` for a reader: the columns that one reads, dashes where there is nothing."""
    shown = {
        "verdict": table["verdict"],
        "claim": table["says"],
        "in": table["paper"] + ", " + table["where"],
        "what was found": table["numbers"],
        "n": [f"{n:,}" if n != "" else DASH for n in table["problems"]],
        "seeds": [str(n) if n != "" else DASH for n in table["seeds"]],
        "output": table["output"].replace("", DASH),
        "evidence": table["evidence"].replace("", DASH),
    }
    return pd.DataFrame(shown)


def costs(judgements: Iterable[Judgement]) -> list[str]:
    """What it would take to judge what was not run: a sentence for each, with the claims that wait for it."""
    waiting: dict[str, list[str]] = {}
    for j in judgements:
        if j.verdict == NOT_RUN and j.cost:
            waiting.setdefault(f"{j.reason}; {j.cost}", []).append(j.id)
    return [f"{', '.join(dict.fromkeys(ids))}: {cost}." for cost, ids in waiting.items()]


def evidence_links(judgements: Sequence[Judgement], made_by: Mapping[str, str]) -> str:
    """Markdown: each output that decides a claim, as a link to its place in the page of the notebook that makes it."""
    names = dict.fromkeys(name for j in judgements for name in j.evidence)
    lines = []
    for name in names:
        kind, stem = name.split(" ", 1)
        ids = ", ".join(dict.fromkeys(j.id for j in judgements if name in j.evidence))
        page = made_by.get(stem)
        link = f"[{markdown_text(name)}]({page}.html#{kind}-{stem})" if page else markdown_text(name)
        lines.append(f"- {link}: {markdown_text(ids)}")
    return "\n".join(lines)
