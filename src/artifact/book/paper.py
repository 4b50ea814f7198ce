r"""What `paper/report.tex` and `paper/appendix.tex` include: `paper/outputs/`, made from the stamps beside the outputs.

The report holds the words and the order, an output stands where `\outputs{U-T1}` asks for its id: figures and tables
of every tier, those nearest to the papers' settings first, and what the tables of differences say in sentences. An id
that the report does not ask for is an error, so nothing that was made is left out. Left out: LaTeX itself, which the
artifact runs only when asked to (`compile_pdf`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from artifact.book import experiments
from artifact.config import load_tier, tier_names
from artifact.errors import ArtifactError
from artifact.escape import latex_text
from artifact.files import read_json, write_text
from artifact.paths import figures_dir, project_root, results_dir
from artifact.report import narrative
from artifact.report.tables import SAME

WITHOUT_ID = "other"
"""The name under which the report asks for outputs that no draft names."""

NEAREST_FIRST = ("paper", "single-gpu", "cpu-llm", "tiny")
"""Tiers in the order in which an output shows them; tiers of a user's own come last."""

_ASKED = re.compile(r"\\outputs\{([A-Za-z0-9-]+)\}")
COMPILE_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Output:
    """A figure (`.pdf`) or table (`.tex`): its file, tier, the id the drafts know it by ("" for none), its caption."""

    path: Path
    tier: str
    output: str
    caption: str

    @property
    def is_figure(self) -> bool:
        return self.path.suffix == ".pdf"

    @property
    def place(self) -> str:
        """The name under which the report asks for it."""
        return self.output or WITHOUT_ID


def outputs(tier: str) -> list[Output]:
    """What was made for `tier`, by id, figures first. Raises ArtifactError where a stamp's file is missing."""
    found = []
    for folder, suffix in ((figures_dir() / tier, ".pdf"), (results_dir() / "tables" / tier, ".tex")):
        for stamp in sorted(folder.glob("*.json")):
            facts, path = read_json(stamp, "run the notebooks again (--force)"), stamp.with_suffix(suffix)
            if not path.is_file():
                raise ArtifactError(
                    f"{stamp} stamps {path.name}, which is not there; run the notebooks again (--force)"
                )
            found.append(Output(path, tier, facts["output"], facts["caption"]))
    return sorted(found, key=lambda o: (o.place, not o.is_figure, o.path.name))


def asked_for() -> list[str]:
    """The ids that `paper/report.tex` asks for, in its order; ArtifactError for one that it asks for twice."""
    text = (project_root() / "paper" / "report.tex").read_text(encoding="utf-8")
    ids = _ASKED.findall("\n".join(line.split("%")[0] for line in text.splitlines()))
    if twice := [i for i in dict.fromkeys(ids) if ids.count(i) > 1]:
        raise ArtifactError(
            f"paper/report.tex asks twice for {twice[0]}; an output has one place: leave one of them out"
        )
    return ids


def lines_of(found: Sequence[Output], folder: Path) -> str:
    """The LaTeX of the outputs of one place, paths relative to `folder`; needs the macros of `paper/report.tex`."""
    lines = ["% Made by `artifact paper` from the stamps beside the outputs; do not edit by hand."]
    for output in found:
        path = Path(os.path.relpath(output.path, folder)).as_posix()
        if output.is_figure:
            label = f"fig:{output.tier}:{output.path.stem}"
            lines.append(rf"\outputfigure{{{path}}}{{{latex_text(output.caption)} ({_stamp(output.tier)})}}{{{label}}}")
        else:
            lines.append(rf"\outputtable{{{path}}}")
            lines += _sentences(output)
    return "\n".join(lines) + "\n"


def _stamp(tier: str) -> str:
    return latex_text(f"tier: {tier} — {load_tier(tier).note}")


def _sentences(output: Output) -> list[str]:
    """What a table of differences says, in words: each claimed difference, and how many rows have none."""
    if not output.path.stem.endswith("_differences"):
        return []
    table = pd.read_csv(output.path.with_suffix(".csv"))
    claimed = table[table["verdict"] != SAME]
    said = narrative.differences(claimed)
    said.append(f"{SAME.capitalize()} in {len(table) - len(claimed)} of {len(table)} rows.")
    return [r"\begin{itemize}\footnotesize", *(rf"\item {latex_text(sentence)}" for sentence in said), r"\end{itemize}"]


def write_paper() -> list[Path]:
    """Write `paper/outputs/`: what `contents` says, and nothing else. Returns what was written."""
    folder, made = project_root() / "paper" / "outputs", contents()
    if not made:
        return []
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.tex"):
        if stale.stem not in made:
            stale.unlink()
    return [write_text(folder / f"{name}.tex", text) for name, text in made.items()]


def stale() -> list[str]:
    """The files of `paper/outputs/` that do not say what the stamps beside the outputs say."""
    folder, made = project_root() / "paper" / "outputs", contents()
    there = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.tex")}
    return [f"{name}.tex" for name in sorted({*made, *there}) if made.get(name) != there.get(name)]


def contents() -> dict[str, str]:
    """A file per place of the report, the experiments, facts and verdicts of the appendix: name → LaTeX.

    A tier that extends another is a look at it, not a result, and stays out. Nothing where no output was made. Raises
    ArtifactError for an output whose id the report does not ask for.
    """
    folder = project_root() / "paper"
    known = [t for t in NEAREST_FIRST if t in tier_names()]
    tiers = [*known, *(t for t in tier_names() if t not in known)]
    found = [o for tier in tiers if load_tier(tier).extends is None for o in outputs(tier)]
    if not found:
        return {}
    asked = asked_for()
    if lost := sorted({o.place for o in found} - set(asked)):
        raise ArtifactError(
            rf"output {lost[0]} has no place in paper/report.tex: add \outputs{{{lost[0]}}} where it belongs"
        )
    places = {place: [o for o in found if o.place == place] for place in asked}
    made = {place: lines_of(inside, folder) for place, inside in places.items() if inside}
    verdicts = experiments.claims([tier for tier in tiers if load_tier(tier).extends is None])
    made |= {"verdicts": verdicts} if verdicts else {}
    return made | {"experiments": experiments.table(asked), "facts": experiments.facts()}


def compile_pdf(name: str) -> Path:
    """`paper/<name>.pdf` by latexmk; ArtifactError with the remedy where it is missing, too slow or fails."""
    folder = project_root() / "paper"
    if shutil.which("latexmk") is None:
        raise ArtifactError(
            "latexmk is not installed; on Debian: apt-get install --no-install-recommends latexmk "
            "texlive-latex-recommended texlive-latex-extra lmodern"
        )
    command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", name]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=COMPILE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as err:
        raise ArtifactError(f"latexmk {name} took more than {COMPILE_TIMEOUT_S:.0f} s; see paper/{name}.log") from err
    if done.returncode:
        wrong = [line for line in done.stdout.splitlines() if line.startswith("!")] or ["no error line"]
        raise ArtifactError(f"latexmk {name} failed: {wrong[0]}; see paper/{name}.log")
    return folder / f"{name}.pdf"
