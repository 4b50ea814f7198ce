"""What may be known of data and models without asking the network: a plan answers in seconds wherever it is made."""

from __future__ import annotations

from collections.abc import Sequence

from artifact.config import Config, TaskSection
from artifact.errors import ArtifactError
from artifact.models import snapshot
from artifact.paths import local_model
from artifact.studies.annotate import used_judge
from artifact.studies.inputs import problems_of, readings, task_of
from artifact.studies.suremath import data_folder, unbuilt
from artifact.tasks.hub import FromSources, at_hand
from artifact.tasks.slices import name_and_slice


def absent_splits(config: Config, splits: Sequence[str]) -> list[str]:
    """Those of `splits` whose problems would have to be fetched, are not built yet, or are of no known task."""

    def here(split: str) -> bool:
        try:
            return _at_hand(config.task, split)
        except ArtifactError:
            return False

    return [split for split in splits if not here(split)]


def absent_models(config: Config) -> list[str]:
    """The models of a run that are on this machine neither as a folder nor in the hub's cache."""
    judge = used_judge(config) if config.make_method().needs.annotation else None
    models = (config.models.student, config.teacher_path, *([judge] if judge else []))
    return [m for m in models if not is_here(m)]


def absent(config: Config) -> list[str]:
    """What a run reads and this machine does not have: models, and splits."""
    splits = absent_splits(config, [reading.split for reading in readings(config)])
    return absent_models(config) + [f"{config.task.name}/{split}" for split in splits]


def is_here(model: str) -> bool:
    """Whether a model can be read on this machine."""
    try:
        return local_model(model) is not None or bool(snapshot(model, download=False))
    except (ArtifactError, FileNotFoundError):
        return False


def problem_count(config: Config, split: str) -> tuple[int | None, str]:
    """How many problems `split` (or "train", the training split) holds under the task's limits.

    At most as many as the data set is known to have, or will have where it is built first (`build-suremath`): so a plan
    says the same on every machine. Where nobody knows, as many as are on this machine; None with the reason where there
    are none.
    """
    limit = config.task.train_limit if split == "train" else config.evaluation.limit
    name = config.task.train_split if split == "train" else split
    try:
        stated = _stated_rows(config, name)
        if stated is not None:
            return min(stated, limit or stated), ""
        if _at_hand(config.task, name):
            return len(problems_of(config.task, name, limit)), ""
    except (ArtifactError, FileNotFoundError, ImportError, ValueError) as err:
        return limit, str(err).splitlines()[0]
    return limit, "its data is not on this machine"


def _at_hand(section: TaskSection, split: str) -> bool:
    """Whether the problems of a split can be read here; a task that reads no source makes its own."""
    task = task_of(section)
    return not isinstance(task, FromSources) or at_hand(task.source_of(name_and_slice(split)[0]), task.data_dir)


def _stated_rows(config: Config, split: str) -> int | None:
    """Rows that a split is known to have, or to get, under its slice; None where nobody says."""
    task, (name, part) = task_of(config.task), name_and_slice(split)
    if not isinstance(task, FromSources):
        return None
    source, settings = task.source_of(name), unbuilt(config)
    rows = source.hub_rows if source.hub else source.rows  # of what may be fetched; a local file may be a part of it
    if rows is None and settings is not None and source.local.startswith(f"{data_folder(settings).name}/"):
        rows = settings.sizes.get(source.local.split("/")[-1])
    return None if rows is None else len(range(rows)[part])
