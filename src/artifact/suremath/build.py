"""The pipeline: sources → curated split → clean seeds → rounds → filters → labels → training, validation and test set.

Cheap filters come before the labels, which cost N samples per problem. Every stage is a Parquet file under `work/` that
appears under its name only when whole, and depends on earlier files and the settings alone: killed at any point and
started again, a build ends in the same bytes. What the folder holds at the end:
    train.parquet, test.parquet   `Evolved` rows: the curated part and the evolved problems; the held-out curated ones
    validation.parquet            the same for choosing settings, where `curated.validation` asks for it
    annotations.parquet           the labeller's `Annotation` of each evolved problem that was kept
    dropped.parquet               `Dropped` rows: everything else, with stage and reason
    report.json                   the `BuildReport`; written last, so it says that the build is finished
Left out: the teacher's entropies (phase 1 of a tier) and publishing (`publish.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from artifact.errors import ArtifactError, EmptyDataset, Mismatch
from artifact.files import read_json, write_json
from artifact.phase1.judge import EquivalenceJudge, SymbolicJudge
from artifact.phase1.records import Annotation
from artifact.provenance import text_hash
from artifact.records import Record, read_parquet, write_parquet
from artifact.suremath.accounting import BuildReport, build_report
from artifact.suremath.decontaminate import BenchmarkIndex, Compared
from artifact.suremath.filters import DuplicateIndex, malformed, question_key, unsolvable
from artifact.suremath.generator import PROPOSED, Generator
from artifact.suremath.labels import Labeller, label_all
from artifact.suremath.lineage import CURATED, SEED, Dropped, Evolved, by_id, drop
from artifact.suremath.llm import LLMGenerator
from artifact.suremath.procedural import ProceduralGenerator
from artifact.suremath.rounds import evolve_rounds
from artifact.suremath.seeds import load_sources
from artifact.suremath.settings import SureMathSettings
from artifact.suremath.split import duplicate_fate, overlap_fate, rank, split_curated


def make_generator(settings: SureMathSettings, *, sampler: Any = None, tokenizer: Any = None) -> Generator:
    """The generator of `settings`; the language model needs `sampler` and `tokenizer` (see `llm.LLMGenerator`)."""
    if settings.generator.kind == "procedural":
        return ProceduralGenerator()
    if sampler is None or tokenizer is None:
        raise ValueError("generator.kind 'llm' needs a sampler over running engines and the model's tokenizer")
    return LLMGenerator(sampler, tokenizer, settings.generator)


def build(
    settings: SureMathSettings,
    generator: Generator,
    labeller: Labeller,
    benchmarks: Mapping[str, Sequence[Compared]],
    folder: Path,
    progress: bool = True,
    judge: EquivalenceJudge | None = None,
) -> BuildReport:
    """Build the dataset in `folder`, going on where an interrupted build stopped; returns at once when it is finished.

    `judge` decides which answers of the labeller are the same (default: `SymbolicJudge`). Raises
    Mismatch when the folder belongs to other inputs, EmptyDataset when a stage leaves nothing, RecordError on duplicate
    ids, a damaged file or a generator or labeller that breaks its contract, ArtifactError on a bad source.
    """
    if not benchmarks:
        raise EmptyDataset(
            "no benchmark was given: overlap could not be measured, and nothing may be published unmeasured"
        )
    _claim(folder, settings, generator, benchmarks)
    done = folder / "report.json"
    if done.is_file():
        return BuildReport.read(done)
    work = folder / "work"
    clock = _Clock()

    curated = _stored(work / "curated.parquet", Evolved, lambda: _load(settings, CURATED, work))
    index = BenchmarkIndex(benchmarks, settings.filters)
    parts = split_curated(settings, curated, index)
    clock.lap("curated")

    raw_seeds = _stored(work / "seeds.parquet", Evolved, lambda: _load(settings, SEED, work))
    by_id([*curated, *raw_seeds])
    index = BenchmarkIndex({**benchmarks, **parts.held_out}, settings.filters)
    seeds, seeds_dropped = _clean_seeds(raw_seeds, index)
    clock.lap("seeds")

    def usable(item: Evolved, parents: Sequence[Evolved]) -> bool:
        return not malformed(item, parents, settings.filters)[0] and index.overlap(item.question) is None

    proposals = evolve_rounds(settings, generator, seeds, work, usable, progress)
    clock.lap("evolve")
    passed, filtered = _filter(settings, proposals, [*parts.train, *parts.test, *parts.validation, *seeds], index)
    clock.lap("filters")

    annotations = label_all(settings, labeller, passed, work, judge or SymbolicJudge(), progress)
    kept, unsolved = _decide(settings, passed, annotations)
    clock.lap("labels")

    sources_dropped = [d for role in (CURATED, SEED) for d in read_parquet(_dropped_path(work, role), Dropped)]
    dropped = [*sources_dropped, *parts.dropped, *seeds_dropped, *filtered, *unsolved]
    train = [*parts.train, *kept]
    report = build_report(
        name=settings.name,
        generator=generator.name,
        labeller=settings.labels.name,
        train=train,
        test=parts.test,
        validation=parts.validation,
        seeds=len(seeds),
        proposed=len(proposals),
        dropped=dropped,
        used=[(CURATED, curated), (SEED, raw_seeds)],
        benchmarks=index.sizes,
    )
    write_parquet(folder / "train.parquet", train, Evolved)
    write_parquet(folder / "test.parquet", parts.test, Evolved)
    if parts.validation:
        write_parquet(folder / "validation.parquet", parts.validation, Evolved)
    write_parquet(folder / "annotations.parquet", [annotations[i.id] for i in kept], Annotation)
    write_parquet(folder / "dropped.parquet", dropped, Dropped)
    report.write(done)
    return replace(report, seconds=clock.laps)


class _Clock:
    """Seconds between laps, for the report in memory."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now


def _claim(
    folder: Path, settings: SureMathSettings, generator: Generator, benchmarks: Mapping[str, Sequence[Compared]]
) -> None:
    """Write what the build depends on into a new folder; Mismatch where the folder was started with something else."""
    digests = {name: text_hash("\0".join(f"{i.id}\0{i.question}" for i in items)) for name, items in benchmarks.items()}
    inputs = {"settings": settings.model_dump(mode="json"), "generator": generator.name, "benchmarks": digests}
    path = folder / "inputs.json"
    if not path.is_file():
        write_json(path, inputs)
    elif changed := _difference(read_json(path, f"delete {folder} and build again"), inputs):
        raise Mismatch(
            f"{folder} was started with other inputs ({', '.join(changed[:5])} differ); build into another folder, or "
            "delete this one"
        )


def _difference(a: Any, b: Any, where: str = "") -> list[str]:
    """Dotted places in which two JSON values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b})
        return [d for k in keys for d in _difference(a.get(k), b.get(k), f"{where}.{k}".lstrip("."))]
    return [] if a == b else [where]


def _stored(path: Path, kind: type[Record], make: Callable[[], Sequence[Record]]) -> list[Any]:
    """The table at `path`, made first where it is not there."""
    if not path.exists():
        write_parquet(path, make(), kind)
    return read_parquet(path, kind)


def _dropped_path(work: Path, role: str) -> Path:
    return work / f"{role}-dropped.parquet"


def _load(settings: SureMathSettings, role: str, work: Path) -> Sequence[Evolved]:
    """The usable problems of a role; the unusable rows go to a table of their own, which is written first."""
    loaded = load_sources(settings.curated.sources if role == CURATED else settings.seeds, role)
    write_parquet(_dropped_path(work, role), loaded.dropped, Dropped)
    return loaded.items


def _clean_seeds(seeds: Sequence[Evolved], index: BenchmarkIndex) -> tuple[list[Evolved], list[Dropped]]:
    """The seeds that may be evolved: no overlap with a benchmark, no text twice."""
    clean, dropped = [], []
    first: dict[str, str] = {}
    for item in seeds:
        key = question_key(item.question)
        if fate := overlap_fate(item, index, "seeds"):
            dropped.append(fate)
        elif key in first:
            dropped.append(drop(item, "seeds", "exact_duplicate", first[key]))
        else:
            first[key] = item.id
            clean.append(item)
    if not clean:
        raise EmptyDataset(
            f"all {len(seeds)} seeds overlap a benchmark or one another: none is left to evolve; choose other seeds"
        )
    return clean, dropped


def _filter(
    settings: SureMathSettings, proposals: Sequence[Evolved], known: Sequence[Evolved], index: BenchmarkIndex
) -> tuple[list[Evolved], list[Dropped]]:
    """Proposals that are well-formed, overlap no benchmark, and repeat nothing known or proposed before."""
    texts = by_id([*known, *proposals])
    seen = DuplicateIndex(settings.filters.near_duplicate)
    for item in known:
        seen.add(item.id, item.question)
    passed, dropped = [], []
    for item in proposals:
        if item.meta["outcome"] != PROPOSED:
            dropped.append(drop(item, "evolve", item.meta["outcome"]))
            continue
        reason, detail = malformed(item, [texts[p] for p in item.parent_ids], settings.filters)
        fate = drop(item, "well_formed", reason, detail) if reason else None
        fate = fate or overlap_fate(item, index, "decontaminate") or duplicate_fate(item, seen, "duplicates")
        if fate:
            dropped.append(fate)
        else:
            passed.append(item)
            seen.add(item.id, item.question)
    if not passed:
        raise EmptyDataset(
            f"none of the {len(proposals)} proposals of the generator passed the filters; first reasons: "
            + ", ".join(f"{d.reason} ({d.id})" for d in dropped[:3])
            + ": look at work/round-1/00000.parquet and correct the generator or the filters"
        )
    return passed, dropped


def _decide(
    settings: SureMathSettings, items: Sequence[Evolved], annotations: Mapping[str, Annotation]
) -> tuple[list[Evolved], list[Dropped]]:
    """The solvable items with their answers, `evolution.size` of them drawn by rank, in their order."""
    solved, dropped = [], []
    for item in items:
        reason, detail = unsolvable(item, annotations[item.id], settings.labels)
        if reason:
            dropped.append(drop(item, "solvable", reason, detail))
        else:
            solved.append(item.labelled(annotations[item.id].majority_answer))
    if not solved:
        unparsed = sum(not annotations[i.id].majority_answer for i in items)
        raise ArtifactError(
            f"none of the {len(items)} labelled problems is solvable: {unparsed} have no parsed answer at all, the "
            f"others agree less than labels.min_share = {settings.labels.min_share:g}; check the labeller's prompt and "
            "its extraction rules on work/samples/00000.parquet"
        )
    size = settings.evolution.size
    drawn = {i.id for i in sorted(solved, key=lambda i: rank(settings.seed, "size", i))[:size]}
    dropped += [drop(i, "size", "not_drawn") for i in solved if i.id not in drawn]
    return [i for i in solved if i.id in drawn], dropped
