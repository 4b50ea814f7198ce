"""Learning rates: one grid, one rule, one split for every method, and the choice is kept where all can see it.

Each cell of a study is trained once per rate on the grid, under one teacher and with a seed no study uses, and measured
greedily on the *validation* split. The rate with the highest accuracy is taken; of equal ones the smallest. A winner at
the edge of what was tried might lose to a rate beyond it, so that cell's grid grows by one step there, at most
`EXTENSIONS` times. The choice, with every accuracy and run key behind it, is written to
`configs/learning_rates/<tier>.yaml`, which `Study.runs` reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from artifact.config import ConfigError, load, load_tier
from artifact.files import write_text
from artifact.stats.interval import wilson_interval
from artifact.studies import results
from artifact.studies.runner import run_study
from artifact.studies.study import Cell, Study, learning_rates_path, load_study, read_learning_rates

SEED = 1000
"""The seed of the selection runs; no study may use it."""

RULE = (
    "highest greedy accuracy on the validation split; of equal ones the smallest rate; a winner at the edge of its "
    "grid extends it, at most twice"
)
EXTENSIONS = 2


def selection_study(study: Study, tier: str, rates: Mapping[str, Sequence[float]]) -> Study:
    """The cells of `study`, each at the rates of its id, on the validation split, without curves."""
    measured = load(tier).evaluation.validation
    cells = [
        Cell(
            id=f"{cell.id}.lr-{rate:g}",
            label=f"{cell.label} @ {rate:g}",
            method=cell.method,
            options=cell.options,
            overrides={**cell.overrides, "optimiser.lr": rate, "evaluation.final": [measured], "train.curve_every": 0},
            factors=cell.factors,
        )
        for cell in study.cells
        for rate in rates.get(cell.id, ())
    ]
    teacher = load(tier).teacher
    return Study(
        study=f"{study.study}-learning-rates",
        title="Choice of learning rates",
        outputs=(),
        teachers=(teacher,),
        seeds=(SEED,),
        cells=tuple(cells),
        tiers=study.tiers,
        tiers_of=study.tiers_of,
    )


def select(
    study: str, tier: str, rates: Sequence[float], overrides: dict[str, Any] | None = None, progress: bool = True
) -> Path:
    """Run the grid, choose a rate for each cell of `study`, add the choices to the tier's file; returns its path."""
    chosen = load_study(study)
    if taken := sorted({"optimiser.lr", "evaluation.final", "train.curve_every"} & set(overrides or {})):
        raise ConfigError(f"the selection sets {', '.join(taken)} of its runs itself; leave the override(s) out")
    if (base := load_tier(tier).base) != tier:
        raise ConfigError(f"tier {tier!r} has the rates of tier {base!r}, which it extends; choose them there")
    if load_tier(tier).learning_rates != "chosen":
        raise ConfigError(
            f"tier {tier!r} does not read chosen rates: say `learning_rates: chosen` in configs/tiers/{tier}.yaml first"
        )
    if any(SEED in chosen.seeds_of(cell.id) for cell in chosen.cells):
        raise ConfigError(f"study {study!r} uses seed {SEED}, which is kept for choosing learning rates; use another")
    tried: dict[str, list[dict[str, Any]]] = {cell.id: [] for cell in chosen.cells if cell.learning_rate is None}
    if not tried:
        raise ConfigError(f"every cell of study {study!r} says whose learning rate it has: there is none to choose")
    wanted = {cell_id: sorted(rates) for cell_id in tried}
    for _ in range(1 + EXTENSIONS):
        grid = [(cell_id, rate) for cell_id in tried for rate in wanted[cell_id]]
        infos = run_study(selection_study(chosen, tier, wanted), tier, overrides, progress=progress)
        for (cell_id, rate), info in zip(grid, infos, strict=True):
            correct = results.evaluation_frame([info])["correct"]
            outcome = {"correct": int(correct.sum()), "problems": len(correct), "run": info.key}
            tried[cell_id] = sorted([*tried[cell_id], {"lr": float(rate), **outcome}], key=lambda t: t["lr"])
        wanted = {cell_id: _beyond_the_edge(outcomes) for cell_id, outcomes in tried.items()}
        if not any(wanted.values()):
            break
    entries = read_learning_rates(tier).get("cells", {})
    for cell_id, outcomes in tried.items():
        entries[cell_id] = {"lr": _best(outcomes)["lr"], "tried": outcomes}
        entries[cell_id] |= {"overrides": overrides} if overrides else {}
    write(tier, entries)
    return learning_rates_path(tier)


def _best(tried: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return max(tried, key=lambda t: (t["correct"] / t["problems"], -t["lr"]))


def _beyond_the_edge(tried: Sequence[dict[str, Any]]) -> list[float]:
    """The next rate in geometric progression where the best of `tried` (sorted) is its first or last; else none."""
    rates = [t["lr"] for t in tried]
    at = rates.index(_best(tried)["lr"])
    if len(rates) < 2 or 0 < at < len(rates) - 1:
        return []
    neighbour = rates[1] if at == 0 else rates[-2]
    return [float(f"{rates[at] ** 2 / neighbour:.2g}")]


def write(tier: str, entries: dict[str, Any]) -> None:
    """Write the tier's file, with the rule on top."""
    path = learning_rates_path(tier)
    head = (
        f"# Learning rates of tier {tier}, made by `artifact select-learning-rates`; do not edit by hand.\n"
        f"# Rule: {RULE}.\n"
    )
    data = {
        "tier": tier,
        "teacher": load(tier).teacher,
        "seed": SEED,
        "split": load(tier).evaluation.validation,
        "cells": entries,
    }
    write_text(path, head + yaml.safe_dump(data, sort_keys=False))


def selection_table(tier: str, cells: Sequence[Cell]) -> pd.DataFrame:
    """What was tried for each of `cells`, and the rate that was chosen; cells without a grid are left out."""
    rows = []
    entries = read_learning_rates(tier).get("cells", {})
    for cell in cells:
        entry = entries.get(cell.id, {"tried": []})
        for t in entry["tried"]:
            interval = wilson_interval(t["correct"], t["problems"])
            rows.append(
                {
                    "cell": cell.id,
                    "label": cell.label,
                    "lr": t["lr"],
                    "problems": t["problems"],
                    "accuracy": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "chosen": t["lr"] == entry["lr"],
                    "run": t["run"],
                }
            )
    columns = ["cell", "label", "lr", "problems", "accuracy", "low", "high", "chosen", "run"]
    return pd.DataFrame(rows, columns=columns)
