"""What is kept of single tokens, against plain torch: models, the loss they add up to, and no side effect."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.test_options import Case, run
from tests.train.tiny import STOP, MemoryLog, Network, decode, inputs, rows, settings, token_logprobs

from artifact.records import Rollout
from artifact.train.examples import Distil, Imitate, Prefer
from artifact.train.inputs import TeacherAnnotations
from artifact.train.local import LocalWorkers
from artifact.train.loop import train
from artifact.train.methods.base import Batch, make
from artifact.train.token_records import TokenRecord, parts_of

ALL = {"records__every": 1, "records__prompts": 9}


class Watching(MemoryLog):
    """Keeps the weights under which each step was recorded."""

    made: LocalWorkers

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.networks: dict[int, Network] = {}

    def tokens(self, step: int, records: Sequence[TokenRecord]) -> None:
        super().tokens(step, records)
        self.networks[step] = copy.deepcopy(self.made.network)  # type: ignore[assignment]


def trained(folder: Path, method: str = "opd", **changed: Any) -> Watching:
    s, log = settings(**changed), Watching(folder)
    log.made = LocalWorkers(Network(), Network(seed=9), s, decode, [STOP])
    train(s, make(method, s), inputs(), log.made, log.made, log, TeacherAnnotations())
    return log


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_models_are_recorded_as_one_plain_forward_pass_each_says(tmp_path: Path, temperature: float) -> None:
    """To 1e-5, student at the weights before the update and teacher, whatever shares a pass with what."""
    log = trained(tmp_path, distil__temperature=temperature, optimiser__micro_batch_tokens=9, **ALL)
    teacher, seen = Network(seed=9), 0
    for step, records in log.records.items():
        for r in records:
            for name, network in (("student", log.networks[step]), ("teacher", teacher)):
                expected = rows(network, r.prompt_ids, r.response_ids).numpy()
                top = np.reshape(getattr(r, f"{name}_top_ids"), (-1, r.top))
                assert top.tolist() == np.argsort(-expected)[:, :5].tolist()
                found = np.reshape(getattr(r, f"{name}_top_logprobs"), (-1, r.top))
                np.testing.assert_allclose(found, np.take_along_axis(expected, top, 1), atol=1e-5)
                own = expected[np.arange(len(expected)), list(r.response_ids)]
                np.testing.assert_allclose(getattr(r, f"{name}_logprobs"), own, atol=1e-5)
                entropy = -(np.exp(expected) * expected).sum(-1)
                np.testing.assert_allclose(getattr(r, f"{name}_entropy"), entropy, atol=1e-5)
                seen += len(own)
            p = rows(teacher, r.prompt_ids, r.response_ids, temperature).exp().numpy()
            q = rows(log.networks[step], r.prompt_ids, r.response_ids, temperature).exp().numpy()
            support = np.argsort(-p)[:, :4]
            p, q = np.take_along_axis(p, support, 1), np.take_along_axis(q, support, 1)
            np.testing.assert_allclose(r.teacher_mass, p.sum(-1), atol=1e-5)
            np.testing.assert_allclose(r.student_mass, q.sum(-1), atol=1e-5)
            p = p / p.sum(-1, keepdims=True)
            np.testing.assert_allclose(r.divergence, (p * np.log(p / q)).sum(-1), atol=1e-5)
    assert list(log.records) == [0, 1, 2, 3, 4] and seen > 100


SUMS = (
    *(
        Case("opd", {}, {"distil__token_weight": w, "distil__reduction": r, "distil__temperature": 0.8})
        for w in ("none", "entropy_gap", "divergence_share")
        for r in ("sequence_mean", "token_mean")
    ),
    Case("opd", {}, {"distil__divergence": "jsd", "distil__support": "tail"}),
    Case("opd", {}, {"distil__token_weight": "divergence_share"}, tool=True),
    Case("uopd", {"weighting": "soft"}),
    Case("core", {"parts": "distil", "alpha": 0.7}),
    Case("opposite", {"alpha": 0.3}),
    Case("sft", {}, {"distil__reduction": "token_mean"}, tool=True),
    *(
        Case("grpo", {}, {"policy_gradient__reduction": r, "sampling__temperature": 0.7}, tool=True, drift=0.6)
        for r in ("sequence_mean", "token_mean", "constant")
    ),
    Case("opsd", {"context": "solution"}),
)


def recorded(case: Case, folder: Path) -> MemoryLog:
    return run(Case(case.method, case.options, case.settings | ALL, case.tool, case.drift), folder)[2]


@pytest.mark.parametrize("case", SUMS, ids=str)
def test_the_terms_of_all_tokens_add_up_to_the_loss_of_the_step(case: Case, tmp_path: Path) -> None:
    log = recorded(case, tmp_path)
    for step, metrics in zip(log.steps, log.metrics, strict=True):
        terms = [
            weight * term
            for r in log.records[step]
            if r.loss_weight is not None and r.loss is not None
            for weight, term, trained in zip(r.loss_weight, r.loss, r.mask, strict=True)
            if trained
        ]
        assert math.fsum(terms) == pytest.approx(metrics["loss"], abs=2e-5)
        assert len(terms) > 1 and abs(metrics["loss"]) > 1e-3


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"contrast__beta": 0.7},
        {"contrast__length_normalised": True},
        {"contrast__form": "simpo"},
        {"contrast__form": "simpo", "contrast__beta": 1.5, "contrast__simpo_margin": 0.25},
    ],
    ids=str,
)
@pytest.mark.parametrize("tool", [False, True])
def test_a_pair_is_linearised_where_it_stands(changed: dict[str, Any], tool: bool, tmp_path: Path) -> None:
    """∂L/∂log p_S(y_t) = ∓ β σ(γ − margin) / P: by hand, from log-probabilities."""
    log = recorded(Case("core", {"parts": "contrast"}, changed, tool), tmp_path)
    s = settings(**changed).losses.contrast
    simpo, means, first = s.form == "simpo", s.length_normalised or s.form == "simpo", Network().double()
    beta = {"dpo": 0.1, "simpo": 2.0}[s.form] if s.beta is None else s.beta
    gamma = (beta / 2 if s.simpo_margin is None else s.simpo_margin) if simpo else 0.0
    seen = 0
    for step, metrics in zip(log.steps, log.metrics, strict=True):
        pairs: dict[int, dict[str, TokenRecord]] = {}
        for r in log.records[step]:
            if r.example is not None:
                pairs.setdefault(r.example, {})[r.role] = r
        losses = []
        for pair in pairs.values():
            ratio, n = {}, {}
            for role, r in pair.items():
                kept, n[role] = np.asarray(r.mask), sum(r.mask)
                now = np.asarray(r.student_logprobs, float)
                if not simpo:
                    before = np.asarray(token_logprobs(first, r.prompt_ids, r.response_ids))
                    np.testing.assert_allclose(r.reference_logprobs, before, atol=1e-5)
                    now = now - before
                ratio[role] = now[kept].sum() / (n[role] if means else 1)
                assert r.log_ratio == pytest.approx(ratio[role], abs=1e-4)
            margin = beta * (ratio["chosen"] - ratio["rejected"])
            losses.append(math.log1p(math.exp(gamma - margin)))
            slope = beta / (1 + math.exp(margin - gamma)) / len(pairs)
            for role, sign in (("chosen", -1), ("rejected", 1)):
                r = pair[role]
                assert r.margin == pytest.approx(margin, abs=1e-4)
                expected = np.where(r.mask, sign * slope / (n[role] if means else 1), 0.0)
                np.testing.assert_allclose(r.loss_weight, expected, atol=1e-5)
                assert r.loss == r.student_logprobs
            seen += 1
        assert np.mean(losses) == pytest.approx(metrics["loss"], abs=2e-5)
    assert seen > 5


def test_where_a_kl_to_the_reference_is_in_the_loss_its_term_is_left_out(tmp_path: Path) -> None:
    log = recorded(Case("grpo", {}, {"policy_gradient__kl_coefficient": 0.3}), tmp_path)
    found = [r for records in log.records.values() for r in records if r.role == "reinforce"]
    assert found and all(r.loss is None and r.loss_weight is not None and r.teacher_logprobs is None for r in found)


@pytest.mark.parametrize("method", ["opd", "core", "grpo", "sft"])
def test_recording_changes_nothing_else(method: str, tmp_path: Path) -> None:
    """Weights to the bit, rollouts, metrics: a run that is recorded at every step and one that never is."""
    changed = {"train__curve_every": 2, "sampling__samples_per_prompt": 4}
    silent = trained(tmp_path / "a", method, records__every=0, **changed)
    told = trained(tmp_path / "b", method, **ALL, **changed)
    assert silent.records == {} and all(told.records.values())
    state = told.made.network.state_dict()
    assert all(torch.equal(p, state[name]) for name, p in silent.made.network.state_dict().items())
    assert silent.groups == told.groups and silent.metrics == told.metrics


def test_a_stated_sample_of_steps_and_prompts_is_kept(tmp_path: Path) -> None:
    log = trained(tmp_path, records__every=2, records__prompts=1)
    assert list(log.records) == [0, 2, 4]
    for step, records in log.records.items():
        first = log.groups[step][0][0].problem_id
        drawn = [r for group in log.groups[step] for r in group if r.problem_id == first]
        assert [(r.problem_id, r.sample, r.response_ids) for r in records] == [
            (r.problem_id, r.sample, r.response_ids) for r in drawn
        ]
        assert {r.step for r in records} == {step}


def rollout(sample: int, ids: tuple[int, ...], problem: str = "p") -> Rollout:
    return Rollout(problem, sample, (1, 8), ids, (-1.0,) * len(ids), "", "stop")


def test_a_rollout_is_followed_into_every_role_it_has() -> None:
    """Two equal wrong rollouts have each its own pair; one right is distilled and chosen twice; one is of no use."""
    right, wrong, useless = (2, 0), (3, 0), (4, 0)
    group = [rollout(0, wrong), rollout(1, right), rollout(2, wrong), rollout(3, useless)]
    examples = (
        Distil("q", (5, 8), right),
        Distil("p", (1, 8), right, 0.5, teacher_prompt_ids=(9, 1, 8)),
        Prefer("p", (1, 8), right, wrong),
        Prefer("p", (1, 8), (7, 7, 0), wrong),
        Imitate("p", (1, 8), (7, 0)),
    )
    other = [rollout(0, right, "q")]
    parts = parts_of(["p"], [group, other], Batch(examples, {"distil": 1.0, "contrast": 1.0, "nll": 1.0}))
    assert [(p.role, p.sample, p.example) for p in parts] == [
        ("distil", 1, 1),
        ("chosen", 1, 2),
        ("rejected", 0, 2),
        ("chosen", None, 3),
        ("rejected", 2, 3),
        ("imitate", None, 4),
        ("none", 3, None),
    ]
    assert parts[0].question.scored == ((9, 1, 8), right) and parts[1].question.scored == ((1, 8), right)
