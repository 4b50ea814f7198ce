"""Whether what a reader is shown of the claims and their evidence still says what is stored: `artifact check-claims`.

`check` is `studies.claims.check_claims` and, beside it: the stored table of claims must be that of these claims and
these outputs, a caption or figure in an executed notebook that of its stamp, and `paper/outputs/` what the stamps say.
Left out: judging, and whether the evidence itself is whole (`studies/claims.py`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from artifact.book import paper
from artifact.errors import ArtifactError
from artifact.files import DamagedFile, read_json
from artifact.paths import figures_dir, project_root, results_dir
from artifact.provenance import bytes_sha256
from artifact.report import stored
from artifact.report.claims_page import NAME, table
from artifact.report.notebook import SHOWN
from artifact.report.outputs import csv_text
from artifact.studies.claims import Checked, check_claims


def check(tier: str, only: str | None = None) -> Checked:
    """`check_claims`, and what is wrong with the page of the claims and with the captions of executed notebooks."""
    checked = check_claims(tier, only)
    if only is not None:
        return checked
    shown = [*_stale_table(checked), *captions(tier), *latex()]
    return replace(checked, damaged=(*checked.damaged, *shown))


def _stale_table(checked: Checked) -> Iterator[str]:
    """The stored table of claims, where it is not what these claims and outputs give."""
    try:
        output = stored.read("table", NAME, checked.tier)
    except stored.DamagedOutput:
        return  # its own line says so
    made = csv_text(table(checked.judgements), float_format="%.10g")
    if output is not None and output.path.with_suffix(".csv").read_text(encoding="utf-8") != made:
        yield f"table {NAME}: made from other claims or other outputs; run its notebook again (--only 14)"


def latex() -> Iterator[str]:
    """The files of `paper/outputs/` that say something else than the stamps of this clone."""
    if (results_dir(), figures_dir()) != (project_root() / "results", project_root() / "figures"):
        return  # made for somewhere else: the paper is not of these
    try:
        yield from (f"paper/outputs/{name}: not what the stamps say; run `artifact paper`" for name in paper.stale())
    except ArtifactError as err:
        yield f"paper/outputs: {err}"


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
