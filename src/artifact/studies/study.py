"""Run matrices: a study is cells × teachers × seeds, read from `configs/studies/<name>.yaml`.

A cell is a method with options and overrides. The learning rate of a cell is the one chosen for its label
(`configs/learning_rates/<tier>.yaml`, made by `studies/learning_rates.py`) where one was chosen. Left out: running.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from artifact.config import Config, ConfigError, Section, checked, load, named_file, read_yaml
from artifact.paths import project_root


def learning_rates_path(tier: str) -> Path:
    """Where the learning rates chosen for `tier` are kept."""
    return project_root() / "configs" / "learning_rates" / f"{tier}.yaml"


def read_learning_rates(tier: str) -> dict[str, Any]:
    """The chosen learning rates of `tier` and what was tried; empty where none were chosen (the tier's own holds)."""
    path = learning_rates_path(tier)
    return read_yaml(path) if path.is_file() else {}


class Cell(Section):
    """One row of a study: a method with its options and overrides."""

    label: str
    method: str
    options: dict[str, Any] = Field(default_factory=dict)
    overrides: dict[str, Any] = Field(default_factory=dict)


class Study(Section):
    """A run matrix: cells × teachers × seeds, and what it is for."""

    study: str
    title: str
    outputs: tuple[str, ...] = Field(description="ids of the figures and tables it feeds")
    teachers: tuple[str, ...] | Literal["all"] = "all"
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    tiers: dict[str, dict[str, Any]] = Field(default_factory=dict, description="dotted overrides for one tier")

    def runs(self, tier: str, overrides: dict[str, Any] | None = None) -> list[tuple[Cell, Config]]:
        """Every run of the study on `tier`, teacher by teacher, then cell, then seed.

        Later wins: tier file, the learning rate chosen for the cell's label (`configs/learning_rates`), the study's
        overrides for the tier, the cell's, the caller's. A caller cannot override what the matrix itself varies: that
        raises ConfigError.
        """
        fixed = sorted({"teacher", "method", "method_options", "seed"} & {key.split(".")[0] for key in overrides or {}})
        if fixed:
            raise ConfigError(
                f"study {self.study!r} sets {', '.join(fixed)} of every run itself; leave the override(s) out or edit "
                "configs/studies"
            )
        base = {**self.tiers.get(tier, {}), **(overrides or {})}
        teachers = sorted(load(tier, base).models.teachers) if self.teachers == "all" else self.teachers
        rates = read_learning_rates(tier).get("cells", {})
        out = []
        for teacher in teachers:
            for cell in self.cells:
                rate = {"optimiser.lr": rates[cell.label]["lr"]} if cell.label in rates else {}
                for seed in self.seeds:
                    chosen = {"teacher": teacher, "method": cell.method, "method_options": cell.options, "seed": seed}
                    layers = {**rate, **self.tiers.get(tier, {}), **cell.overrides, **(overrides or {}), **chosen}
                    out.append((cell, load(tier, layers)))
        return out


def load_study(name: str) -> Study:
    """The study `configs/studies/<name>.yaml`; an unknown name is an error that lists the right ones."""
    path = named_file("studies", name, "study")
    return checked(Study, read_yaml(path), path.name)
