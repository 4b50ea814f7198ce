"""Whether page and LaTeX of the claims still say what is stored, and the claims of the appendix.

`check` is `studies.claims.check_claims` and, beside it, what a reader is shown: the stored table of claims must be that
of these claims and these outputs, and a caption or figure in an executed notebook that of the output's stamp.
Left out: judging, and the LaTeX of all outputs (`paper.py`, which asks for `verdicts_latex`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from artifact.files import DamagedFile, read_json
from artifact.paths import results_dir
from artifact.provenance import bytes_sha256
from artifact.report import stored
from artifact.report.claims_page import CLAIM, MECHANISM, table
from artifact.report.latex import latex_table
from artifact.report.notebook import SHOWN
from artifact.report.outputs import csv_text, stamp_line
from artifact.studies.claims import Checked, check_claims

NAME = "claims"
"""The stored table of all judgements."""


def check(tier: str, only: str | None = None) -> Checked:
    """`check_claims`, and what is wrong with the page of the claims and with the captions of executed notebooks."""
    checked = check_claims(tier, only)
    if only is not None:
        return checked
    return replace(checked, damaged=(*checked.damaged, *_stale_table(checked), *captions(tier)))


def _stale_table(checked: Checked) -> Iterator[str]:
    """The stored table of claims, where it is not what these claims and outputs give."""
    try:
        output = stored.read("table", NAME, checked.tier)
    except stored.DamagedOutput:
        return  # its own line says so
    made = csv_text(table(checked.judgements), float_format="%.10g")
    if output is not None and output.path.with_suffix(".csv").read_text(encoding="utf-8") != made:
        yield f"table {NAME}: made from other claims or other outputs; run its notebook again (--only 13)"


def captions(tier: str) -> Iterator[str]:
    """What executed notebooks of `tier` show under the name of an output and its stamp does not say."""
    for path in sorted((results_dir() / "notebooks" / tier).glob("[0-9][0-9]_*.ipynb")):
        try:
            cells = read_json(path, "run it again (--force)")["cells"]
        except (DamagedFile, KeyError, TypeError) as err:
            yield f"notebook {path.stem}: {err}"
            continue
        for output in (o for c in cells for o in c.get("outputs", ())):
            for wrong in _shown_otherwise(output, tier):
                yield f"notebook {path.stem}: {wrong}"


def _shown_otherwise(output: dict[str, Any], tier: str) -> Iterator[str]:
    facts = output.get("metadata", {}).get(SHOWN, {})
    if "anchor" not in facts:
        return
    kind, _, name = facts["anchor"].partition("-")
    stem = stored.folder_of("figure" if kind == "figure" else "table", tier) / name
    stamp = stem.with_name(f"{name}.json")
    if not stamp.is_file() or stored.faults(stem):
        return  # its own line says so
    said = read_json(stamp, stored.REMEDY)
    if (facts["output"], facts["caption"]) != (said["output"], said["caption"]):
        yield f"{kind} {name} has another caption than its stamp"
    image = output.get("data", {}).get("image/png")
    if image and bytes_sha256(base64.b64decode(_text(image))) != said["sha256"].get(f"{name}.png"):
        yield f"figure {name} is another picture than that of its stamp"


def _text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def verdicts_latex(tiers: Sequence[str]) -> str:
    """The claims of the appendix: one row each, its verdict at the papers' settings and those of its mechanisms.

    From the stored tables of `tiers`, the first that has one; "" where none has.
    """
    for tier in tiers:
        output = stored.read("table", NAME, tier)
        if output is not None:
            return _appendix(output.frame, tier)
    return ""


def _appendix(frame: pd.DataFrame, tier: str) -> str:
    rows = []
    for claim, group in frame[frame["part"].isin([CLAIM, MECHANISM])].groupby("id", sort=False):
        itself, mechanisms = group[group["part"] == CLAIM], group[group["part"] == MECHANISM]
        outputs = [o for o in dict.fromkeys(group["output"].fillna("")) if o]
        rows.append(
            {
                "claim": claim,
                "output": ", ".join(outputs),
                "at its settings": ", ".join(itself["verdict"]),
                f"mechanism, {tier}": ", ".join(mechanisms["verdict"]) or "–",
            }
        )
    caption = (
        "Each claim of the drafts at the settings it needs, and what the tier named shows of its mechanism, which is "
        "no number of the drafts. The output leads to its command in the table above; words, numbers and the drafts' "
        "contradictions are in the report."
    )
    shown = pd.DataFrame(rows)
    return latex_table(shown, caption, stamp_line(tier, [], shown), "verdicts")
