"""What became of every problem: the builder's report, as counts that add up.

`funnel` has a row for each (stage, difficulty of the seed, strategy, reason) with the number dropped there; `kept` the
survivors by split, difficulty and strategy. `check` refuses a report in which a proposal is neither kept nor dropped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from artifact.files import read_json, write_text
from artifact.records import RecordError
from artifact.suremath.lineage import Dropped, Evolved

STAGES = ("sources", "curated", "seeds", "evolve", "well_formed", "decontaminate", "duplicates", "solvable", "size")
"""In order. The first three are about what goes in (rows, curated problems, seeds), the others about proposals."""

PROPOSAL_STAGES = STAGES[3:]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The outcome of a build. Counts only; the problems themselves lie in the build's Parquet files.

    curated, test, validation, seeds, proposed, evolved, train   numbers of problems (train = curated part + evolved)
    funnel     dropped: stage, seed_difficulty, strategy, reason, n
    kept       survivors: split, difficulty, seed_difficulty, strategy, answer_source, n
    sources    of seeds and curated problems: role, source, usable, dropped
    overlaps   dropped for an overlap: stage, source, benchmark, reason, n
    benchmarks items in each benchmark
    """

    name: str
    generator: str
    labeller: str
    curated: int
    test: int
    seeds: int
    proposed: int
    evolved: int
    train: int
    funnel: tuple[dict[str, Any], ...]
    kept: tuple[dict[str, Any], ...]
    sources: tuple[dict[str, Any], ...]
    overlaps: tuple[dict[str, Any], ...]
    benchmarks: dict[str, int]
    validation: int = 0
    seconds: dict[str, float] = field(default_factory=dict, compare=False)

    def check(self) -> None:
        """RecordError unless every proposal was either kept or dropped, once."""
        lost = sum(r["n"] for r in self.funnel if r["stage"] in PROPOSAL_STAGES)
        if self.proposed != self.evolved + lost:
            raise RecordError(
                f"report of {self.name!r} does not add up: {self.proposed} proposals, {self.evolved} kept, "
                f"{lost} dropped"
            )

    def write(self, path: Path) -> None:
        """Write the report as JSON, atomically, without the seconds."""
        data = asdict(self)
        data.pop("seconds")
        write_text(path, json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> BuildReport:
        """The report at `path`. RecordError or DamagedFile, naming the file, where it is missing or not one."""
        if not path.is_file():
            raise RecordError(f"{path} is missing: the build is not finished; run it again, it resumes")
        try:
            data = read_json(path, "delete it and build again")
            rows: dict[str, Any] = {k: tuple(data.pop(k)) for k in ("funnel", "kept", "sources", "overlaps")}
            return cls(**data, **rows)
        except (ValueError, KeyError, TypeError) as err:
            raise RecordError(f"{path} is not a build report ({err}); delete it and build again") from err

    def remaining(self) -> pd.DataFrame:
        """Proposals left after each stage: columns stage, seed_difficulty, n; the first stage is `proposed`."""
        rows = []
        kept: Counter[str] = Counter()
        for r in self.kept:
            if r["strategy"] != "curated":
                kept[r["seed_difficulty"]] += r["n"]
        for difficulty in dict.fromkeys(
            [*kept, *(r["seed_difficulty"] for r in self.funnel if r["stage"] in PROPOSAL_STAGES)]
        ):
            by_stage: Counter[str] = Counter()
            for r in self.funnel:
                if r["seed_difficulty"] == difficulty and r["stage"] in PROPOSAL_STAGES:
                    by_stage[r["stage"]] += r["n"]
            left = kept[difficulty] + sum(by_stage.values())
            rows.append({"stage": "proposed", "seed_difficulty": difficulty, "n": left})
            for stage in PROPOSAL_STAGES:
                left -= by_stage[stage]
                rows.append({"stage": stage, "seed_difficulty": difficulty, "n": left})
        return pd.DataFrame(rows, columns=["stage", "seed_difficulty", "n"])


def tally(rows: Iterable[tuple[Any, ...]], names: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Counts of equal rows, as dictionaries with the keys `names` and `n`, sorted."""
    counts = Counter(rows)
    return tuple(dict(zip(names, row, strict=True)) | {"n": counts[row]} for row in sorted(counts))


def build_report(
    *,
    name: str,
    generator: str,
    labeller: str,
    train: Sequence[Evolved],
    test: Sequence[Evolved],
    validation: Sequence[Evolved],
    seeds: int,
    proposed: int,
    dropped: Sequence[Dropped],
    used: Sequence[tuple[str, Sequence[Evolved]]],
    benchmarks: dict[str, int],
) -> BuildReport:
    """The checked report. `used` are the usable problems by role (`curated`, `seed`), before any filter."""
    splits = {"train": train, "test": test, "validation": validation}
    kept = [(name, i) for name, items in splits.items() for i in items]
    unusable = Counter(d.source for d in dropped if d.stage == "sources")
    overlapping = [d for d in dropped if d.benchmark]
    evolved = sum(i.round > 0 for i in train)
    report = BuildReport(
        name=name,
        generator=generator,
        labeller=labeller,
        curated=len(train) - evolved + len(test) + len(validation),
        test=len(test),
        validation=len(validation),
        seeds=seeds,
        proposed=proposed,
        evolved=evolved,
        train=len(train),
        funnel=tally(
            ((d.stage, d.seed_difficulty, d.strategy, d.reason) for d in dropped),
            ("stage", "seed_difficulty", "strategy", "reason"),
        ),
        kept=tally(
            ((s, i.difficulty, i.seed_difficulty, i.strategy, i.answer_source) for s, i in kept),
            ("split", "difficulty", "seed_difficulty", "strategy", "answer_source"),
        ),
        sources=tuple(
            {"role": role, "source": source, "usable": n, "dropped": unusable[source]}
            for role, items in used
            for source, n in sorted(Counter(i.source for i in items).items())
        ),
        overlaps=tally(
            ((d.stage, d.source, d.benchmark, d.reason) for d in overlapping),
            ("stage", "source", "benchmark", "reason"),
        ),
        benchmarks=benchmarks,
    )
    report.check()
    return report
