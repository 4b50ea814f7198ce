"""A stored run, opened for looking: its problems, its tokenizer, its annotation, its token records.

Nothing is made: what the run or its teacher's phase 1 did not leave is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from artifact.config import Config
from artifact.errors import ArtifactError
from artifact.paths import results_dir
from artifact.phase1.records import Annotation
from artifact.records import Problem, read_parquet
from artifact.studies import keys, store
from artifact.studies.annotate import clustering_settings
from artifact.studies.inputs import tokenizer_of
from artifact.studies.results import stored_folder, stored_problems
from artifact.studies.runner import RunInfo
from artifact.train.token_records import TokenRecord

SAME_SAMPLES = ("temperature", "top_p", "max_new_tokens", "seed")
"""Settings of phase 1 in which an annotation agrees with the run that it is shown beside."""


@dataclass(frozen=True)
class Opened:
    """The finished run in `folder`."""

    folder: Path

    @property
    def key(self) -> str:
        """The run's key."""
        return self.folder.name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the run is (`store.finished`)."""
        return store.finished(self.folder)

    @cached_property
    def config(self) -> Config:
        """The run's configuration."""
        return Config.model_validate(self.manifest["config"])

    @property
    def label(self) -> str:
        """The run in words."""
        c = self.config
        return f"{c.method}, teacher {c.teacher}, seed {c.seed}"

    @cached_property
    def tokenizer(self) -> Any:
        """The student's tokenizer, stored with its weights."""
        store.files(self.folder, "weights/tokenizer*.json")
        return tokenizer_of(str(self.folder / "weights"))

    @cached_property
    def _piece(self) -> dict[int, str]:
        return {}

    def piece(self, token: int) -> str:
        """What one token is written as."""
        if token not in self._piece:
            self._piece[token] = self.tokenizer.decode([token], skip_special_tokens=False)
        return self._piece[token]

    @cached_property
    def _problems(self) -> dict[str, dict[str, Problem]]:
        return {}

    def problems(self, split: str) -> dict[str, Problem]:
        """The problems of a split, by id."""
        if split not in self._problems:
            self._problems[split] = stored_problems(self.folder, self.config.task, split)
        return self._problems[split]

    @cached_property
    def annotations(self) -> Mapping[str, Annotation]:
        """What phase 1 found out about the run's teacher, by problem id; {} where no stored annotation is the run's."""
        folder = annotation_beside(self.config)
        if folder is None:
            return {}
        return {a.problem_id: a for a in read_parquet(store.file(folder, "annotations.parquet"), Annotation)}

    @cached_property
    def records(self) -> dict[tuple[int, str], list[TokenRecord]]:
        """The token records by (step, problem id); {} for a run that recorded none."""
        found: dict[tuple[int, str], list[TokenRecord]] = {}
        for path in store.files(self.folder, "tokens/step-*.parquet"):
            for r in read_parquet(path, TokenRecord):
                found.setdefault((r.step, r.problem_id), []).append(r)
        return found


def opened(run: RunInfo | Opened | str | Path) -> Opened:
    """A finished run by its `RunInfo`, key or folder. ArtifactError where it is none."""
    if isinstance(run, Opened):
        return run
    folder = run.folder if isinstance(run, RunInfo) else stored_folder(run)
    kind = store.finished(folder).get("kind")
    if kind != "runs":
        raise ArtifactError(f"{folder} is of kind {kind!r}; rollouts are looked at in a run (results/runs/<key>)")
    return Opened(folder)


def annotation_beside(config: Config) -> Path | None:
    """The stored annotation of the run's teacher on its problems, sampled and clustered as the run's settings say."""
    a = config.annotation
    wanted = keys.settings(config, "task")["task"], clustering_settings(config)
    for manifest in sorted((results_dir() / "annotations").glob(f"*/{store.MANIFEST}")):
        stated = store.finished(manifest.parent)
        settings = stated["settings"]
        same = stated["model"] == config.teacher_path and all(settings[n] == getattr(a, n) for n in SAME_SAMPLES)
        clustered = {name: settings.get(name) for name in wanted[1]}
        if same and (settings["task"], clustered) == wanted and settings["draw"] == (a.draw or a.samples):
            return manifest.parent
    return None
