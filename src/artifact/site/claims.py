"""The page of the claims, and what the start page says of them: by part, draft and verdict.

Of each judgement it shows the evidence (the rows that were read, in their table), the rule of `paper/claims.yml` that
decided, and the runs behind it (`runs.html#of=claims:N`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifact.report.claim_rules import NOT_RUN, PASS, VERDICTS, rows_of
from artifact.report.claims import Agree, Cells, Rule, cells_of, load_claims
from artifact.report.claims_page import MECHANISM, PAPERS, PARTS, Judgement, counted, counts, part
from artifact.report.stored import DamagedOutput
from artifact.site.outputs import MOST_ROWS, Outputs
from artifact.site.pages import Pages
from artifact.site.sources import Source
from artifact.studies.claims import BROKEN

BEHIND = "claims"
"""Under which name `data/behind.js` says which runs are behind which claim."""


@dataclass(frozen=True)
class Found:
    """What was found of one part: in words, and by draft and verdict."""

    words: str
    groups: tuple[tuple[str, str, list[dict[str, Any]]], ...]


@dataclass(frozen=True)
class Evidence:
    """What a test reads of an output: its page and the rows there (None and none: not made), the columns in words."""

    name: str
    page: str | None
    rows: tuple[int, ...]
    reads: str


def write(pages: Pages, judged: Sequence[Judgement], tier: str, outputs: Outputs) -> None:
    """The page of all judgements."""
    rows = as_rows(judged, outputs)
    parts = []
    for heading, of in PARTS.items():
        found = part(judged, of)
        groups = [
            (paper, verdict, some)
            for paper in PAPERS
            for verdict in verdicts(judged)
            if (some := [r for r in rows if (r["part"], r["paper"], r["verdict"]) == (of, paper, verdict)])
        ]
        parts.append((of, heading.format(tier=tier), Found(counted(found), tuple(groups))))
    pages.write(
        "claims.html", "claims.html", judged=judged, parts=[p for p in parts if p[2].groups], most_rows=MOST_ROWS
    )


def as_rows(judged: Sequence[Judgement], outputs: Outputs) -> list[dict[str, Any]]:
    """Each judgement with a place of its own on the page (`anchor`), its number among all, its rule and evidence."""
    tests = {(claim.id, says): test for claim in load_claims() for says, _, test in claim.forms()}
    out: list[dict[str, Any]] = []
    for number, j in enumerate(judged):
        test = tests[j.id, j.says]
        anchor = f"claim-{number}-{re.sub(r'[^a-z0-9]+', '-', j.id)}"
        known = j.verdict not in (NOT_RUN, BROKEN)
        evidence = [_evidence(cells, j.tier, outputs, known) for cells in cells_of(test)]
        told = {"anchor": anchor, "number": number, "rule": _rule(test), "evidence": evidence}
        out.append(j.to_row() | told | {"stated": [test.first, test.second] if isinstance(test, Agree) else []})
    return out


def behind(judged: Sequence[Judgement], sources: Mapping[str, Source]) -> dict[str, Any]:
    """The stored results behind each judgement, as `data/behind.js` holds them."""
    keys = [key for key in sources if any(key in j.keys for j in judged)]
    rows = [[i for i, key in enumerate(keys) if key in j.keys] for j in judged]
    about = [(j.says, "") for j in judged]
    return {"title": "the claims", "page": "claims.html", "keys": keys, "rows": rows, "about": about}


def _evidence(cells: Cells, tier: str, outputs: Outputs, judged: bool) -> Evidence:
    """`judged`: the rows are there, for a verdict was made from them."""
    shown = outputs.named(cells.kind, cells.name)
    where = ", ".join(f"{c} = {' or '.join(map(str, v)) if isinstance(v, list) else v}" for c, v in cells.where.items())
    reads = f"column {', '.join(cells.columns)}" + (f" where {where}" if where else "")
    rows: tuple[int, ...] = ()
    if shown is not None and judged and not cells.sum:
        try:
            rows = tuple(map(int, rows_of(cells, tier).frame.index))
        except DamagedOutput:
            rows = ()
    return Evidence(f"{cells.kind} {cells.name}", shown.page if shown else None, rows, reads)


def _rule(test: Rule) -> str:
    """`difference: PASS where …; direction higher`, as `report/claims.py` says the rule and the claim its settings."""
    said = " ".join((type(test).__doc__ or "").split())
    own = test.model_dump(exclude={"rule", "of", "over", "first", "second"})
    return "; ".join([f"{test.rule}: {said.rstrip('.')}", *(f"{name} {value}" for name, value in own.items())])


def verdicts(judged: Sequence[Judgement]) -> list[str]:
    """The verdicts that occur, in the order of the page."""
    found = {j.verdict for j in judged}
    return [v for v in (*VERDICTS, *sorted(found - set(VERDICTS))) if v in found]


def for_start(judged: Sequence[Judgement], tier: str, outputs: Outputs) -> dict[str, Any]:
    """What the start page shows: counts by part, draft and verdict, and the mechanisms that were judged."""
    table = counts(judged, tier).to_dict(orient="records") if judged else []
    shown = [r for r in as_rows(judged, outputs) if r["part"] == MECHANISM and r["verdict"] != NOT_RUN]
    return {"counts": table, "verdicts": verdicts(judged), "mechanisms": shown}


def in_a_badge(judged: Sequence[Judgement]) -> str:
    """`31 of 40 mechanisms PASS`: of those that the tier could judge."""
    mechanisms = [j for j in part(judged, MECHANISM) if j.verdict != NOT_RUN]
    return f"{sum(j.verdict == PASS for j in mechanisms)} of {len(mechanisms)} mechanisms {PASS}"
