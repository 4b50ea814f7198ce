"""The builder's settings: `configs/suremath/<name>.yaml` as one typed, immutable model; unknown keys are refused.

Left out: the teacher's sampling for the published entropies, which is phase 1 of a tier (`config.Annotation`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from artifact.config import ConfigError, Section, apply_overrides, checked, explain, named_file, read_extended
from artifact.worlds.tiny.problems import DIFFICULTIES

Difficulty = Literal["easy", "medium", "hard", "competition"]
Strategy = Literal["harder", "rewrite", "algebraize", "apply", "compose", "competition"]


class ProblemSource(Section):
    """Where problems come from: a registered task's split, a local file, a hub id, or the embedded world itself.

    `where` keeps the rows whose field has that value. Without a fixed `difficulty`, `difficulty_field` is read.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="lower-case; the prefix of its problems' ids")
    kind: Literal["task", "file", "hub", "tinyworld"]
    difficulty: Difficulty | None = Field(None, description="difficulty of all its problems; None = each row says")
    difficulty_field: str = "difficulty"
    task: str = Field("tinymath", description="the registered task its problems belong to")
    split: str = "train"
    path: str | None = Field(None, description="JSONL or Parquet file, absolute or relative to the project")
    hub: str | None = Field(None, description="dataset id on the hub")
    config: str | None = None
    revision: str | None = Field(None, description="pin of the hub's dataset; None = newest, which is not reproducible")
    question_field: str = "question"
    answer_field: str | None = Field("answer", description="None = the source has no final answers")
    solution_field: str | None = "solution"
    answer_from_solution: bool = Field(False, description="extract the answer from the solution's box or #### line")
    where: dict[str, str | int] = Field(default_factory=dict)
    limit: int | None = Field(None, ge=1)
    license: str = "unknown"

    @model_validator(mode="after")
    def _complete(self) -> ProblemSource:
        needed = {"file": "path", "hub": "hub"}.get(self.kind)
        if needed and getattr(self, needed) is None:
            raise ValueError(f"source {self.name!r} of kind {self.kind!r} needs the key {needed!r}")
        if self.kind == "tinyworld" and (self.difficulty is None or self.limit is None):
            raise ValueError(f"source {self.name!r} of kind 'tinyworld' needs a difficulty and a limit: it never ends")
        return self


class Curated(Section):
    """The curated problems with verified answers: `test` and `validation` held out, the rest goes to training
    (Section 4.1).
    """

    sources: tuple[ProblemSource, ...] = Field(min_length=1)
    size: int = Field(1000, ge=1)
    test: int = Field(200, ge=1)
    validation: int = Field(0, ge=0, description="held out for choosing settings; 0 = there is no such split")

    @model_validator(mode="after")
    def _smaller(self) -> Curated:
        if self.test + self.validation >= self.size:
            raise ValueError(
                f"curated.test = {self.test} and curated.validation = {self.validation} together must be smaller than "
                f"curated.size = {self.size}"
            )
        return self


class Generation(Section):
    """What evolves the problems. `procedural` knows the embedded world only; `llm` samples a chat model with vLLM."""

    kind: Literal["procedural", "llm"]
    model: str | None = Field(None, description="checkpoint of the language model")
    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(2048, ge=1)
    batch: int = Field(500, ge=1, description="proposals a shard: what a killed build loses at most")

    @model_validator(mode="after")
    def _named(self) -> Generation:
        if self.kind == "llm" and self.model is None:
            raise ValueError("generator.kind 'llm' needs the key 'model'")
        return self


class Evolution(Section):
    """Rounds by the seed's difficulty, and how strategies are drawn. The draft gives no weights: these rise with it."""

    rounds: dict[Difficulty, int]
    weights: dict[Difficulty, dict[Strategy, float]]
    size: int | None = Field(None, ge=1, description="evolved problems to keep, drawn evenly from all that pass")

    @model_validator(mode="after")
    def _all_difficulties(self) -> Evolution:
        for name, table in (("rounds", self.rounds), ("weights", self.weights)):
            missing = [d for d in DIFFICULTIES if d not in table]
            if missing:
                raise ValueError(f"evolution.{name} lacks the difficulties {', '.join(missing)}")
        for difficulty, weights in self.weights.items():
            if min(weights.values()) < 0 or sum(weights.values()) <= 0:
                raise ValueError(
                    f"evolution.weights.{difficulty} = {weights} must not be negative and must have a positive sum"
                )
        for difficulty, rounds in self.rounds.items():
            if rounds < 1:
                raise ValueError(f"evolution.rounds.{difficulty} = {rounds}: at least 1")
        return self


class Filters(Section):
    """What is kept. Lengths in characters, shares in [0, 1]."""

    min_chars: int = Field(8, ge=1)
    max_chars: int = Field(4000, ge=1)
    near_duplicate: float = Field(0.8, gt=0, le=1, description="Jaccard similarity of word 5-gram shingles")
    ngram: int = Field(8, ge=2, description="words of a benchmark item that must not be found in a row")
    long_ngram: int = Field(13, ge=2, description="the same for a benchmark item of more than `long_words` words")
    long_words: int = Field(50, ge=1)
    boilerplate_items: int = Field(
        2, ge=1, description="an n-gram found in more benchmark items than this is a phrase of the trade, no evidence"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Filters:
        if self.min_chars > self.max_chars:
            raise ValueError(f"filters.min_chars = {self.min_chars} exceeds max_chars = {self.max_chars}")
        return self


class Labels(Section):
    """Answers by agreement: the majority class of the labeller's samples must hold this share of them.

    `subject` says who must pass: `all`, only the problems without ground truth (`model`), or nobody (`none`).
    """

    name: str = Field(description="which model labels; stored and printed on the card")
    subject: Literal["all", "model", "none"] = "all"
    min_share: float = Field(0.5, gt=0, le=1)
    batch: int = Field(250, ge=1, description="problems per shard")


class SureMathSettings(Section):
    """The whole builder."""

    name: str
    description: str = ""
    tier: str = Field(description="the artifact's tier that made it: tiny, cpu-llm, single-gpu or paper")
    version: str = "1.0.0"
    license: str = "apache-2.0"
    creator: str = "Anonymous authors"
    url: str = Field("", description="where the release lies; Croissant wants one, so set it before a public release")
    published: str = Field(
        "2026-01-01", pattern=r"^\d{4}-\d{2}-\d{2}$", description="a setting: bytes must not depend on the day"
    )
    seed: int = Field(0, ge=0)
    curated: Curated
    seeds: tuple[ProblemSource, ...] = Field(min_length=1)
    benchmarks: tuple[ProblemSource, ...] = Field(min_length=1)
    generator: Generation
    evolution: Evolution
    filters: Filters = Filters()
    labels: Labels
    rows_per_shard: int = Field(5000, ge=1)

    @model_validator(mode="after")
    def _names_differ(self) -> SureMathSettings:
        for what, sources in (
            ("seeds", self.seeds),
            ("benchmarks", self.benchmarks),
            ("curated", self.curated.sources),
        ):
            names = [s.name for s in sources]
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{what}: source name(s) {', '.join(twice)} used twice; names prefix the problem ids")
        return self

    @property
    def proposals(self) -> int | None:
        """How many problems the generator is asked for at most; None where a seed source has no limit or no single
        difficulty.
        """
        asked = 0
        for source in self.seeds:
            if source.limit is None or source.difficulty is None:
                return None
            asked += source.limit * self.evolution.rounds[source.difficulty]
        return asked

    @property
    def sizes(self) -> dict[str, int | None]:
        """How many problems each split has at most, before it is built (Section 4.1: 800 curated and 8,000 evolved)."""
        held_out = self.curated.test + self.curated.validation
        evolved = [n for n in (self.evolution.size, self.proposals) if n is not None]
        train = self.curated.size - held_out + min(evolved) if evolved else None
        return {"train": train, "test": self.curated.test, "validation": self.curated.validation}


def settings_path(name: str) -> Path:
    """`configs/suremath/<name>.yaml`, or `name` itself where it is a YAML file. ConfigError lists the known ones."""
    own = Path(name)
    if own.suffix in (".yaml", ".yml") and own.is_file():
        return own
    return named_file("suremath", name, "SURE-Math settings")


def load_settings(name: str, overrides: dict[str, Any] | None = None) -> SureMathSettings:
    """The settings `name` with dotted `overrides` applied. ConfigError: one line per problem, with the nearest name."""
    path = settings_path(name)
    overrides = overrides or {}
    data = apply_overrides(read_extended(path), overrides)
    data.pop("extends", None)
    lines = _source_problems(data, path.name)  # first: inside a list the general message cannot name the right keys
    if lines:
        raise ConfigError("\n".join(lines))
    return checked(SureMathSettings, data, path.name, overrides)


def _source_problems(data: dict[str, Any], origin: str) -> list[str]:
    curated = data.get("curated")
    lists = {"seeds": data.get("seeds"), "benchmarks": data.get("benchmarks")}
    lists["curated.sources"] = curated.get("sources") if isinstance(curated, dict) else None
    lines = []
    for where, entries in lists.items():
        for i, entry in enumerate(entries if isinstance(entries, list) else ()):
            try:
                ProblemSource.model_validate(entry)
            except ValidationError as err:
                lines.append(explain(err, ProblemSource, f"{origin}: {where}[{i}]"))
    return lines
