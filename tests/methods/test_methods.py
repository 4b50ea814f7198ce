"""What each method makes of one hand-made step: two prompts, three rollouts each, with known verdicts."""

from __future__ import annotations

import pytest

from artifact.config import Config, ConfigError, load
from artifact.errors import EmptyDataset, Mismatch
from artifact.methods.base import Batch, Method, Needs, Step, available, make, register
from artifact.records import Group, Problem, Rollout, Status, Verdict

RIGHT, WRONG, UNPARSED = Verdict(Status.CORRECT, "1"), Verdict(Status.WRONG, "2"), Verdict(Status.UNPARSED)


def _group(name: str, verdicts: list[Verdict], solution: str | None = "ab") -> Group:
    problem = Problem(name, "q", "1", solution, "t", "easy")
    rollouts = tuple(
        Rollout(name, i, (1, 2), (10 + i, 3), (-0.1, -0.2), "", "stop", 0, verdict)
        for i, verdict in enumerate(verdicts)
    )
    return Group(problem, (1, 2), rollouts)


GROUPS = [_group("p", [RIGHT, WRONG, UNPARSED]), _group("q", [WRONG, WRONG, WRONG])]


def _step(**kwargs) -> Step:
    return Step(
        0,
        lambda problem, context: (7,) if context == "solution" else (8,),
        lambda text: tuple(map(ord, text)),
        **kwargs,
    )


def _config(method: str, options: dict | None = None, **overrides) -> Config:
    chosen = {
        "method": method,
        "method_options": options or {},
        **{k.replace("__", "."): v for k, v in overrides.items()},
    }
    return load("tiny", chosen)


def _batch(method: str, options: dict | None = None, groups: list[Group] | None = None, **weights: float) -> Batch:
    return make(_config(method, options)).batch(groups or GROUPS, _step(weights=weights))


def test_opd_distils_every_rollout_with_weight_one():
    batch = _batch("opd")
    assert [e.distil for e in batch.examples] == [1.0] * 6
    assert batch.coefficients == {"distil": 1.0}
    assert all(e.nll is None and e.contrast is None and e.policy_gradient is None for e in batch.examples)


def test_uopd_weights_each_rollout_by_its_prompt_and_keeps_weight_zero_in_the_batch():
    batch = _batch("uopd", p=0.25, q=0.0)
    assert [(e.problem_id, e.distil) for e in batch.examples] == [("p", 0.25)] * 3 + [("q", 0.0)] * 3
    assert batch.facts == {"mean_weight": 0.125}


def test_uopd_refuses_prompts_without_an_annotation():
    with pytest.raises(Mismatch, match=r"no uncertainty weight for problem\(s\) \['q'\]"):
        _batch("uopd", p=0.25)


def test_uopd_reads_gold_answers_only_for_the_oracle():
    assert not make(_config("uopd")).needs.gold
    assert make(_config("uopd", {"weighting": "gold"})).needs.gold


def test_core_distils_the_correct_and_contrasts_the_rest_with_the_reference():
    batch = _batch("core")
    distilled = [e for e in batch.examples if e.distil is not None]
    pairs = [e for e in batch.examples if e.contrast is not None]
    assert [e.response_ids for e in distilled] == [(10, 3)]
    assert [(e.response_ids, e.rejected_ids) for e in pairs] == [
        ((97, 98), r) for r in [(11, 3), (12, 3), (10, 3), (11, 3), (12, 3)]
    ]
    assert batch.coefficients == {"distil": 5.0, "contrast": 1.0}
    assert batch.facts == {"share_correct": 1 / 6, "pairs": 5.0, "pairs_without_chosen": 0.0}


def test_core_own_correct_rollouts_may_be_chosen_and_a_prompt_without_any_is_counted():
    batch = _batch("core", {"chosen_order": ["own"], "parts": "contrast"})
    assert [(e.response_ids, e.rejected_ids) for e in batch.examples] == [((10, 3), (11, 3)), ((10, 3), (12, 3))]
    assert batch.facts["pairs_without_chosen"] == 3.0
    assert batch.coefficients == {"contrast": 1.0}


def test_core_with_an_answer_aware_teacher_distils_all_and_only_changes_the_teachers_prompt():
    batch = _batch("core", {"parts": "distil", "teacher_context": "solution"})
    assert len(batch.examples) == 6
    assert {e.teacher_prompt_ids for e in batch.examples} == {(7,)}
    assert {e.prompt_ids for e in batch.examples} == {(1, 2)}
    assert batch.coefficients == {"distil": 1.0}


def test_core_adaptive_mixing_follows_the_batch_accuracy():
    assert _batch("core", {"mix": "adaptive"}).coefficients == pytest.approx({"distil": 1 / 6, "contrast": 5 / 6})


def test_core_refuses_alpha_above_one_with_the_printed_formula():
    with pytest.raises(ConfigError, match="maximise the contrast"):
        make(_config("core", {"mix": "convex"}))


def test_core_declares_what_it_needs():
    needs = {parts: make(_config("core", {"parts": parts})).needs for parts in ("both", "distil", "contrast")}
    assert (needs["both"].teacher, needs["both"].reference) == (True, True)
    assert (needs["distil"].teacher, needs["distil"].reference) == (True, False)
    assert (needs["contrast"].teacher, needs["contrast"].reference) == (False, True)


def test_grpo_advantages_are_those_of_the_group():
    """Rewards 1, 0, 0: mean 1/3, SD with k − 1 is 1/√3; a group without a right answer has advantage 0."""
    batch = _batch("grpo")
    root = 3**0.5
    assert [e.policy_gradient for e in batch.examples] == pytest.approx([2 / 3 * root, -root / 3, -root / 3, 0, 0, 0])
    assert batch.facts == {"reward": pytest.approx(1 / 6), "informative_groups": 0.5}
    assert batch.examples[0].behaviour_logprobs == (-0.1, -0.2)


def test_grpo_refuses_one_rollout_a_prompt():
    with pytest.raises(ConfigError, match="at least 2"):
        make(_config("grpo", sampling__samples_per_prompt=1))


def test_sft_imitates_reference_solutions_and_counts_those_missing():
    batch = _batch("sft", groups=[_group("p", []), _group("q", [], solution=None)])
    assert [(e.problem_id, e.response_ids, e.nll) for e in batch.examples] == [("p", (97, 98), 1.0)]
    assert batch.facts == {"without_solution": 1.0}
    with pytest.raises(EmptyDataset):
        _batch("sft", groups=[_group("q", [], solution=None)])


def test_unknown_methods_and_options_name_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'core'"):
        make(_config("coree"))
    with pytest.raises(ConfigError, match="did you mean 'alpha'"):
        make(_config("core", {"alfa": 1}))


def test_a_users_own_method_can_be_registered_and_replaced_by_itself_only():
    def define() -> type[Method]:
        @register("longest")
        class Longest(Method):
            needs = Needs(teacher=True)

            def batch(self, groups, step):
                return Batch((), {"distil": 1.0})

        return Longest

    define()
    define()  # running the notebook cell again
    assert "longest" in available()
    assert make(_config("longest")).name == "longest"
    with pytest.raises(ConfigError, match="is taken"):
        register("longest")(type("Other", (Method,), {}))
