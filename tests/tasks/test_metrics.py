"""The metrics are the libraries' own numbers, and what cannot be measured is told."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from artifact.records import Problem
from artifact.tasks.metrics import METRICS, Metric, MetricError, find_metric, references_of, require_references

WORDS = "the a cat dog sees saw two red big bird and likes tea Rome , .".split()


def texts(n: int) -> tuple[list[str], list[str]]:
    """n references, and what a model may have made of them: words lost, doubled, exchanged; a few are right."""
    rng = Random(3)
    references = [" ".join(rng.choices(WORDS, k=rng.randint(4, 14))) for _ in range(n)]
    outputs = []
    for i, reference in enumerate(references):
        words = reference.split()
        for _ in range(i % 5):
            at = rng.randrange(len(words))
            words[at : at + 1] = rng.choice([[], [words[at]] * 2, [rng.choice(WORDS)]])
            words = words or ["cat"]
        outputs.append(" ".join(words))
    return references, outputs


REFERENCES, OUTPUTS = texts(100)


def problem(answer: str, **meta: object) -> Problem:
    return Problem("p", "q", answer, None, "t", "easy", meta)


def command(*arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-m", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, lines in (("ref", REFERENCES), ("hyp", OUTPUTS)):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(tmp_path / "ref"), str(tmp_path / "hyp")


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_sacrebleu_prints_the_same(name: str, files: tuple[str, str]) -> None:
    ref, hyp = files
    printed = command("sacrebleu", ref, "-i", hyp, "-m", name, "-sl", "-b", "-w", "8").splitlines()
    own = [METRICS[name].score(text, problem(reference)) for text, reference in zip(OUTPUTS, REFERENCES, strict=True)]
    assert [round(100 * x, 8) for x in own] == pytest.approx([float(line) for line in printed], abs=1e-8)
    assert len(printed) == 100 and 1.0 in own and len(set(own)) > 50


def test_rouge_score_prints_the_same(files: tuple[str, str], tmp_path: Path) -> None:
    ref, hyp = files
    out = tmp_path / "out.csv"
    command(
        "rouge_score.rouge",
        f"--target_filepattern={ref}",
        f"--prediction_filepattern={hyp}",
        f"--output_filename={out}",
        "--aggregate=False",
    )
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 100
    for name in ("rouge1", "rouge2", "rougeL"):
        own = [METRICS[name].score(t, problem(r)) for t, r in zip(OUTPUTS, REFERENCES, strict=True)]
        assert own == pytest.approx([float(row[f"{name}-F"]) for row in rows], abs=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_of_several_references_the_one_that_fits_counts(name: str) -> None:
    both = problem("", references=["the cat saw a bird today", "a bird is what the cat saw"])
    assert METRICS[name].score("a bird is what the cat saw", both) == pytest.approx(1.0)
    assert METRICS[name].score("a bird is what the cat saw", problem("the cat saw a bird today")) < 0.9


@pytest.mark.parametrize("value", [1.01, -0.2, 63.0, float("nan")])
def test_a_value_that_is_no_score_names_metric_problem_and_remedy(value: float) -> None:
    with pytest.raises(MetricError, match=rf"metric 'mine' gave {value} .*problem 'p'.*divide percentages by 100"):
        Metric("mine", lambda text, problem: value).score("x", problem("y"))


def test_rounding_is_put_back_to_the_end() -> None:
    assert Metric("mine", lambda text, problem: 1 + 4e-16).score("x", problem("y")) == 1.0


def test_a_missing_reference_is_told_before_anything_is_compared() -> None:
    assert references_of(problem("a")) == ["a"]
    assert references_of(problem("a", references=["b", " ", "c"])) == ["b", "c"]
    with pytest.raises(MetricError, match=r"'chrf' compares .* 1 of 2 problems have none, first \['p'\]"):
        require_references("chrf", [problem("a"), problem(" ")])


def test_an_unknown_metric_lists_the_known() -> None:
    with pytest.raises(MetricError, match=r"'blue'; known are bleu, chrf, rouge1"):
        find_metric("blue")
