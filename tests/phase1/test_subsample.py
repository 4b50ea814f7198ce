"""Sub-samples of one draw: nested, the same as annotating that many samples alone, and AUROCs against scikit-learn."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from artifact.errors import ArtifactError
from artifact.phase1.annotate import annotate_all
from artifact.phase1.judge import SymbolicJudge
from artifact.phase1.subsample import (
    ESTIMATORS,
    annotate_by_n,
    auroc_by_n,
    compare_normalisers,
    estimator_frame,
    intra_entropy,
    take_samples,
)

_spec = importlib.util.spec_from_file_location("synthetic", Path(__file__).with_name("synthetic.py"))
assert _spec is not None and _spec.loader is not None
synthetic = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(synthetic)

PROBLEMS, ROLLOUTS = synthetic.world()
WRONG = {p.id: i % 3 == 0 for i, p in enumerate(PROBLEMS)}


class Counting(SymbolicJudge):
    """Counts the pairs that it really decides, and wants to decide all of them."""

    by_key = False

    def __init__(self):
        super().__init__()
        self.decided = 0

    def decide(self, pairs):
        self.decided += len(pairs)
        return super().decide(pairs)


DRAWS = annotate_by_n(PROBLEMS, ROLLOUTS, SymbolicJudge())
FRAME = estimator_frame(DRAWS)


def test_each_cell_is_what_annotating_its_samples_alone_gives():
    for d in DRAWS:
        alone = [r for r in ROLLOUTS if r.sample < d.n]
        kept, dropped = annotate_all(
            PROBLEMS, alone, SymbolicJudge(), normaliser=d.normaliser, min_valid=2 if d.normaliser == "n_valid" else 0
        )
        assert (list(d.annotations), d.dropped) == (kept, dropped)
    assert [(d.n, d.normaliser) for d in DRAWS] == [(n, r) for n in (2, 4, 8, 16) for r in ("n", "n_valid")]


def test_subsamples_are_nested_and_the_judge_is_asked_no_pair_twice():
    by_cell = {(d.n, a.problem_id): a.answers for d in DRAWS if d.normaliser == "n" for a in d.annotations}
    assert all(by_cell[16, p.id][:n] == by_cell[n, p.id] for p in PROBLEMS for n in (2, 4, 8))
    judge = Counting()
    judgements = [j for d in annotate_by_n(PROBLEMS, ROLLOUTS, judge) for a in d.annotations for j in a.judgements]
    assert judge.decided == len({(j.left, j.right) for j in judgements}) < len(judgements)


def test_take_samples_names_what_is_missing():
    assert [r.sample for r in take_samples(ROLLOUTS[:16], 4, start=8)] == [8, 9, 10, 11]
    with pytest.raises(ArtifactError, match=r"'p000' has samples \[12, 13, 14, 15\] between 12 and 19.*at least 20"):
        take_samples(ROLLOUTS, 8, start=12)
    with pytest.raises(ArtifactError, match="N ≥ 2"):
        take_samples(ROLLOUTS, 1)
    with pytest.raises(ArtifactError, match=r"'p000' has samples \[0, 0, 1\]"):
        take_samples([*ROLLOUTS, ROLLOUTS[0]], 2)


def test_estimators_by_hand():
    rows = FRAME[(FRAME["n"] == 16) & (FRAME["normaliser"] == "n")].set_index("problem_id")
    for p in PROBLEMS[:10]:
        mine = [r for r in ROLLOUTS if r.problem_id == p.id]
        token = np.mean([-np.mean(r.logprobs) for r in mine])
        assert rows.loc[p.id, "negative_mean_logprob"] == pytest.approx(token, abs=1e-12)
        strings = rows.loc[p.id, "semantic_entropy"] + rows.loc[p.id, "intra_cluster_entropy"]
        assert rows.loc[p.id, "answer_string_entropy"] == pytest.approx(strings, abs=1e-12)
        values = [r.verdict.extracted and r.verdict.extracted.removeprefix("x=") for r in mine]
        counts = [values.count(v) for v in set(values) - {None}] + [1] * values.count(None)
        discrete = -sum(c / 16 * math.log(c / 16) for c in counts) / math.log(16)
        assert rows.loc[p.id, "discrete_entropy"] == pytest.approx(discrete, abs=1e-12)


def test_intra_entropy_of_one_wording_a_class_is_exactly_zero():
    plain = [r for r in ROLLOUTS if not (r.verdict.extracted or "").startswith("x=")]
    names = {}
    for r in plain:
        names.setdefault(r.problem_id, []).append(r)
    full = [r for rows in names.values() if len(rows) >= 4 for r in rows]
    problems = [p for p in PROBLEMS if len(names.get(p.id, ())) >= 4]
    kept, _ = annotate_all(problems, full, SymbolicJudge())
    assert {intra_entropy(a) for a in kept} == {0.0}


def test_auroc_by_n_against_scikit_learn():
    table = auroc_by_n(FRAME, WRONG, resamples=50)
    assert len(table) == len(ESTIMATORS) * 8
    for r in table.itertuples():
        cells = FRAME[FRAME["normaliser"] == r.normaliser]
        shared = [i for i, count in cells.groupby("problem_id").size().items() if count == 4]
        part = cells[(cells["n"] == r.n) & cells["problem_id"].isin(shared)]
        labels = [WRONG[i] for i in part["problem_id"]]
        assert r.auroc == pytest.approx(roc_auc_score(labels, part[r.estimator]), abs=1e-12)
        assert (r.problems, r.n_wrong, r.left_out) == (
            len(part),
            sum(labels),
            cells["problem_id"].nunique() - len(part),
        )
        assert r.lower <= r.auroc <= r.upper
        assert math.isnan(r.minus_largest) == (r.n == 16)
    largest = table[(table["n"] == 16)].set_index(["estimator", "normaliser"])["auroc"]
    for r in table[table["n"] < 16].itertuples():
        assert r.minus_largest == pytest.approx(r.auroc - largest[r.estimator, r.normaliser], abs=1e-12)
    assert (table[table["normaliser"] == "n"]["left_out"] == 0).all()


def test_normalisers_are_compared_on_shared_problems():
    table = compare_normalisers(FRAME, WRONG, resamples=50).set_index("n")
    for n in (2, 16):
        cell = FRAME[FRAME["n"] == n].pivot(index="problem_id", columns="normaliser", values="normalised")
        out, both = cell[cell["n_valid"].isna()].index, cell.dropna()
        labels = [WRONG[i] for i in both.index]
        assert (table.loc[n, "problems"], table.loc[n, "left_out"]) == (len(both), len(out))
        assert table.loc[n, "left_out_wrong"] == sum(WRONG[i] for i in out)
        assert table.loc[n, "auroc_n"] == pytest.approx(roc_auc_score(labels, both["n"]), abs=1e-12)
        assert table.loc[n, "auroc_n_valid"] == pytest.approx(roc_auc_score(labels, both["n_valid"]), abs=1e-12)
    assert table.loc[2, "left_out"] > 0
    with pytest.raises(ArtifactError, match="both normalisers"):
        compare_normalisers(FRAME[FRAME["normaliser"] == "n"], WRONG)


def test_frames_that_do_not_fit_are_refused():
    with pytest.raises(ArtifactError, match="no label for 59 of 60 problems, first 'p001'"):
        auroc_by_n(FRAME, {"p000": True})
    with pytest.raises(ArtifactError, match="stands twice"):
        auroc_by_n(estimator_frame([DRAWS[0], DRAWS[0]]), WRONG)
    with pytest.raises(ArtifactError, match="no problem was annotated"):
        estimator_frame([])
