"""Test–retest statistics against SciPy and hand counts, and the identity of a draw with itself."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from artifact.errors import ArtifactError
from artifact.phase1.judge import SymbolicJudge
from artifact.phase1.retest import paired_entropies, retest, split_half
from artifact.phase1.subsample import annotate_by_n, estimator_frame
from artifact.records import Status, Verdict
from artifact.stats.interval import wilson_interval

_spec = importlib.util.spec_from_file_location("synthetic", Path(__file__).with_name("synthetic.py"))
assert _spec is not None and _spec.loader is not None
synthetic = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(synthetic)


def frame(values, ids=None, n=8):
    ids = list("abcdefgh"[: len(values)]) if ids is None else ids
    return pd.DataFrame({"problem_id": ids, "n": n, "normalised": values, "weight": 1 - np.array(values)})


RNG = np.random.default_rng(2)
A = np.round(RNG.random(300), 1)
B = np.clip(A + 0.2 * RNG.normal(size=300), 0, 1)
PAIRS, _ = paired_entropies(*(frame(v, [f"p{i}" for i in range(300)]) for v in (A, B)))


def test_pairs_are_matched_by_problem():
    pairs, only_one = paired_entropies(frame([0.1, 0.2, 0.3]), frame([0.9, 0.8], ["c", "a"]))
    assert pairs.to_dict("list") == {
        "problem_id": ["a", "c"],
        "first": [0.1, 0.3],
        "second": [0.8, 0.9],
        "weight_first": [0.9, 0.7],
        "weight_second": [pytest.approx(0.2), pytest.approx(0.1)],
    }
    assert only_one == ["b"]


def test_frames_that_are_no_retest_are_refused():
    with pytest.raises(ArtifactError, match=r"N = \[8, 16\]"):
        paired_entropies(frame([0.1]), frame([0.1], n=16))
    with pytest.raises(ArtifactError, match="first annotation has problem 'a' twice"):
        paired_entropies(frame([0.1, 0.2], ["a", "a"]), frame([0.1]))
    with pytest.raises(ArtifactError, match="share no problem"):
        paired_entropies(frame([0.1], ["a"]), frame([0.1], ["b"]))
    with pytest.raises(ArtifactError, match="second entropies of 2 problems are all equal"):
        retest(paired_entropies(frame([0.1, 0.2]), frame([0.3, 0.3]))[0])


def test_statistics_against_scipy():
    table = retest(PAIRS, resamples=200).set_index("statistic")
    assert table.loc["pearson", "value"] == pytest.approx(pearsonr(A, B).statistic, abs=1e-12)
    assert table.loc["spearman", "value"] == pytest.approx(spearmanr(A, B).statistic, abs=1e-12)
    assert table.loc["mean_abs_change", "value"] == pytest.approx(np.mean(np.abs(A - B)))
    assert table.loc["mean_change", "value"] == pytest.approx(np.mean(B - A))
    assert ((table["lower"] <= table["value"]) & (table["value"] <= table["upper"])).all()
    moved = int(np.sum(np.abs((1 - A) - (1 - B)) > 0.25))
    interval = wilson_interval(moved, 300)
    assert table.loc["moved", ["lower", "upper"]].tolist() == pytest.approx([interval.low, interval.high])
    flipped = int(np.sum((A <= 0.5) != (B <= 0.5)))
    assert table.loc["flipped(0.5)", "value"] == pytest.approx(flipped / 300)
    assert set(table["problems"]) == {300}


def test_pearson_interval_against_fisher():
    """For normal data the bootstrap interval is close to Fisher's z interval."""
    rng = np.random.default_rng(4)
    a = rng.normal(size=400)
    b = 0.8 * a + 0.6 * rng.normal(size=400)
    pairs = pd.DataFrame({"first": a, "second": b, "weight_first": a, "weight_second": b})
    row = retest(pairs, resamples=2000).set_index("statistic").loc["pearson"]
    low, high = pearsonr(a, b).confidence_interval(0.95)
    assert (row["lower"], row["upper"]) == pytest.approx((low, high), abs=0.015)


def test_a_draw_agrees_with_itself():
    same = frame([i / 39 for i in range(40)], [f"p{i}" for i in range(40)])
    table = retest(paired_entropies(same, same)[0], resamples=50).set_index("statistic")
    assert table.loc[["pearson", "spearman"], "value"].tolist() == pytest.approx([1, 1])
    assert table.loc[["mean_abs_change", "moved", "flipped(0.3)"], "value"].tolist() == [0, 0, 0]
    assert table.loc["moved", "upper"] == pytest.approx(wilson_interval(0, 40).high)  # no zero-width bar


def test_more_samples_are_more_repeatable():
    problems, rollouts = synthetic.world(120)
    table = split_half(problems, rollouts, SymbolicJudge(), resamples=50)
    ranks = table[table["statistic"] == "spearman"].set_index("n")["value"]
    assert ranks[2] < ranks[4] < ranks[8]
    halves = [
        estimator_frame(annotate_by_n(problems, rollouts, SymbolicJudge(), sizes=(8,), normalisers=("n",), start=s))
        for s in (0, 8)
    ]
    assert ranks[8] == pytest.approx(spearmanr(halves[0]["normalised"], halves[1]["normalised"]).statistic)
    with pytest.raises(ArtifactError, match="at least 32 samples"):
        split_half(problems, rollouts, SymbolicJudge(), sizes=(16,))


def test_a_half_of_which_the_teacher_is_sure_is_left_out():
    """Samples 2 and 3 of every problem agree: at N = 2 the second half has no entropy to correlate."""
    problems, rollouts = synthetic.world(40, samples=8)
    gold = {p.id: p.answer for p in problems}
    agreed = [
        replace(r, verdict=Verdict(Status.CORRECT, gold[r.problem_id])) if r.sample in (2, 3) else r for r in rollouts
    ]
    table = split_half(problems, agreed, SymbolicJudge(), sizes=(2, 4), resamples=20)
    expected = split_half(problems, agreed, SymbolicJudge(), sizes=(4,), resamples=20)
    assert set(table["n"]) == {4} and table.equals(expected)
    with pytest.raises(ArtifactError, match="at N = 2 the entropies of 40 problems are all equal in one half"):
        split_half(problems, agreed, SymbolicJudge(), sizes=(2,))
