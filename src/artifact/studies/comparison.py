"""Several studies side by side: one matrix of all their methods under one set of settings.

Runs are cached by what they are, not by which study asks for them, so that a method which two studies share is trained
once. Left out: running.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from artifact.config import Config, ConfigError
from artifact.studies.annotate import annotate, teacher_samples
from artifact.studies.study import MEASURED_EVERY, Cell, Study, load_study


def same_cell(a: Cell, b: Cell) -> bool:
    """True where `a` and `b` train the same: all but the printed label agrees."""
    return a.model_copy(update={"label": b.label}) == b


def merge_studies(names: Sequence[str], order: Sequence[str]) -> Study:
    """The cells of several studies as one study, the cells of the ids in `order`, every id once.

    Raises ConfigError for an id that means different things, one that no study has, or studies with other teachers or
    seeds.
    """
    studies = [load_study(name) for name in names]
    first = studies[0]
    cells: dict[str, Cell] = {}
    for study in studies:
        if (study.teachers, study.seeds) != (first.teachers, first.seeds):
            raise ConfigError(
                f"studies {first.study!r} and {study.study!r} have other teachers or seeds; rows of one table must "
                "share them: edit configs/studies"
            )
        for cell in study.cells:
            if not same_cell(cells.setdefault(cell.id, cell), cell):
                raise ConfigError(f"id {cell.id!r} is another cell in study {study.study!r}; rename one")
    if missing := [i for i in order if i not in cells]:
        raise ConfigError(f"no study of {', '.join(names)} has the row(s) {missing}; there are {', '.join(cells)}")
    return Study(
        study="-".join(names),
        title=first.title,
        outputs=tuple(dict.fromkeys(o for s in studies for o in s.outputs)),
        teachers=first.teachers,
        seeds=first.seeds,
        more_seeds={i: tuple(more) for i in order if (more := _more_seeds(studies, i))},
        cells=tuple(cells[i] for i in order),
        reads={of: tuple(i for i in order if any(i in s.measured(of) for s in studies)) for of in MEASURED_EVERY},
        tiers=first.tiers,
        tiers_of=first.tiers_of,
    )


def _more_seeds(studies: Sequence[Study], cell: str) -> list[int]:
    """The seeds that any of the studies gives to a cell beyond those they share."""
    return list(dict.fromkeys(seed for s in studies for seed in s.more_seeds.get(cell, ())))


def annotation_tokens(configs: Mapping[str, Config]) -> dict[str, float]:
    """Tokens of phase 1's N samples per problem, by teacher; `configs` holds one configuration per teacher.

    Annotates first where that was not done.
    """
    out = {}
    for teacher, config in configs.items():
        out[teacher] = float(teacher_samples(annotate(config), config.annotation.samples).tokens())
    return out


def run_settings(planned: Iterable[tuple[Cell, Config]]) -> pd.DataFrame:
    """What a method of a study is set to and reads, for `report.tables.compute_budget`; one row per planned run.

    Columns: cell (its id), teacher, prompts_per_step, reads_annotation (phase 1's weights or samples), reads_gold,
    uses_teacher (`yes`, `self`: the frozen initial student, `no`).
    """
    rows = []
    for cell, config in planned:
        needs = config.make_method().needs
        rows.append(
            {
                "cell": cell.id,
                "teacher": config.teacher,
                "prompts_per_step": config.train.prompts_per_step,
                "reads_annotation": needs.annotation,
                "reads_gold": needs.gold,
                "uses_teacher": "self" if needs.self_teacher else "yes" if needs.teacher or needs.annotation else "no",
            }
        )
    return pd.DataFrame(rows)


def setting_values(planned: Iterable[tuple[Cell, Config]], name: str) -> dict[str, Any]:
    """The value of one setting in every cell of a study, by cell id, for the axis of an ablation.

    name  dotted, of a configuration (`annotation.samples`, `losses.contrast.beta_in_force`), or of the method's options
          with their defaults (`options.alpha`)
    Raises ConfigError for a name that is not there, and where it differs between the runs of a cell.
    """
    values: dict[str, Any] = {}
    for cell, config in planned:
        value: Any = config.make_method() if name.startswith("options.") else config
        for part in name.split("."):
            if not hasattr(value, part):
                raise ConfigError(f"cell {cell.id!r} has no setting {name!r}: there is no {part!r} in it")
            value = getattr(value, part)
        if values.setdefault(cell.id, value) != value:
            raise ConfigError(f"cell {cell.id!r}: {name} is {values[cell.id]!r} in one run and {value!r} in another")
    return values


def reads_gold(planned: Iterable[tuple[Cell, Config]]) -> dict[str, bool]:
    """Whether a cell reads ground-truth answers or solutions while training, by id: the mark every comparison shows."""
    return {cell.id: config.make_method().needs.gold for cell, config in planned}
