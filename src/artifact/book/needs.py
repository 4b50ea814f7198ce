"""Which studies a notebook shows: the names of studies in the code of a notebook that calls `run_study`.

So the runs of a whole series are known before its first notebook is executed. A study that a notebook names in another
way than by a string is trained when the notebook asks for it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artifact.book.notebooks import cell_source, discover, read_notebook
from artifact.errors import ArtifactError
from artifact.studies.study import study_names
from artifact.studies.training_queue import by_identity


def studies_of(notebook: Path) -> list[str]:
    """The studies whose runs `notebook` shows, in the order in which its code names them."""
    nodes = list(ast.walk(_code(notebook)))
    if not any(isinstance(node, ast.Call) and getattr(node.func, "id", None) == "run_study" for node in nodes):
        return []
    known = set(study_names())
    strings = sorted(
        (node.lineno, node.col_offset, node.value)
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in known
    )
    return list(dict.fromkeys(name for *_, name in strings))


def _code(notebook: Path) -> ast.Module:
    """The code of a notebook as one syntax tree, its cells one below the other."""
    cells = [cell_source(c) for c in read_notebook(notebook)["cells"] if c["cell_type"] == "code"]
    try:
        return ast.parse("\n".join(cells))
    except SyntaxError as err:
        raise ArtifactError(f"{notebook.name}: {err}; its code cells hold plain Python") from err


def studies_shown(tier: str) -> list[str]:
    """The studies that the notebooks of `tier` show, in their order; ArtifactError where they show none."""
    found = list(dict.fromkeys(name for source in discover(tier=tier) for name in studies_of(source)))
    if not found:
        raise ArtifactError(f"no notebook of tier {tier!r} shows a study; name some with --study")
    return found


def runs_of(sources: Sequence[Path], tier: str, overrides: dict[str, Any] | None = None) -> dict[Path, int]:
    """How many runs each notebook shows that none before it does; `sources` in their order."""
    runs, known = dict[str, set[str]](), set[str]()
    counts = {}
    for source in sources:
        before = len(known)
        for name in studies_of(source):
            if name not in runs:
                runs[name] = set(by_identity(name, tier, overrides))
            known |= runs[name]
        counts[source] = len(known) - before
    return counts
