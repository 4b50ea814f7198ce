"""The pipeline: nothing lost, nothing leaked, the same bytes after any interruption, and clear errors on bad input."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from suremath_world import item, labeller, samples, small

from artifact.errors import ArtifactError, EmptyDataset, Mismatch
from artifact.phase1.annotate import annotate
from artifact.phase1.judge import SymbolicJudge
from artifact.phase1.records import Annotation
from artifact.records import Problem, RecordError, Rollout, Status, Verdict, read_parquet, write_parquet
from artifact.suremath.accounting import PROPOSAL_STAGES, BuildReport
from artifact.suremath.build import build, make_generator
from artifact.suremath.decontaminate import BenchmarkIndex
from artifact.suremath.filters import jaccard, question_key, shingles
from artifact.suremath.generator import NOTHING, PROPOSED, UNPARSED, Proposal, ProposalRequest
from artifact.suremath.labels import verify_samples
from artifact.suremath.lineage import CURATED, Dropped, Evolved, ancestors, by_id
from artifact.suremath.load import check_published, export, problems
from artifact.suremath.procedural import ProceduralGenerator
from artifact.suremath.publish import publish
from artifact.suremath.seeds import load_benchmarks, load_sources
from artifact.suremath.split import split_curated
from artifact.tasks import get_task, load_problems
from artifact.tasks.hub import built_dir


def tables(folder: Path) -> tuple[list[Evolved], list[Evolved], list[Dropped]]:
    return (
        read_parquet(folder / "train.parquet", Evolved),
        read_parquet(folder / "test.parquet", Evolved),
        read_parquet(folder / "dropped.parquet", Dropped),
    )


def proposals(folder: Path) -> list[Evolved]:
    return [i for p in sorted((folder / "work").glob("round-*/*.parquet")) for i in read_parquet(p, Evolved)]


def start(folder: Path, **overrides: object) -> BuildReport:
    settings = small(**overrides)
    return build(settings, make_generator(settings), labeller, load_benchmarks(settings.benchmarks), folder, False)


def test_every_problem_is_kept_or_dropped_once(built: Path) -> None:
    train, test, dropped = tables(built)
    work = built / "work"
    everything = [
        *read_parquet(work / "curated.parquet", Evolved),
        *read_parquet(work / "seeds.parquet", Evolved),
        *proposals(built),
    ]
    ended = [i.id for i in (*train, *test)] + [d.id for d in dropped]
    assert len(ended) == len(set(ended))
    clean_seeds = {i.root_id for i in proposals(built)}  # a seed that was evolved is used up, not dropped
    assert set(ended) | clean_seeds == {i.id for i in everything}


def test_the_report_counts_what_the_tables_hold(built: Path) -> None:
    report, (train, test, dropped) = BuildReport.read(built / "report.json"), tables(built)
    assert (report.train, report.test, report.evolved) == (len(train), len(test), sum(i.round > 0 for i in train))
    assert report.proposed == len(proposals(built)) == 14 + 2 * 8 + 3 * 6 + 5 * 4 - _missing_seeds(dropped)
    assert sum(r["n"] for r in report.funnel) == len(dropped)
    assert sum(r["n"] for r in report.kept) == len(train) + len(test)
    left = report.remaining()
    assert left[left["stage"] == "proposed"]["n"].sum() == report.proposed
    assert left[left["stage"] == PROPOSAL_STAGES[-1]]["n"].sum() == report.evolved == 40


def _missing_seeds(dropped: Sequence[Dropped]) -> int:
    rounds = {"easy": 1, "medium": 2, "hard": 3, "competition": 5}
    return sum(rounds[d.seed_difficulty] for d in dropped if d.stage == "seeds")


def test_a_report_that_does_not_add_up_is_refused(built: Path) -> None:
    report = BuildReport.read(built / "report.json")
    with pytest.raises(RecordError, match="does not add up"):
        replace(report, proposed=report.proposed + 1).check()


def test_lineage_reaches_a_seed_round_by_round(built: Path) -> None:
    known = by_id([*read_parquet(built / "work" / "seeds.parquet", Evolved), *proposals(built)])
    for i in tables(built)[0]:
        if i.round == 0:
            assert i.strategy == "curated" and i.root_id == i.id
            continue
        line = ancestors(i.id, known)
        assert line[0] == known[i.id] and any(a.id == i.root_id and a.round == 0 for a in line)
        first = known[i.parent_ids[0]]
        assert first.root_id == i.root_id and first.round < i.round and i.seed_difficulty == known[i.root_id].difficulty
        assert len(i.parent_ids) == (2 if i.strategy == "compose" else 1)
        if first.round:
            assert i.strategy in ("harder", "competition", "compose") and i.strategy != first.strategy


def test_nothing_in_training_overlaps_a_test_set_or_repeats(built: Path) -> None:
    train, test, _ = tables(built)
    settings = small()
    index = BenchmarkIndex({**load_benchmarks(settings.benchmarks), "own": test}, settings.filters)
    assert [i.id for i in train if index.overlap(i.question)] == []
    texts = [question_key(i.question) for i in (*train, *test)]
    assert len(texts) == len(set(texts))
    sets = [shingles(i.question) for i in train]
    assert all(jaccard(a, b) < 0.8 for k, a in enumerate(sets) for b in sets[:k])


def test_the_held_out_part_is_balanced_over_difficulties(built: Path) -> None:
    _, test, _ = tables(built)
    assert len(test) == 12 and all(i.answer_source == "ground_truth" and i.strategy == "curated" for i in test)
    per_difficulty = [sum(i.difficulty == t for i in test) for t in ("easy", "medium", "hard", "competition")]
    assert max(per_difficulty) - min(per_difficulty) <= 1  # the 60 drawn are nearly balanced themselves


def test_planted_overlaps_are_dropped_and_named(tmp_path: Path) -> None:
    settings = small()
    seeds = [i for s in settings.seeds for i in load_benchmarks([s])[s.name]]
    planted = [replace(seeds[0], id="leak-a"), item("leak-b", seeds[20].question.upper())]
    report = build(settings, ProceduralGenerator(), labeller, {"planted": planted}, tmp_path / "b", False)
    dropped = {d.id: d for d in tables(tmp_path / "b")[2] if d.stage == "seeds"}
    assert {dropped[seeds[0].id].benchmark_id, dropped[seeds[20].id].benchmark_id} == {"leak-a", "leak-b"}
    assert dropped[seeds[0].id].reason == "same_text" and dropped[seeds[0].id].span == question_key(seeds[0].question)
    assert not [i for i in proposals(tmp_path / "b") if i.root_id in (seeds[0].id, seeds[20].id)]  # never evolved
    assert sum(r["n"] for r in report.overlaps if r["stage"] == "seeds" and r["benchmark"] == "planted") == 2


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import suremath_world as world
from pathlib import Path
from random import Random
import datasketch, pandas, pyarrow.parquet
from artifact.suremath.build import build, make_generator
from artifact.suremath.seeds import load_benchmarks

settings = world.small()
benchmarks = load_benchmarks(settings.benchmarks)

def start(folder, limit):
    seen, real = 0, Path.replace
    def replace(self, target):
        nonlocal seen
        seen += 1
        if seen == limit and limit % 2:
            os.kill(os.getpid(), signal.SIGKILL)  # the file is written, not yet named
        out = real(self, target)
        if seen == limit:
            os.kill(os.getpid(), signal.SIGKILL)  # just named
        return out
    Path.replace = replace
    build(settings, make_generator(settings), world.labeller, benchmarks, folder, False)

rng, limit, code = Random(7), 1, 1
while code:
    child = os.fork()
    if child == 0:
        start(Path(sys.argv[2]), limit)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code)
    limit = rng.randint(5, 16)
"""
"""Starts the build in a forked process (the imports once), killed at a write, until a start survives."""


def killed(tmp_path: Path, folder: Path) -> list[int]:
    """The exit codes of all starts."""
    world = tmp_path / "lib"
    world.mkdir()
    (world / "suremath_world.py").write_text(
        Path(__file__).with_name("world.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(world), str(folder)], capture_output=True, text=True, timeout=240, check=True
    )
    return [int(code) for code in done.stdout.split()]


def contents(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.endswith(".partial")
    }


def test_killed_anywhere_and_restarted_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """SIGKILL at a write, before or after its rename, until a start survives; the labeller knows the answers."""
    folder = tmp_path / "killed"
    codes = killed(tmp_path, folder)
    assert len(codes) > 3 and set(codes[:-1]) == {-signal.SIGKILL}
    assert contents(folder) == contents(built)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    start(folder)  # finished: nothing is written again
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_a_folder_of_other_inputs_is_refused(built: Path) -> None:
    with pytest.raises(Mismatch, match=r"started with other inputs \(settings\.seed differ\)"):
        start(built, seed=5)
    with pytest.raises(Mismatch, match=r"benchmarks\.evaluation differ"):
        build(small(), ProceduralGenerator(), labeller, {"evaluation": [item("x", "Other?")]}, built, False)


def test_no_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataset, match="no benchmark was given"):
        build(small(), ProceduralGenerator(), labeller, {}, tmp_path, False)


def test_a_truncated_shard_is_named(built: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "cut"
    shutil.copytree(built, folder)
    (folder / "report.json").unlink()
    shard = folder / "work" / "round-1" / "00000.parquet"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(RecordError, match=r"round-1/00000\.parquet cannot be read as Parquet.*delete it"):
        start(folder)
    shard.unlink()
    start(folder)
    assert contents(folder) == contents(built)


def test_a_shard_of_another_build_is_refused(built: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "mixed"
    shutil.copytree(built, folder)
    (folder / "report.json").unlink()
    shard = folder / "work" / "round-1" / "00000.parquet"
    rows = read_parquet(shard, Evolved)
    write_parquet(shard, rows[::-1], Evolved)
    with pytest.raises(RecordError, match="of another build"):
        start(folder)


class Flaky:
    """The procedural generator with failures: every third request nothing, every fourth rubbish, some no problem."""

    name = "flaky"

    def evolve(self, requests: Sequence[ProposalRequest]) -> list[Proposal]:
        out = []
        for r, p in zip(requests, ProceduralGenerator().evolve(requests), strict=True):
            if r.seed % 3 == 0:
                continue
            if r.seed % 4 == 0:
                p = Proposal(r.id, PROPOSED, "?!" * 20)
            elif r.seed % 5 == 0:
                p = Proposal(r.id, UNPARSED, raw="I cannot do that.")
            out.append(p)
        return out


def test_a_generator_that_returns_rubbish_or_nothing_is_counted(tmp_path: Path) -> None:
    settings = small(evolution__size=None)
    report = build(settings, Flaky(), labeller, load_benchmarks(settings.benchmarks), tmp_path / "f", False)
    made = proposals(tmp_path / "f")
    reasons = {(r["stage"], r["reason"]): 0 for r in report.funnel}
    for r in report.funnel:
        reasons[r["stage"], r["reason"]] += r["n"]
    assert reasons["evolve", NOTHING] == sum(i.meta["outcome"] == NOTHING for i in made) > 0
    assert reasons["evolve", UNPARSED] == sum(i.question == "I cannot do that." for i in made) > 0
    assert reasons["well_formed", "no_text"] == sum(i.question.startswith("?!") for i in made) > 0
    bad = {i.id for i in made if i.meta["outcome"] != PROPOSED or i.question.startswith("?!")}
    assert not [i for i in made if bad & set(i.parent_ids)]  # a failed problem is nobody's parent
    assert report.evolved > 0


class Silent:
    name = "silent"

    def evolve(self, requests: Sequence[ProposalRequest]) -> list[Proposal]:
        return []


def test_a_generator_that_returns_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    settings = small()
    with pytest.raises(EmptyDataset, match=r"none of the .* proposals of the generator passed"):
        build(settings, Silent(), labeller, load_benchmarks(settings.benchmarks), tmp_path, False)


def unparsed(problems: Sequence[Problem]) -> list[list[Rollout]]:
    return [[replace(r, verdict=Verdict(Status.UNPARSED)) for r in samples(p)] for p in problems]


def test_all_answers_unparsed_is_an_error_that_says_so(tmp_path: Path) -> None:
    settings = small()
    with pytest.raises(
        ArtifactError, match=r"none of the (\d+) labelled problems is solvable: \1 have no parsed answer"
    ):
        build(settings, ProceduralGenerator(), unparsed, load_benchmarks(settings.benchmarks), tmp_path, False)


class Unlabelled:
    """The procedural generator, hiding its answers, as a language model would not know them."""

    name = "unlabelled"

    def evolve(self, requests: Sequence[ProposalRequest]) -> list[Proposal]:
        return [replace(p, answer="", solution=None) for p in ProceduralGenerator().evolve(requests)]


def truthful(problems: Sequence[Problem]) -> list[list[Rollout]]:
    """Six of eight samples give the length of the question as the answer; the problem itself carries none."""
    assert all(p.answer == "" for p in problems)
    return [
        [
            replace(r, verdict=Verdict(Status.WRONG, str(len(p.question)) if r.sample < 6 else str(-r.sample)))
            for r in samples(p)
        ]
        for p in problems
    ]


def test_without_ground_truth_the_majority_is_the_model_s_label(tmp_path: Path) -> None:
    settings = small(labels__subject="model", labels__min_share=0.75)
    build(settings, Unlabelled(), truthful, load_benchmarks(settings.benchmarks), tmp_path / "u", False)
    train, _, _ = tables(tmp_path / "u")
    evolved = [i for i in train if i.round]
    assert evolved and all((i.answer, i.answer_source) == (str(len(i.question)), "model") for i in evolved)
    assert {i.answer_source for i in train if not i.round} == {"ground_truth"}
    annotations = read_parquet(tmp_path / "u" / "annotations.parquet", Annotation)
    assert {a.majority_correct for a in annotations} == {-1} and {a.majority_share for a in annotations} == {0.75}


def test_a_labeller_may_hand_over_annotations(built: Path, tmp_path: Path) -> None:
    def finished(problems: Sequence[Problem]) -> list[Annotation]:
        return [annotate(p, samples(p), SymbolicJudge()) for p in problems]

    settings = small()
    build(settings, ProceduralGenerator(), finished, load_benchmarks(settings.benchmarks), tmp_path / "a", False)
    assert tables(tmp_path / "a")[0] == tables(built)[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda ps: labeller(ps)[:-1], "returned 8 entries for 9 problems"),
        (
            lambda ps: [annotate(p, samples(p), SymbolicJudge()) for p in reversed(ps)],
            "of other problems, or in another order",
        ),
    ],
)
def test_a_labeller_that_breaks_its_contract_is_an_error(tmp_path: Path, wrong: object, message: str) -> None:
    settings = small()
    with pytest.raises(RecordError, match=message):
        build(settings, ProceduralGenerator(), wrong, load_benchmarks(settings.benchmarks), tmp_path, False)  # type: ignore[arg-type]


def test_samples_are_verified_where_there_is_something_to_verify() -> None:
    """Known answers go to the verifier in order; unknown ones are only extracted: their correctness stays unknown."""
    known, unknown = item("k", "A?", "4").problem, item("u", "B?", "").problem
    texts = {"k": ["\\boxed{4}", "\\boxed{5}"], "u": ["so \\boxed{7}", "no idea", "\\boxed{7}"]}
    groups = [
        [replace(r, text=t) for r, t in zip(samples(p, len(texts[p.id])), texts[p.id], strict=True)]
        for p in (known, unknown)
    ]
    asked: list[tuple[list[str], list[str]]] = []

    def verify(responses: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        asked.append((list(responses), [p.answer for p in problems]))
        return [Verdict(Status.CORRECT, "4"), Verdict(Status.WRONG, "5")]

    (first, second) = verify_samples([known, unknown], groups, verify, ("boxed",))
    assert asked == [(texts["k"], ["4", "4"])]
    assert [r.verdict.status for r in first if r.verdict] == [Status.CORRECT, Status.WRONG]
    found = [(r.verdict.status, r.verdict.extracted) for r in second if r.verdict]
    assert found == [(Status.ERROR, "7"), (Status.UNPARSED, None), (Status.ERROR, "7")]
    labelled = annotate(unknown, second, SymbolicJudge())
    assert (labelled.majority_answer, labelled.majority_share, labelled.majority_correct) == ("7", 2 / 3, -1)


def test_the_language_model_needs_engines() -> None:
    settings = small(generator__kind="llm", generator__model="some/model")
    with pytest.raises(ValueError, match="needs a sampler"):
        make_generator(settings)


def test_a_validation_part_is_held_out_like_the_test(tmp_path: Path) -> None:
    """No row of it is trained on, nor of the test; the test is the same as without one."""
    curated = load_sources(small().curated.sources, CURATED).items
    without, parts = (
        split_curated(s, curated, BenchmarkIndex({}, s.filters)) for s in (small(), small(curated__validation=12))
    )
    assert len(parts.validation) == 12 and not without.validation
    assert [i.id for i in parts.test] == [i.id for i in without.test]
    train, validation, test = ({i.id for i in part} for part in (parts.train, parts.validation, parts.test))
    assert not (train & validation or train & test or validation & test)
    assert not {d.id for d in parts.dropped} & (validation | test), "what is held out was not dropped"
    assert train | validation <= {i.id for i in without.train} | {d.id for d in without.dropped}
    assert set(parts.held_out) == {"suremath-test", "suremath-validation"}


def test_the_validation_part_is_published_and_read_by_the_task(tmp_path: Path, results: Path) -> None:
    settings = small(curated__validation=5)
    report = start(tmp_path / "build", curated__validation=5)
    folder = publish(tmp_path / "build", tmp_path / "dataset", settings)
    assert check_published(folder) == {"train": report.train, "validation": 5, "test": 12}
    assert report.validation == 5 and report.curated == report.train - report.evolved + 17
    assert "5 validation and 12 test held-out curated problems" in (folder / "README.md").read_text()
    export(folder, built_dir() / "sure_math")
    task = get_task("sure-math")
    for split, rows in check_published(folder).items():
        assert [p.question for p in load_problems(task, split)] == [p.question for p in problems(folder, split)]
        assert len(load_problems(task, split)) == rows
