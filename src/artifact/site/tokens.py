"""Pages of single tokens: what student, teacher and loss said of the responses that a run recorded.

For the first seed of the methods that the papers compare, of the first and the last recorded step: a page is heavy,
and `artifact.inspect` shows any other. Left out: the view itself (`inspect/recorded.py`).
"""

from __future__ import annotations

from pathlib import Path

from artifact.files import write_text
from artifact.inspect.opened import opened
from artifact.inspect.recorded import recorded
from artifact.site.sources import Source

SHOWN = frozenset({"opd", "uopd-soft", "core", "grpo"})
"""The cells whose tokens the site shows."""


def write_tokens(folder: Path, source: Source, seed: int) -> str | None:
    """Write the page of a run's recorded tokens below `folder`; returns its place there, None where there is none."""
    if source.kind != "runs" or source.seed != seed or not source.cells & SHOWN:
        return None
    steps = sorted({step for step, _ in opened(source.folder).records})
    if not steps:
        return None
    place = f"tokens/{source.key}.html"
    (folder / "tokens").mkdir(exist_ok=True)
    write_text(folder / place, recorded(source.folder, {steps[0], steps[-1]}).to_html())
    return place
