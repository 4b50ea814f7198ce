"""What each method makes of one hand-made step: two prompts, three rollouts each, with known verdicts."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from artifact.config import Config, ConfigError, load
from artifact.errors import EmptyDataset, Mismatch
from artifact.records import Group, Problem, Rollout, Status, Verdict
from artifact.train.examples import Distil, Imitate, Prefer, Reinforce
from artifact.train.methods import base
from artifact.train.methods.base import Batch, Method, Needs, StepContext, available, register

RIGHT, WRONG, UNPARSED = Verdict(Status.CORRECT, "1"), Verdict(Status.WRONG, "2"), Verdict(Status.UNPARSED)


def _group(name: str, verdicts: list[Verdict], solution: str | None = "ab") -> Group:
    problem = Problem(name, "q", "1", solution, "t", "easy")
    rollouts = tuple(
        Rollout(name, i, (1, 2), (10 + i, 3), (-0.1, -0.2), "", "stop", 0, verdict)
        for i, verdict in enumerate(verdicts)
    )
    return Group(problem, (1, 2), rollouts)


GROUPS = [_group("p", [RIGHT, WRONG, UNPARSED]), _group("q", [WRONG, WRONG, WRONG])]


def make(config: Config) -> Method:
    return config.make_method()


def _step(**kwargs) -> StepContext:
    return StepContext(
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
    assert [e.weight for e in batch.examples] == [1.0] * 6
    assert batch.coefficients == {"distil": 1.0}
    assert all(isinstance(e, Distil) for e in batch.examples)


def test_uopd_weights_each_rollout_by_its_prompt_and_keeps_weight_zero_in_the_batch():
    batch = _batch("uopd", p=0.25, q=0.0)
    assert [(e.problem_id, e.weight) for e in batch.examples] == [("p", 0.25)] * 3 + [("q", 0.0)] * 3
    assert batch.metrics == {"mean_weight": 0.125}


def test_uopd_refuses_prompts_without_an_annotation():
    with pytest.raises(Mismatch, match=r"no uncertainty weight for problem\(s\) \['q'\]"):
        _batch("uopd", p=0.25)


@pytest.mark.parametrize("scheme", get_args(base.Scheme))
def test_uopd_reads_gold_answers_only_where_its_weights_do(scheme):
    assert make(_config("uopd", {"weighting": scheme})).needs.gold == (scheme in ("verified", "gold"))


def test_the_fixed_advantage_pushes_down_the_incorrect_and_asks_no_teacher():
    batch = _batch("negative")
    assert [(e.problem_id, e.response_ids, e.advantage) for e in batch.examples] == [
        ("p", (11, 3), -1.0),
        ("p", (12, 3), -1.0),
        ("q", (10, 3), -1.0),
        ("q", (11, 3), -1.0),
        ("q", (12, 3), -1.0),
    ]
    assert all(isinstance(e, Reinforce) and e.temperature == 0.7 for e in batch.examples)
    assert batch.coefficients == {"policy_gradient": 1.0} and batch.metrics == {"negatives": 5.0}
    needs = make(_config("negative")).needs
    assert (needs.verdicts, needs.gold, needs.scorer, needs.reference) == (True, True, False, False)
    assert make(_config("negative", losses__policy_gradient__kl_coefficient=0.1)).needs.reference


@pytest.mark.parametrize(("key", "value"), [("top_p", 0.9), ("temperature", 0.0)])
def test_the_fixed_advantage_refuses_a_cut_distribution(key, value):
    with pytest.raises(ConfigError, match=rf"sampling\.{key} = {value}: the fixed negative advantage needs rollouts"):
        make(_config("negative", **{f"sampling__{key}": value}))


def test_core_distils_the_correct_and_contrasts_the_rest_with_the_reference():
    batch = _batch("core")
    distilled = [e for e in batch.examples if isinstance(e, Distil)]
    pairs = [e for e in batch.examples if isinstance(e, Prefer)]
    assert [e.response_ids for e in distilled] == [(10, 3)]
    assert [(e.chosen_ids, e.rejected_ids) for e in pairs] == [
        ((97, 98), r) for r in [(11, 3), (12, 3), (10, 3), (11, 3), (12, 3)]
    ]
    assert batch.coefficients == {"distil": 5.0, "contrast": 1.0}
    assert batch.metrics == {"share_correct": 1 / 6, "pairs": 5.0, "pairs_without_chosen": 0.0}


def test_core_own_correct_rollouts_may_be_chosen_and_a_prompt_without_any_is_counted():
    batch = _batch("core", {"chosen_order": ["own"], "parts": "contrast"})
    assert [(e.chosen_ids, e.rejected_ids) for e in batch.examples] == [((10, 3), (11, 3)), ((10, 3), (12, 3))]
    assert batch.metrics["pairs_without_chosen"] == 3.0
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
    assert [e.advantage for e in batch.examples] == pytest.approx([2 / 3 * root, -root / 3, -root / 3, 0, 0, 0])
    assert batch.metrics == {"reward": pytest.approx(1 / 6), "informative_groups": 0.5}
    assert batch.examples[0].behaviour_logprobs == (-0.1, -0.2)


def test_an_accident_of_the_verifier_is_neither_right_nor_wrong():
    """CORE contrasts against the wrong response only; GRPO's baseline is the mean of the judged, here 1/2."""
    timeout, error = Verdict(Status.TIMEOUT, "3"), Verdict(Status.ERROR, "4")
    group = _group("p", [RIGHT, WRONG, timeout, error])
    core = _batch("core", groups=[group])
    assert [e.response_ids for e in core.examples if isinstance(e, Distil)] == [(10, 3)]
    assert [e.rejected_ids for e in core.examples if isinstance(e, Prefer)] == [(11, 3)]
    assert core.metrics["share_correct"] == 0.5  # of the two that were judged
    grpo = _batch("grpo", {"scale": "none"}, groups=[group])
    assert [e.advantage for e in grpo.examples] == [0.5, -0.5, 0.0, 0.0]


def test_grpo_refuses_one_rollout_a_prompt():
    with pytest.raises(ConfigError, match="at least 2"):
        make(_config("grpo", sampling__samples_per_prompt=1))


def test_sft_imitates_reference_solutions_and_counts_those_missing():
    batch = _batch("sft", groups=[_group("p", []), _group("q", [], solution=None)])
    assert [(e.problem_id, e.response_ids, e.weight) for e in batch.examples] == [("p", (97, 98), 1.0)]
    assert batch.metrics == {"without_solution": 1.0}
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

            def batch(self, groups, context):
                return Batch((), {"distil": 1.0})

        return Longest

    define()
    define()  # running the notebook cell again
    assert "longest" in available()
    assert make(_config("longest")).name == "longest"
    with pytest.raises(ConfigError, match="is taken"):
        register("longest")(type("Other", (Method,), {}))


def _sample(name: str, i: int, verdict: Verdict) -> Rollout:
    return Rollout(name, i, (1, 2), (20 + i, 3), (-0.1, -0.2), "", "stop", -1, verdict)


def test_seqkd_imitates_only_verified_teacher_samples_in_turns():
    samples = {
        "p": [_sample("p", i, v) for i, v in enumerate([RIGHT, WRONG, RIGHT, UNPARSED])],
        "q": [_sample("q", i, WRONG) for i in range(4)],
    }
    config = _config("seqkd", sampling__samples_per_prompt=4)
    batch = make(config).batch(GROUPS, _step(teacher_samples=samples))
    assert [(e.problem_id, e.response_ids, e.weight) for e in batch.examples] == [
        ("p", (20, 3), 1.0),
        ("p", (22, 3), 1.0),
    ]
    assert batch.coefficients == {"nll": 1.0}
    assert batch.metrics == {"prompts_without_sample": 1.0}


def test_seqkd_says_which_problems_have_no_samples_and_when_nothing_is_verified():
    with pytest.raises(Mismatch, match=r"no teacher samples for problem\(s\) \['p', 'q'\]"):
        make(_config("seqkd")).batch(GROUPS, _step())
    nothing = {n: [_sample(n, 0, WRONG)] for n in "pq"}
    with pytest.raises(EmptyDataset, match="no verified sample"):
        make(_config("seqkd")).batch(GROUPS, _step(teacher_samples=nothing))


@pytest.mark.parametrize(("teacher", "own"), [("self", True), ("teacher", False)])
def test_opsd_scores_unchanged_responses_under_an_informed_prompt(teacher, own):
    method = make(_config("opsd", {"teacher": teacher}))
    assert (method.needs.self_teacher, method.needs.teacher) == (own, not own)
    batch = method.batch(GROUPS, _step())
    originals = [r for g in GROUPS for r in g.rollouts]
    assert [e.response_ids for e in batch.examples] == [r.response_ids for r in originals]
    assert {e.teacher_prompt_ids for e in batch.examples} == {(7,)}
    assert {e.prompt_ids for e in batch.examples} == {(1, 2)}


def test_opsd_without_a_solution_says_what_to_set():
    with pytest.raises(ConfigError, match=r"have no reference solution.*method_options.context = solution_or_answer"):
        make(_config("opsd")).batch([_group("p", [RIGHT], solution=None)], _step())


def test_opsd_shows_the_answer_alone_where_there_is_no_solution():
    method = make(_config("opsd", {"context": "solution_or_answer"}))
    assert (method.needs.contexts, method.needs.prefers) == (("answer",), "solution")
    asked = []

    def encode(problem, context):
        asked.append((problem.id, context))
        return (7,)

    groups = [_group("p", [RIGHT]), _group("q", [RIGHT], solution=None), _group("r", [RIGHT], solution="")]
    method.batch(groups, replace(_step(), encode=encode))
    assert asked == [("p", "solution"), ("q", "answer"), ("r", "answer")]


def test_opposite_routing_distils_the_wrong_and_imitates_the_right():
    batch = _batch("opposite")
    assert [e.response_ids for e in batch.examples if isinstance(e, Imitate)] == [(10, 3)]
    assert [e.response_ids for e in batch.examples if isinstance(e, Distil)] == [
        (11, 3),
        (12, 3),
        (10, 3),
        (11, 3),
        (12, 3),
    ]


def _teacher_that(verdicts: list[Verdict]):
    asked: list[tuple[str, ...]] = []

    def ask(problems, how, context):
        asked.append((*(p.id for p in problems), how, context))
        return [tuple(_sample(p.id, i, v) for i, v in enumerate(verdicts)) for p in problems]

    return ask, asked


@pytest.mark.parametrize("how", ["generate", "autoregress"])
def test_core_asks_the_teacher_only_where_nothing_else_can_be_chosen(how):
    ask, asked = _teacher_that([WRONG, RIGHT])
    options = {"chosen_order": ["own"], "fallback": how}
    batch = make(_config("core", options)).batch(GROUPS, _step(ask_teacher=ask))
    assert asked == [("q", how, "none")]
    chosen = {(e.problem_id, e.chosen_ids) for e in batch.examples if isinstance(e, Prefer)}
    assert chosen == {("p", (10, 3)), ("q", (21, 3))}, "the verified answer, and never the unverified one"
    assert batch.metrics["fallback_prompts"] == batch.metrics["fallback_verified"] == 1.0
    assert batch.metrics["pairs_without_chosen"] == 0.0


def test_an_unverified_teacher_answer_is_never_chosen():
    ask, _ = _teacher_that([WRONG, UNPARSED])
    batch = make(_config("core", {"chosen_order": ["own"], "fallback": "generate"})).batch(
        GROUPS, _step(ask_teacher=ask)
    )
    assert {e.problem_id for e in batch.examples if isinstance(e, Prefer)} == {"p"}
    assert batch.metrics["pairs_without_chosen"] == 3.0
    assert (batch.metrics["fallback_prompts"], batch.metrics["fallback_verified"]) == (1.0, 0.0)


def test_asking_a_teacher_that_was_not_declared_is_an_error():
    with pytest.raises(ConfigError, match=r"set Needs\(teacher=True, teacher_answers=True\)"):
        _step().ask_teacher([GROUPS[0].problem], "generate", "none")


def test_a_component_without_a_coefficient_is_no_silent_omission():
    example = Distil("p", (1,), (2,))
    with pytest.raises(ValueError, match=r"component\(s\) \['distil'\] have no coefficient"):
        Batch((example,), {"nll": 1.0})


def test_every_example_takes_part_in_one_component_and_says_which():
    reference = {"p": 0.5, "q": 0.5}
    samples = {n: [_sample(n, 0, RIGHT)] for n in "pq"}
    kinds = {Distil: "distil", Imitate: "nll", Reinforce: "policy_gradient", Prefer: "contrast"}
    for name in available():
        method = base.make(name, load("tiny").run_settings)
        batch = method.batch(GROUPS, _step(weights=reference, teacher_samples=samples))
        assert batch.examples and {type(e) for e in batch.examples} <= set(kinds), name
        assert all(e.component == kinds[type(e)] and e.component in batch.coefficients for e in batch.examples), name


def test_options_are_checked_without_a_configuration_too():
    settings = load("tiny").run_settings
    with pytest.raises(ConfigError, match=r"method 'core' has no option 'alfa'; it has: parts, alpha"):
        base.make("core", settings, alfa=1)
    with pytest.raises(ValueError, match=r"alpha = -1.*≥ 0"):
        base.make("core", settings, alpha=-1.0)
    with pytest.raises(ValueError, match=r"weighting = 'sof'.*'soft'"):
        base.make("uopd", settings, weighting="sof")


FIRST_ONLY, ALL, LAST_ONLY = (True, False), None, (False, True)


def _masked(name: str, made: list[tuple[Verdict, tuple[bool, ...] | None]], solution: str | None = None) -> Group:
    """Rollouts with the masks of tool output; the third of them is (12, 3)."""
    group = _group(name, [v for v, _ in made], solution)
    rollouts = tuple(replace(r, response_mask=m) for r, (_, m) in zip(group.rollouts, made, strict=True))
    return replace(group, rollouts=rollouts)


def test_core_keeps_the_tool_masks_of_both_responses_of_a_pair():
    group = _masked("p", [(RIGHT, LAST_ONLY), (WRONG, FIRST_ONLY), (WRONG, ALL)])
    own = make(_config("core", {"chosen_order": ["own"], "parts": "contrast"})).batch([group], _step())
    assert [(e.chosen_mask, e.rejected_mask) for e in own.examples] == [(LAST_ONLY, FIRST_ONLY), (LAST_ONLY, ALL)]
    solved = replace(group, problem=replace(group.problem, solution="ab"))
    with_tool = _step(mask_text=lambda text: tuple(c == "b" for c in text))
    written = make(_config("core", {"parts": "contrast"})).batch([solved], with_tool)
    assert [(e.chosen_mask, e.rejected_mask) for e in written.examples] == [(LAST_ONLY, FIRST_ONLY), (LAST_ONLY, ALL)]
    distilled = make(_config("core", {"parts": "distil"})).batch([group], _step())
    assert [e.response_mask for e in distilled.examples] == [LAST_ONLY]


def test_core_the_teachers_answer_keeps_its_mask():
    def ask(problems, how, context):
        return [(replace(_sample(p.id, 0, RIGHT), response_mask=FIRST_ONLY),) for p in problems]

    options = {"chosen_order": ["own"], "fallback": "generate", "parts": "contrast"}
    batch = make(_config("core", options)).batch([_masked("q", [(WRONG, LAST_ONLY)])], _step(ask_teacher=ask))
    assert [(e.chosen_mask, e.rejected_mask) for e in batch.examples] == [(FIRST_ONLY, LAST_ONLY)]


def test_core_own_correct_rollouts_take_turns_by_the_number_of_the_rejected_sample():
    """Samples 0 and 2 are right; of the wrong ones sample 1 meets the second, 3 the second, 4 the first."""
    group = _group("p", [RIGHT, WRONG, RIGHT, WRONG, WRONG])
    batch = _batch("core", {"chosen_order": ["own"], "parts": "contrast"}, [group])
    pairs = [(e.chosen_ids[0], e.rejected_ids[0]) for e in batch.examples]
    assert pairs == [(12, 11), (12, 13), (10, 14)]


def test_core_prefers_its_own_response_where_the_order_says_so():
    own_first = _batch("core", {"chosen_order": ["own", "reference"], "parts": "contrast"})
    assert [e.chosen_ids for e in own_first.examples] == [(10, 3)] * 2 + [(97, 98)] * 3


@pytest.mark.parametrize(("form", "needed"), [("dpo", True), ("simpo", False)])
def test_core_needs_a_reference_for_dpo_only(form, needed):
    assert make(_config("core", losses__contrast__form=form)).needs.reference is needed


@pytest.mark.parametrize(("kl", "needed"), [(0.0, False), (0.1, True)])
def test_grpo_needs_a_reference_for_its_kl_term_only(kl, needed):
    assert make(_config("grpo", losses__policy_gradient__kl_coefficient=kl)).needs.reference is needed


def test_grpo_without_scale_leaves_the_centred_rewards():
    batch = _batch("grpo", {"scale": "none"})
    assert [e.advantage for e in batch.examples] == pytest.approx([2 / 3, -1 / 3, -1 / 3, 0, 0, 0])


def test_seqkd_samples_take_turns_from_step_to_step():
    """Five right samples, two per step: 0 1, 2 3, 4 0, 1 2, …; one right sample is imitated once per step."""
    five = {"p": [_sample("p", i, RIGHT) for i in range(5)], "q": [_sample("q", 0, WRONG), _sample("q", 1, RIGHT)]}
    method = make(_config("seqkd", sampling__samples_per_prompt=2))
    seen = []
    for step in range(4):
        batch = method.batch(GROUPS, replace(_step(teacher_samples=five), step=step))
        seen.append([e.response_ids[0] - 20 for e in batch.examples if e.problem_id == "p"])
        assert [e.response_ids for e in batch.examples if e.problem_id == "q"] == [(21, 3)]
    assert seen == [[0, 1], [2, 3], [4, 0], [1, 2]]


def test_imitation_leaves_out_what_a_tool_wrote():
    samples = {"p": [replace(_sample("p", 0, RIGHT), response_mask=FIRST_ONLY)]}
    seqkd = make(_config("seqkd")).batch(GROUPS[:1], _step(teacher_samples=samples))
    assert [e.response_mask for e in seqkd.examples] == [FIRST_ONLY]
    with_tool = _step(mask_text=lambda text: tuple(c == "b" for c in text))
    sft = make(_config("sft")).batch(GROUPS[:1], with_tool)
    assert [e.response_mask for e in sft.examples] == [LAST_ONLY]
