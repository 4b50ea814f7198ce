"""The page of the claims, and what the start page says of them: by part, draft and verdict, each with its evidence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from artifact.report.claim_rules import VERDICTS
from artifact.report.claims_page import MECHANISM, PAPERS, PARTS, Judgement, counted, counts, part
from artifact.site.outputs import Outputs
from artifact.site.pages import Pages


@dataclass(frozen=True)
class Found:
    """What was found of one part: in words, and by draft and verdict."""

    words: str
    groups: tuple[tuple[str, str, list[dict[str, Any]]], ...]


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
    pages.write("claims.html", "claims.html", judged=judged, parts=[p for p in parts if p[2].groups])


def as_rows(judged: Sequence[Judgement], outputs: Outputs) -> list[dict[str, Any]]:
    """Each judgement with a place of its own on the page (`anchor`) and its evidence as (name, page or None)."""
    out: list[dict[str, Any]] = []
    for number, j in enumerate(judged):
        shown = [(name, outputs.named(*name.split(" ", 1))) for name in j.evidence]
        pages = [(name, one.page if one else None) for name, one in shown]
        anchor = f"claim-{number}-{re.sub(r'[^a-z0-9]+', '-', j.id)}"
        out.append(j.to_row() | {"anchor": anchor, "evidence": pages})
    return out


def verdicts(judged: Sequence[Judgement]) -> list[str]:
    """The verdicts that occur, in the order of the page."""
    found = {j.verdict for j in judged}
    return [v for v in (*VERDICTS, *sorted(found - set(VERDICTS))) if v in found]


def for_start(judged: Sequence[Judgement], tier: str, outputs: Outputs) -> dict[str, Any]:
    """What the start page shows: counts by part, draft and verdict, and the mechanisms that were judged."""
    table = counts(judged, tier).to_dict(orient="records") if judged else []
    shown = [r for r in as_rows(judged, outputs) if r["part"] == MECHANISM and r["verdict"] != "NOT RUN"]
    return {"counts": table, "verdicts": verdicts(judged), "mechanisms": shown}
