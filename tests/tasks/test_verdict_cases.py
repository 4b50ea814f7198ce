"""Verdicts by kind: the cases file, kinds beside it, rewrites and pairs of real gold answers, and the tiny world's own.

Expected verdicts are mathematics on paper; none is taken from the verifier.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifact.tasks.benchmark import BenchmarkTask, known_benchmarks
from artifact.tasks.hub import DataAbsent
from artifact.tasks.rewrites import CHANGING, KEEPING, check_golds, check_pairs
from artifact.tasks.verifier import Verifier
from artifact.worlds.tiny.splits import DEFAULT_SIZES, load_split

DATA = Path(os.environ.get("ARTIFACT_DATA_DIR", Path(__file__).resolve().parents[3] / "shared" / "data"))
CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "cases" / "verifier.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(timeout_s=20.0) as v:
        yield v


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{c['kind'].replace(' ', '_')}" for i, c in enumerate(CASES)])
def test_cases(verifier: Verifier, case: dict[str, str]) -> None:
    judge = verifier.check if case["mode"] == "answer" else lambda gold, text: verifier.verify(text, gold)
    verdict = judge(case["gold"], case["text"])
    assert verdict.correct is (case["expected"] == "correct"), verdict
    assert not verdict.status.accident


SAME = {
    "matrices": [
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left(\begin{array}{c}1\\2\end{array}\right)"),
        (
            r"\begin{pmatrix}a&b\\c&d\end{pmatrix}",
            r"\begin{bmatrix} a & b \\[2pt] c & d \\ \end{bmatrix}".replace("[2pt]", ""),
        ),
    ],
    "precision": [
        (r"\sqrt{2}\sqrt{3}-\sqrt{6}", "0"),
        (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"),
        (r"10^{40}\sqrt{2}", r"\sqrt{2 \cdot 10^{80}}"),
        (r"\binom{100}{50}", r"\frac{100!}{50!50!}"),
        (r"\sin^2 x+\cos^2 x", "1"),
        (r"\cos\frac{\pi}{12}", r"\frac{\sqrt{6}+\sqrt{2}}{4}"),
        (r"2^{n+1}", r"2 \cdot 2^n"),
        (r"\log_2 9", r"2\log_2 3"),
    ],
    "decimals": [(r"0.5\sqrt{2}", r"\frac{\sqrt{2}}{2}"), (r"2.5x", r"\frac{5x}{2}")],
    "relations": [
        ("x^2+y^2=1", "1-x^2-y^2=0"),
        ("y=2x+1", "2x-y+1=0"),
        ("x+y<3", "3>x+y"),
        ("2x+2y<6", "x+y<3"),
        (r"x\ne 3", r"3\neq x"),
        ("5", "2+3=5"),
        ("x=5", "5=x"),
        ("f(x)=x+1", "1+x"),
    ],
    "intervals": [
        (r"[-1,\infty)", r"x \ge -1"),
        (r"(-\infty,-1)\cup(1,\infty)", r"x<-1 \text{ or } x>1"),
        (r"1<x\le 4", "(1,4]"),
        (r"x\in(0,1)", "0<x<1"),
        (r"\mathbb{R}", r"(-\infty,\infty)"),
    ],
    "lists": [
        (r"1 \text{ and } 2", "2, 1"),
        (r"\{1,2\}", "1, 2"),
        (r"x=1 \text{ or } x=2", "x=2, x=1"),
        (r"\pm 3", "3,-3"),
        ("100, 200", "100,200"),
        ("27,54,108,135", "54,27,108,135"),
        ("x=1,y=2", "y=2,x=1"),
        ("x=1,y=2", "(1,2)"),
        ("(1,2)", "x=1,y=2"),
    ],
    "notation": [
        (r"\binom{5}{2}", r"\binom52"),
        (r"12", r"12^{\text{th}}"),
        (r"\sqrt{x+1}", "sqrt(x+1)"),
        (r"\frac{\sqrt{2}}{2}", r"\frac{\sqrt2}2"),
        (r"48 \mathrm{~km} / \mathrm{h}", r"48\text{ km/h}"),
        (r"3+i", r"3+\mathrm{i}"),
    ],
}
DIFFERENT = {
    "matrices": [
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "3"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"),
    ],
    "precision": [
        (r"10^{-30}", "0"),
        (r"\sqrt{2}+10^{-40}", r"\sqrt{2}"),
        (r"10^{200}", "10^{200}+1"),
        (r"10^{60}\sqrt{2}", r"10^{60}\sqrt{2}+1"),
        (r"2^{1006}\sqrt{2^{2010}+2}-2^{2011}", "0"),
        (r"\frac{x}{10^{20}}", r"\frac{x}{10^{21}}"),
        (r"\lfloor n/2\rfloor", r"\lceil n/2\rceil"),
        ("n!", r"n^2"),
    ],
    "letter case and names": [
        ("R-r", "r-R"),
        ("N", "n"),
        ("x'", "x"),
        ("a_1+a_2", "a_1+a_3"),
        (r"\angle A=30", r"\angle B=30"),
        (r"\Gamma", r"\gamma"),
    ],
    "decimals": [(r"\sqrt{2}", "1.414214"), (r"\frac{1}{3}", "0.333333333333"), (r"\pi", "3.14159265358979")],
    "collapse": [("1=2", "3=4"), ("i=5", "i=6"), ("5", "4=5"), ("5", "5=4"), ("42", "2x=42"), ("x=y", "x=x")],
    "relations": [("x+y<3", "x+y>3"), ("x+y<3", r"x+y\le 3"), ("x+y=1", "x+y=2"), ("x<3", "-x<-3"), (r"x\ne 3", "x=3")],
    "forms": [
        ("3,5", "(3,5)"),
        ("(3,5)", r"\{3,5\}"),
        ("[3,5]", "(3,5)"),
        ("(1,2,3)", "[1,2,3]"),
        ("1,1,2", "1,2"),
        ("1,1,2", "1,2,2"),
        ("(1,234)", "1234"),
        ("x=1,y=2", "y=1,x=2"),
        ("x=1,y=2", "2,1"),
        ("x=1,y=2", "(2,1)"),
        ("(1,2)", "x=1,x=2"),
        (r"3\pm 1", "4"),
        ("x>3", "3"),
        (r"(1,2)\cup(3,4)", "(1,2)"),
    ],
    "units and words": [
        ("17", "17 millionths"),
        ("17", "17 tens"),
        ("8", r"8\,m+1"),
        ("8 m", "8 g"),
        ("9", r"€9 million"),
        ("60", r"\frac{\pi}{3}"),
    ],
    "spaces": [("23", "2 3"), ("5", "2 3"), ("6", "2 3")],
}


def _flat(pairs: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    return [(kind, *pair) for kind, of in pairs.items() for pair in of]


@pytest.mark.parametrize(("kind", "gold", "answer"), _flat(SAME))
def test_same(verifier: Verifier, kind: str, gold: str, answer: str) -> None:
    verdict = verifier.check(gold, answer)
    assert verdict.correct, verdict


@pytest.mark.parametrize(("kind", "gold", "answer"), _flat(DIFFERENT))
def test_different(verifier: Verifier, kind: str, gold: str, answer: str) -> None:
    verdict = verifier.check(gold, answer)
    assert not verdict.correct and not verdict.status.accident, verdict


def _golds(name: str) -> list[str]:
    task = BenchmarkTask(known_benchmarks()[name], data_dir=DATA if DATA.is_dir() else None)
    try:
        return [p.answer for p in task.load(task.benchmark.main)]
    except DataAbsent as absent:
        pytest.skip(f"{name} is not there ({absent}); set ARTIFACT_DATA_DIR to a folder with the benchmark files")


def test_rewrites_of_hand_made_gold_answers(verifier: Verifier) -> None:
    """Every rewrite applies to at least one of these, and each of them is judged rightly."""
    golds = [
        r"\frac{3}{4}",
        r"2\sqrt{5}",
        "(1, -2)",
        "[0,7)",
        "3, 8, 12",
        r"\{2, 4\}",
        r"\begin{pmatrix} 1 & 2 \\ 3 & 5 \end{pmatrix}",
        r"x^2 - 3x + 1",
        r"\frac{a+1}{b}",
        "17",
    ]
    for name, rewrite in {**KEEPING, **CHANGING}.items():
        assert any(rewrite(gold) not in (None, gold) for gold in golds), name
    report = check_golds(golds, verifier)
    assert report.missed == () and report.accepted == ()
    assert report.kept > 40 and report.changed > 40


@pytest.mark.parametrize("name", ["math-500", "omni-math", "olympiadbench"])
def test_rewrites_of_a_sample_of_real_gold_answers(verifier: Verifier, name: str) -> None:
    """`artifact check-verifier` does all of them; here 30 of each that are no plain numbers."""
    golds = [gold for gold in dict.fromkeys(_golds(name)) if not gold.lstrip("-").isdigit()]
    report = check_golds(random.Random(5).sample(golds, 30), verifier)
    assert report.missed == () and report.accepted == ()


def test_pairs_of_different_gold_answers(verifier: Verifier) -> None:
    assert check_pairs(_golds("math-500"), 300, verifier) == ()


def test_the_tiny_worlds_gold_answers_are_their_own(verifier: Verifier) -> None:
    problems = [p for split in DEFAULT_SIZES for p in load_split(split)]
    golds = [p.answer for p in problems]
    assert verifier.unreadable(golds) == {}
    assert all(v.correct for v in verifier.verify_batch([rf"so \boxed{{{g}}}" for g in golds], golds))
    assert all(v.correct for v in verifier.verify_batch([p.solution or "" for p in problems], golds))
    assert verifier.paths["symbolic"] == 0 or verifier.counts["error"] == 0
