"""What each method's step is made of, counted by hand from its paper: 3 prompts, 4 rollouts each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from artifact.config import load
from artifact.studies.step_load import Load, load_of, loads

STEP = {"train.prompts_per_step": 3, "sampling.samples_per_prompt": 4}


def of(correct: int, **settings: object) -> Load | None:
    return load_of(load("tiny", {**STEP, **{k.replace("__", "."): v for k, v in settings.items()}}), correct)


@pytest.mark.parametrize("correct", [0, 1, 4])
def test_distillation_passes_over_every_rollout_once(correct: int) -> None:
    everything = Load(rollouts=12, answered=0, scored=12, referenced=0, trained=12)
    assert of(correct, method="opd") == of(correct, method="uopd") == everything
    for context, read in (("solution", "solution"), ("answer", "answer"), ("solution_or_answer", "solution")):
        informed = of(correct, method="opsd", method_options={"context": context})
        assert informed == replace(everything, scored_under=read), "the scorer reads more than the student"


def test_core_scores_the_correct_and_pairs_the_rest_with_the_solution() -> None:
    """c correct: c scored; 4 − c pairs of them and one solution, which is passed over once a prompt."""
    for correct in range(5):
        wrong, solution = 3 * (4 - correct), 3 * (correct < 4)
        assert of(correct, method="core") == Load(12, 0, 3 * correct, wrong + solution, 12 + solution, given=solution)


def test_core_without_solutions_asks_the_teacher_where_nothing_is_right() -> None:
    options = {"chosen_order": ["own"], "fallback": "generate"}
    assert of(0, method="core", method_options=options) == Load(12, 12, 0, 12 + 12, 12 + 12)
    assert of(1, method="core", method_options=options) == Load(12, 0, 3, 9 + 3, 12)


def test_grpo_trains_on_groups_that_differ() -> None:
    """Advantages of a group with one outcome are 0: nothing to train on without a KL term, and all with one."""
    assert of(2, method="grpo") == Load(12, 0, 0, 0, 12)
    assert of(4, method="grpo") == Load(12, 0, 0, 0, 0)
    kept = {"losses__policy_gradient__kl_coefficient": 0.1}
    assert of(4, method="grpo", **kept) == of(2, method="grpo", **kept) == Load(12, 0, 0, 12, 12)


def test_sequence_level_distillation_samples_nothing() -> None:
    assert loads(load("tiny", {**STEP, "method": "seqkd"})) == [Load(0, 0, 0, 0, 12)]


def test_loads_are_told_apart_over_how_many_are_correct() -> None:
    assert len(loads(load("tiny", {**STEP, "method": "opd"}))) == 1
    assert len(loads(load("tiny", {**STEP, "method": "core"}))) == 5
