"""Run matrices: a study is cells × teachers × seeds, read from `configs/studies/<name>.yaml`.

A cell is a method with options and overrides. Its `id` is what everything hangs on: its learning rate
(`configs/learning_rates/<tier>.yaml`, made by `studies/learning_rates.py`), its colour, its place as a reference row.
Its `label` is only printed. An id means one cell: two studies that use it say the same of it.

What a run measures beside its training, at a price, a study asks for by `reads`; runs are shared between studies, so a
cell is measured as all studies together read it, and trained once. Left out: running.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from artifact.config import Config, ConfigError, Section, checked, load, load_tier, named_file, read_yaml, tier_names
from artifact.paths import project_root


def learning_rates_path(tier: str) -> Path:
    """Where the learning rates chosen for `tier` are kept."""
    return project_root() / "configs" / "learning_rates" / f"{tier}.yaml"


def read_learning_rates(tier: str) -> dict[str, Any]:
    """The learning rates chosen for `tier` (or the tier it extends) and what was tried, by cell id; empty without any.

    Raises ConfigError for a file of another tier, and for one that the tier's own file says it does not read.
    """
    base = load_tier(tier).base
    path = learning_rates_path(base)
    if not path.is_file():
        return {}
    data = read_yaml(path)
    if data.get("tier") != base:
        raise ConfigError(f"{path}: tier = {data.get('tier')!r}; the file's name says {base!r}: make them agree")
    if load_tier(tier).learning_rates != "chosen":
        raise ConfigError(
            f"{path} exists, but tiers/{tier}.yaml says that the tier's own rate holds; say `learning_rates: chosen` "
            "there, or remove the file"
        )
    return data


Measure = Literal["curve", "component_norms"]

MEASURED_EVERY: dict[Measure, str] = {"curve": "train.curve_every", "component_norms": "train.component_norms_every"}
"""What runs measure only where a study reads it, and the setting by which the tier says how often."""


class Cell(Section):
    """One row of a study: a method with its options and overrides."""

    id: str = Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$", description="what rates, colours and references hang on")
    label: str = Field(min_length=1, description="how it is printed, and nothing else")
    method: str
    options: dict[str, Any] = Field(default_factory=dict)
    overrides: dict[str, Any] = Field(default_factory=dict)
    factors: dict[str, float] = Field(
        default_factory=dict, description="dotted numbers that are multiplied, last of all: one ratio on every tier"
    )
    learning_rate: str | None = Field(
        None, description="None: the rate chosen for this id; `tier`: the tier's own; else the id whose rate holds"
    )


class Study(Section):
    """A run matrix: cells × teachers × seeds, and what it is for."""

    study: str
    title: str
    outputs: tuple[str, ...] = Field(description="ids of the figures and tables it feeds: `artifact plan --output`")
    teachers: tuple[str, ...] | Literal["all"] | dict[str, tuple[str, ...]] = Field(
        "all", description="names, or names by tier, where a tier that is not named has all of its own"
    )
    seeds: tuple[int, ...]
    more_seeds: dict[str, tuple[int, ...]] = Field(
        default_factory=dict, description="by cell: seeds beyond those of the study, for pairs that its claims rest on"
    )
    cells: tuple[Cell, ...]
    reads: dict[Measure, Literal["all"] | tuple[str, ...]] = Field(
        default_factory=dict, description="of which cells its figures read a measure; what no study reads is not taken"
    )
    references: Literal["greedy", "sampled"] | None = Field(
        None, description="how its outputs read the untrained student and the teacher; sampled: by avg@k as well"
    )
    retests: bool = Field(False, description="whether its outputs read the teacher annotated with another seed as well")
    tiers: dict[str, dict[str, Any]] = Field(default_factory=dict, description="dotted overrides for one tier")
    tiers_of: str | None = Field(None, description="the study whose `tiers` hold as well, below its own")
    settings_of: dict[str, str] = Field(
        default_factory=dict, description="by tier: the tier whose settings its runs have there, and stay its runs"
    )
    only_on: tuple[str, ...] = Field(
        (), description="the tiers that its outputs are made on, and those that extend them; none named: any"
    )

    @model_validator(mode="after")
    def _one_meaning_each(self) -> Study:
        for name, values in (("id", [c.id for c in self.cells]), ("label", [c.label for c in self.cells])):
            if twice := [value for value, n in Counter(values).items() if n > 1]:
                raise ValueError(f"study {self.study!r} has the {name} {twice[0]!r} twice; rows need distinct ones")
        if unknown := [i for i in self.more_seeds if i not in {c.id for c in self.cells}]:
            raise ValueError(
                f"more_seeds names {unknown[0]!r}, which is no cell of study {self.study!r}; it has "
                f"{', '.join(c.id for c in self.cells)}"
            )
        if twice := [i for i in self.more_seeds if len({*(seeds := self.seeds_of(i))}) < len(seeds)]:
            raise ValueError(f"more_seeds.{twice[0]} repeats a seed: {list(self.seeds_of(twice[0]))}")
        for measure, ids in self.reads.items():
            if unknown := [i for i in ids if ids != "all" and i not in {c.id for c in self.cells}]:
                raise ValueError(
                    f"reads.{measure} names {unknown[0]!r}, which is no cell of study {self.study!r}; it has "
                    f"{', '.join(c.id for c in self.cells)}"
                )
        by_tier = self.teachers if isinstance(self.teachers, dict) else {}
        taken = dict.fromkeys([*self.settings_of, *self.settings_of.values()])
        for field, named in (
            ("tiers", self.tiers),
            ("teachers", by_tier),
            ("settings_of", taken),
            ("only_on", self.only_on),
        ):
            if unknown := [tier for tier in named if tier not in tier_names()]:
                raise ValueError(f"{field}.{unknown[0]} is no tier; the tiers are {', '.join(tier_names())}")
        return self

    def seeds_of(self, cell: str) -> tuple[int, ...]:
        """The seeds of the cell with this id: those of the study, which all its rows share, then its own."""
        return (*self.seeds, *self.more_seeds.get(cell, ()))

    def is_made_on(self, tier: str) -> bool:
        """Whether its outputs are made on `tier`."""
        return not self.only_on or not {tier, load_tier(tier).base}.isdisjoint(self.only_on)

    def measured(self, measure: Measure) -> set[str]:
        """The ids of the cells of which it reads `measure`."""
        ids = self.reads.get(measure, ())
        return {c.id for c in self.cells} if ids == "all" else set(ids)

    def runs(self, tier: str, overrides: dict[str, Any] | None = None) -> list[tuple[Cell, Config]]:
        """Every run of the study on `tier`, teacher by teacher, then cell, then seed.

        A tier may say that only the first few seeds are run. Later wins: tier file, the learning rate chosen for the
        cell (`configs/learning_rates`), the study's overrides for the tier that it extends and for the tier itself, 0
        for how often a measure is taken of a cell of which no study reads it, the cell's overrides, the caller's. The
        cell's factors multiply what then stands there. Raises ConfigError for a tier it is not made on, a cell without
        a learning rate, a factor on what is no number, and for a caller who overrides what the matrix itself varies.
        Where `settings_of` names another tier, that one's files stand in for those of `tier`, which the runs
        nevertheless belong to.
        """
        fixed = sorted({"teacher", "method", "method_options", "seed"} & {key.split(".")[0] for key in overrides or {}})
        if fixed:
            raise ConfigError(
                f"study {self.study!r} sets {', '.join(fixed)} of every run itself; leave the override(s) out or edit "
                "configs/studies"
            )
        if not self.is_made_on(tier):
            raise ConfigError(
                f"study {self.study!r} is made on {', '.join(self.only_on)} and what extends them, not on {tier!r}: "
                "take one of these with --tier, or another study"
            )
        asked, tier = tier, self.settings_tier(tier)
        facts = load_tier(tier)
        of_tier = {**self.overrides_on(facts.base), **self.overrides_on(tier)}
        wanted = self.teachers.get(facts.base, "all") if isinstance(self.teachers, dict) else self.teachers
        teachers = sorted(load(tier, {**of_tier, **(overrides or {})}).models.teachers) if wanted == "all" else wanted
        rates = {key: entry["lr"] for key, entry in read_learning_rates(tier).get("cells", {}).items()}
        reads_chosen = facts.learning_rates == "chosen"
        studies = [self, *map(load_study, study_names())]
        read = {of: set().union(*(s.measured(of) for s in studies)) for of in MEASURED_EVERY}
        out = []
        for teacher in teachers:
            for cell in self.cells:
                unread = {every: 0 for of, every in MEASURED_EVERY.items() if cell.id not in read[of]}
                layers = {**of_tier, **unread, **cell.overrides, **(overrides or {})}
                if reads_chosen and cell.learning_rate != "tier" and "optimiser.lr" not in layers:
                    layers["optimiser.lr"] = self._chosen_rate(cell, rates, tier)
                for seed in self.seeds_of(cell.id)[: facts.seeds]:
                    chosen = {"teacher": teacher, "method": cell.method, "method_options": cell.options, "seed": seed}
                    config = load(tier, {**layers, **chosen})
                    scaled = {key: self._scaled(cell, config, key, times) for key, times in cell.factors.items()}
                    config = load(tier, {**layers, **chosen, **scaled}) if scaled else config
                    out.append((cell, config.model_copy(update={"tier": asked})))
        return out

    def settings_tier(self, tier: str) -> str:
        """The tier whose files stand in for those of `tier`: named for it, or for the one it extends; else itself."""
        return self.settings_of.get(tier) or self.settings_of.get(load_tier(tier).base, tier)

    def overrides_on(self, tier: str) -> dict[str, Any]:
        """The dotted overrides that name `tier`: those of the study `tiers_of`, then its own."""
        inherited = load_study(self.tiers_of).overrides_on(tier) if self.tiers_of else {}
        return {**inherited, **self.tiers.get(tier, {})}

    def _scaled(self, cell: Cell, config: Config, key: str, times: float) -> float:
        """The number at `key`, multiplied; a count is rounded and stays at least 1."""
        value: Any = config.model_dump()
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(
                f"study {self.study!r}, cell {cell.id!r}: factors.{key} would multiply {value!r}, which is no number "
                f"on tier {config.tier!r}; name a setting that has one, or set it under `tiers`"
            )
        return max(1, round(value * times)) if isinstance(value, int) else value * times

    def _chosen_rate(self, cell: Cell, rates: dict[str, float], tier: str) -> float:
        wanted = cell.learning_rate or cell.id
        if wanted not in rates:
            raise ConfigError(
                f"study {self.study!r}, cell {cell.id!r}: no learning rate was chosen for {wanted!r} on tier {tier!r}; "
                f"run `artifact select-learning-rates --study {self.study} --tier {tier}`, or give the cell "
                "`learning_rate: tier` (the tier's own) or the id of a cell whose rate it shall have"
            )
        return rates[wanted]


def study_names() -> list[str]:
    """The studies of `configs/studies/`, in alphabetical order."""
    return sorted(p.stem for p in (project_root() / "configs" / "studies").glob("*.yaml"))


def studies_made_on(tier: str) -> list[str]:
    """Those of them whose outputs are made on `tier`."""
    return [name for name in study_names() if load_study(name).is_made_on(tier)]


def load_study(name: str) -> Study:
    """The study `configs/studies/<name>.yaml`; an unknown name is an error that lists the right ones."""
    path = named_file("studies", name, "study")
    return _checked_study(path, path.read_bytes(), tier_names())


@lru_cache(maxsize=256)
def _checked_study(path: Path, content: bytes, tiers: tuple[str, ...]) -> Study:
    """The study in the file `path`, checked once for what it holds and the `tiers` there are."""
    return checked(Study, read_yaml(path), path.name)


def settings_borrowed(tier: str) -> list[str]:
    """The other tiers whose settings some study takes for its runs on `tier`."""
    return sorted({load_study(name).settings_tier(tier) for name in studies_made_on(tier)} - {tier})
