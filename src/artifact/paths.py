"""Where things lie: the project root, the folders below it, and models. One place, so that no other file guesses."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from artifact.errors import ArtifactError
from artifact.models import snapshot


class ProjectNotFound(ArtifactError):
    """The project's folders cannot be located."""


def project_root() -> Path:
    """The folder that holds `configs/` and `models/`.

    `ARTIFACT_ROOT` decides where set; otherwise the nearest ancestor of the working directory or of this file that has
    a `configs/tiers` folder. Raises ProjectNotFound otherwise.
    """
    override = os.environ.get("ARTIFACT_ROOT", "")
    return _root(override, "" if os.path.isabs(override) else os.getcwd())


@lru_cache(maxsize=64)
def _root(override: str, working: str) -> Path:
    """`project_root` in the directory `working`: kept, for it is asked for with every file that is read."""
    if override:
        return Path(working, override).resolve()
    for start in (Path(__file__).resolve(), Path(working).resolve()):
        for folder in (start, *start.parents):
            if (folder / "configs" / "tiers").is_dir():
                return folder
    raise ProjectNotFound(
        "no folder with configs/tiers above the package or the working directory; run from a clone of the "
        "repository or set ARTIFACT_ROOT to one"
    )


def results_dir() -> Path:
    """Where runs, annotations, tables and executed notebooks go: `$ARTIFACT_RESULTS` or `results/` of the project."""
    return Path(os.environ.get("ARTIFACT_RESULTS") or project_root() / "results").resolve()


def figures_dir() -> Path:
    """Where figures go: `$ARTIFACT_FIGURES` or `figures/` of the project."""
    return Path(os.environ.get("ARTIFACT_FIGURES") or project_root() / "figures").resolve()


def published(path: str | Path) -> str:
    """`path` as anyone may read it: relative to the project, below `results` or `figures`, else its last name alone.

    What is not absolute (a hub id, a path relative to the project) stays as it is.
    """
    given = Path(path)
    if not given.is_absolute():
        return str(path)
    for folder, name in ((results_dir(), "results"), (figures_dir(), "figures"), (project_root(), "")):
        if given.is_relative_to(folder):
            return (Path(name) / given.relative_to(folder)).as_posix()
    return given.name


def resolve_model(path: str) -> str:
    """The folder of a model: a local one (absolute, or relative to the project), or the snapshot of a hub id.

    A value that looks like a path (starts with `.`, `/` or `models/`) must exist: FileNotFoundError says what to do.
    ModelAbsent, which is one, for a hub id that is not in the cache and cannot be fetched.
    """
    candidate = local_model(path)
    return str(snapshot(path).folder if candidate is None else candidate)


def local_model(path: str) -> Path | None:
    """The local folder that `path` means, None where it is a hub id. Raises FileNotFoundError as `resolve_model`."""
    candidate = Path(path) if Path(path).is_absolute() else project_root() / path
    if candidate.is_dir():
        if not (candidate / "config.json").is_file():
            raise FileNotFoundError(f"model folder {candidate} has no config.json: is it a Hugging Face model folder?")
        return candidate
    if path.startswith((".", "/", "models/")):
        raise FileNotFoundError(
            f"model folder {candidate} does not exist; `artifact make-models` makes those of the tiny tier and "
            "`artifact fetch-models` those of cpu-llm; for others correct `models.student` or `models.teachers` in the "
            "tier's YAML"
        )
    return None
