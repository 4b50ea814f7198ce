r"""The LaTeX that shows every figure and table of a tier: `paper/outputs-<tier>.tex`, from the stamps beside them.

`paper/supplement.tex` sets the type and includes it, so a new output is in the document without anyone adding it.
Outputs stand under the paper that owes them and in the order of their ids (U-F1, U-T1, …). Left out: text, and LaTeX
itself, which the artifact does not need to run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from artifact.config import load_tier, tier_names
from artifact.errors import ArtifactError
from artifact.escape import latex_text
from artifact.files import read_json, write_text
from artifact.paths import figures_dir, project_root, results_dir

SECTIONS = (("U", "Outputs of UOPD"), ("C", "Outputs of CORE"), ("", "Further outputs"))
"""First letter of an output's id → heading; outputs without an id come last."""


@dataclass(frozen=True)
class Output:
    """A figure (`.pdf`) or table (`.tex`): its file, the id the paper knows it by ("" for none) and its caption."""

    path: Path
    output: str
    caption: str

    @property
    def is_figure(self) -> bool:
        return self.path.suffix == ".pdf"


def outputs(tier: str) -> list[Output]:
    """What was made for `tier`, in the order of the document. Raises ArtifactError where a stamp's file is missing."""
    found = []
    for folder, suffix in ((figures_dir() / tier, ".pdf"), (results_dir() / "tables" / tier, ".tex")):
        for stamp in sorted(folder.glob("*.json")):
            facts, path = read_json(stamp, "run the notebooks again (--force)"), stamp.with_suffix(suffix)
            if not path.is_file():
                raise ArtifactError(
                    f"{stamp} stamps {path.name}, which is not there; run the notebooks again (--force)"
                )
            found.append(Output(path, facts["output"], facts["caption"]))
    return sorted(found, key=lambda o: (_section(o), o.output, not o.is_figure, o.path.name))


def _section(output: Output) -> int:
    return next(i for i, (letter, _) in enumerate(SECTIONS) if output.output.startswith(letter))


def document(found: Sequence[Output], folder: Path) -> str:
    """The LaTeX body of `found`, paths relative to `folder`; needs the macros of `paper/supplement.tex`."""
    lines = ["% Made by `artifact paper` from the stamps beside the outputs; do not edit by hand."]
    for i, (_, title) in enumerate(SECTIONS):
        inside = [o for o in found if _section(o) == i]
        lines += [rf"\section{{{title}}}"] * bool(inside)
        lines += [_shown(o, folder) for o in inside]
    return "\n".join(lines) + "\n"


def _shown(output: Output, folder: Path) -> str:
    path = Path(os.path.relpath(output.path, folder)).as_posix()
    identity = rf"\outputid{{{latex_text(output.output)}}}" if output.output else ""
    if output.is_figure:
        return rf"\outputfigure{{{path}}}{{{identity}{latex_text(output.caption)}}}{{fig:{output.path.stem}}}"
    return rf"\outputtable{{{path}}}"


def write_supplement() -> list[Path]:
    """Write `paper/outputs-<tier>.tex` for each tier that has outputs; returns what was written.

    A tier that extends another is a look at it, not a result, and stays out of the paper.
    """
    folder, written = project_root() / "paper", []
    for tier in tier_names():
        found = outputs(tier) if load_tier(tier).extends is None else []
        if found:
            written.append(write_text(folder / f"outputs-{tier}.tex", document(found, folder)))
    return written
