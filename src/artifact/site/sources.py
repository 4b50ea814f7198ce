"""Who a stored result is, and which stored results a row of a table comes from.

A stamp names the keys of the runs behind a whole output. A row of it names itself by ids (`cell`, `reference_cell`,
`teacher`, `seed`) or, where it has none, by printed labels. What a run is follows from its manifest: the cells of all
studies whose configuration it has (`training_queue.identity_of`), its teacher, its seed; what a measured checkpoint is,
from the model that was measured. The runs of a row are those of the stamp that are what the row says.
Left out: reading what a result holds (`runs.py`, `rollouts.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifact.config import Config
from artifact.errors import ArtifactError
from artifact.paths import results_dir
from artifact.report.main_table import TEACHER
from artifact.report.tables import BASE
from artifact.studies import store
from artifact.studies.results import KINDS
from artifact.studies.study import load_study, study_names
from artifact.studies.training_queue import by_identity, identity_of

KIND_WORDS = {
    "runs": "training run",
    "checkpoints": "measured checkpoint",
    "samples": "teacher samples",
    "annotations": "annotation of phase 1",
    "evaluations": "evaluation",
    "untrained": "untrained student on the curve",
    "distances": "distance to the teacher",
}

_TRAINED = re.compile(r"(?:^|/)runs/([0-9a-f]+)/weights$")
"""The weights of a stored run as the model of a measured checkpoint."""


_DECODED = re.compile(r"pass@1|avg@\d+")
"""The metrics that say how responses were drawn."""


@dataclass(frozen=True)
class Source:
    """A stored result as a reader and a table name it.

    teacher, seed  None where the result belongs to all of them (what was trained or measured without one)
    cells          the ids of the studies' cells that it is
    decoding       of a measurement: `greedy`, `avg16`; "" of everything else
    """

    key: str
    kind: str
    folder: Path
    manifest: Mapping[str, Any]
    label: str
    teacher: str | None = None
    seed: int | None = None
    cells: frozenset[str] = frozenset()
    decoding: str = ""

    @property
    def name(self) -> str:
        """`UOPD (soft), teacher B, seed 2`."""
        of = "" if TEACHER in self.cells else ", teacher"
        teacher = "" if self.teacher is None else f"{of} {self.teacher}"
        seed = "" if self.seed is None else f", seed {self.seed}"
        how = f", {self.decoding}" if self.decoding not in ("", "greedy") else ""
        return f"{self.label}{teacher}{seed}{how}"


def sources(tier: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Source]:
    """Every finished result of `tier` that leads to responses, by key, in the order of kinds and keys.

    `overrides` are those with which the notebooks were run: the studies' configurations have them too.
    """
    known = _cells_by_identity(tier, dict(overrides or {}))
    found: dict[str, Source] = {}
    for kind in ("runs", *(k for k in KINDS if k != "runs")):
        for path in sorted((results_dir() / kind).glob(f"*/{store.MANIFEST}")):
            manifest = store.read_manifest(path.parent)
            if manifest is not None and manifest.get("tier") == tier:
                found[path.parent.name] = _source(path.parent, manifest, known, found)
    return found


def _cells_by_identity(tier: str, overrides: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Identity of a configuration → (cell id, label) in every study that has it."""
    known: dict[str, list[tuple[str, str]]] = {}
    for name in study_names():
        try:
            runs = by_identity(name, tier, overrides)
        except ArtifactError:
            continue  # a study that this tier cannot run has no runs here
        for identity, (cell, _) in runs.items():
            known.setdefault(identity, []).append((cell.id, cell.label))
    return known


def labels() -> dict[str, set[str]]:
    """Printed label → ids of the cells that print so, in all studies and among the reference measurements."""
    found: dict[str, set[str]] = {"Base": {BASE}, "Teacher": {TEACHER}}
    for name in study_names():
        for cell in load_study(name).cells:
            found.setdefault(cell.label, set()).add(cell.id)
    return found


def _source(
    folder: Path, manifest: Mapping[str, Any], known: Mapping[str, list[tuple[str, str]]], found: Mapping[str, Source]
) -> Source:
    key, kind = folder.name, str(manifest["kind"])
    if kind == "runs":
        cells, needs = known.get(_identity(manifest), []), manifest["needs"]
        asked = needs["teacher"] or needs["uncertainty"] or needs["teacher_samples"]
        teacher, seed = manifest["teacher"] if asked else None, int(manifest["seed"])
        label = cells[0][1] if cells else f"{manifest['method']}, rate {manifest['config']['optimiser']['lr']:g}"
        return Source(key, kind, folder, manifest, label, teacher, seed, frozenset(i for i, _ in cells))
    if kind == "checkpoints":
        return _checkpoint(key, folder, manifest, found)
    label = KIND_WORDS[kind].capitalize()
    if kind == "evaluations":
        label = f"{manifest['benchmark']}: {Path(str(manifest['model'])).name}"
    return Source(key, kind, folder, manifest, label, manifest.get("teacher"))


def _identity(manifest: Mapping[str, Any]) -> str:
    """`identity_of` a stored run; "" for one of a method, or of settings, that are not known here."""
    try:
        return identity_of(Config.model_validate(manifest["config"]))
    except (ArtifactError, ValueError):
        return ""


def _checkpoint(key: str, folder: Path, manifest: Mapping[str, Any], found: Mapping[str, Source]) -> Source:
    config, model = manifest["config"], str(manifest["model"])
    decoding = f"avg{manifest['sampled']['k']}" if manifest.get("sampled") else "greedy"
    if trained := _TRAINED.search(model):
        of = found.get(trained[1])
        label = of.label if of else f"weights of run {trained[1][:8]}"
        who = (of.teacher, of.seed, of.cells) if of else (None, None, frozenset())
        return Source(key, "checkpoints", folder, manifest, label, *who, decoding)
    names = [name for name, path in config["models"]["teachers"].items() if path == model]
    if names:
        return Source(key, "checkpoints", folder, manifest, "Teacher", names[0], None, frozenset({TEACHER}), decoding)
    cells = frozenset({BASE} if model == config["models"]["student"] else ())
    label = "Base" if cells else Path(model).name
    return Source(key, "checkpoints", folder, manifest, label, None, None, cells, decoding)


def behind(row: Mapping[str, Any], among: Sequence[Source], by_label: Mapping[str, set[str]]) -> tuple[Source, ...]:
    """Those of `among` that `row` comes from; all of them where the row names nothing that tells them apart."""
    for column in ("runs", "run"):  # a row that says its keys itself
        if isinstance(said := row.get(column, 0), str | None):
            return tuple(s for s in among if s.key in (said or "").split())
    wanted: set[str] = {str(row[c]) for c in ("cell", "reference_cell") if row.get(c)}
    if not wanted:
        wanted = {i for c in ("label", "reference") if row.get(c) for i in by_label.get(str(row[c]), ())}
    kept = [s for s in among if s.cells & wanted] if wanted else list(among)
    if row.get("teacher"):
        kept = [s for s in kept if s.teacher in (None, row["teacher"])]
    if isinstance(row.get("seed"), int):
        kept = [s for s in kept if s.seed in (None, row["seed"])]
    if metric := _DECODED.fullmatch(str(row.get("metric"))):
        decoding = "greedy" if metric[0] == "pass@1" else metric[0].replace("@", "")
        kept = [s for s in kept if (s.decoding or "greedy") == decoding]
    return tuple(kept or among)
