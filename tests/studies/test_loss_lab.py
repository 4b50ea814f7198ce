"""The loss laboratory on the embedded models, against closed forms: 0 where theory says 0, signs where it gives one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from artifact.config import load
from artifact.errors import Mismatch
from artifact.records import Group, Rollout, Status, Verdict, index_by_id
from artifact.report import figures_losses
from artifact.report import narrative as sentences
from artifact.studies import loss_lab, loss_pull
from artifact.studies.inputs import build_inputs, tokenizer_of
from artifact.studies.loss_lab import Lab

TEXTS = [
    ("3x=34-7;3x=27;x=9;\\boxed{9}", True),
    ("3x=34-7;3x=27;x=9;\\boxed{x=9}", True),
    ("3x=34-7;3x=27;x=10;\\boxed{10}", True),
    ("3x=34-7;3x=28;x=", False),
]
STUDENT = "models/tiny/student"


def _open(texts=TEXTS, **overrides) -> Lab:
    config = load("tiny", {k.replace("__", "."): v for k, v in overrides.items()})
    world, tokenizer = build_inputs(config), tokenizer_of(config.models.student)
    problem = index_by_id(world.train)["tinymath-train-00033"]
    return loss_lab.open_lab(
        config, world, problem, texts, lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True)
    )


@pytest.fixture(scope="module")
def lab() -> Lab:
    return _open()


def _verdicts(lab: Lab, *statuses: Status) -> Lab:
    """The same rollouts with other verdicts."""
    rollouts = tuple(r.with_verdict(Verdict(s)) for r, s in zip(lab.group.rollouts, statuses, strict=True))
    return replace(lab, group=Group(lab.group.problem, lab.group.prompt_ids, rollouts))


def test_verdicts_are_the_verifiers_and_ids_are_the_texts(lab: Lab):
    table = loss_lab.group_table(lab.group).set_index("rollout")
    assert table["verdict"].tolist() == ["correct", "correct", "wrong", "unparsed"]
    assert table["finish"].tolist() == ["stop", "stop", "stop", "length"]
    eos = lab.context.encode_text("")[-1]
    assert [r.response_ids[-1] == eos for r in lab.group.rollouts] == [True, True, True, False]
    assert [r.text for r in lab.group.rollouts] == [t for t, _ in TEXTS]
    own = loss_pull.response_logprobs(lab.network, lab.group.prompt_ids, [r.response_ids for r in lab.group.rollouts])
    assert [v.sum() for v in own] == pytest.approx(table["log-probability"].tolist(), abs=1e-3)


def test_a_text_that_the_tokenizer_changes_is_refused():
    with pytest.raises(Mismatch, match="after the tokenizer"):
        _open([("3x = 27 § 9", True)])


def test_every_registered_method_makes_examples(lab: Lab):
    chosen = loss_lab.variants()
    table = loss_lab.examples_table(lab, chosen)
    assert list(dict.fromkeys(table["method"])) == list(chosen)
    core = table[table["method"] == "core"]
    assert core[core["component"] == "distil"]["response"].tolist() == ["y1", "y2 = reference"]
    assert core[core["component"] == "contrast"]["rejected"].tolist() == ["y3", "y4"]
    assert set(table[table["method"] == "opsd"]["reads"]) == {"solution"}
    assert set(table[table["method"] == "opsd"]["scorer"]) == {"self"}
    assert table[table["method"] == "sft"]["response"].tolist() == ["y2 = reference"]
    rows = loss_lab.compact(table)
    assert rows[rows["method"] == "core"]["responses"].tolist()[1] == "y2 = reference ≻ y3, y2 = reference ≻ y4"


def test_grpo_has_no_gradient_when_all_rollouts_are_right_or_all_wrong(lab: Lab):
    for status in (Status.CORRECT, Status.WRONG):
        assert loss_pull.pull(_verdicts(lab, *[status] * 4), ("grpo", {})).total is None


def test_grpo_prints_no_loss_and_has_a_gradient_when_they_differ(lab: Lab):
    """Ratio 1 everywhere: the loss is minus the mean advantage, which is 0."""
    found = loss_pull.pull(lab, ("grpo", {}))
    assert found.outcome.components["policy_gradient"] == pytest.approx(0, abs=1e-5)
    assert found.total is not None and float(found.total.norm()) > 0.1


def test_opd_from_the_student_itself_has_no_gradient_on_the_full_vocabulary():
    own = _open(models__teachers={"A": STUDENT}, losses__distil__top_k=10_000)
    found = loss_pull.pull(own, ("opd", {}))
    assert found.total is None, float(found.total.norm())
    kl = loss_pull.token_kl(own, 2, {"itself": (STUDENT, "none")})["kl"]
    assert kl.to_numpy() == pytest.approx(0, abs=1e-5)


def test_contrast_starts_at_ln_2_and_its_gradient_is_that_of_the_margin(lab: Lab):
    """At policy = reference the loss of a pair is −log σ(0), and ∂/∂margin = −½ for every pair."""
    found = loss_pull.pull(lab, ("core", {"parts": "contrast"}))
    assert found.outcome.components["contrast"] == pytest.approx(math.log(2), abs=1e-5)
    beta = lab.config.losses.contrast.beta_in_force
    change = loss_pull.effects(lab, {"contrast": found}, size=1e-3).set_index("response")["change"]
    chosen, rejected = change["y2"], (change["y3"] + change["y4"]) / 2
    slope = float(found.total.norm())  # −dL = slope · size = β/2 · (chosen − mean rejected), to first order
    assert beta / 2 * (chosen - rejected) == pytest.approx(slope * 1e-3, rel=0.03)


def test_sft_raises_the_reference(lab: Lab):
    found = loss_pull.pulls(lab, {"sft": ("sft", {})})
    change = loss_pull.effects(lab, found).set_index("response")["change"]
    assert change["y2"] > 0 and change["y2"] == change.max()


def test_a_prompts_weight_scales_the_gradient_only(lab: Lab):
    """UOPD with weight ½ is OPD at half the length, in the same direction."""
    found = loss_pull.pulls(lab, {"opd": ("opd", {}), "uopd": ("uopd", {})})
    norms = loss_pull.components_table(found)["gradient norm"]
    assert norms[1] == pytest.approx(norms[0] / 2, rel=1e-4)
    table = loss_pull.cosines(found).set_index(["a", "b"])["cosine"]
    assert table["opd", "uopd"] == pytest.approx(1, abs=1e-5) and table["opd", "opd"] == pytest.approx(1)


def test_components_add_up_and_parts_alone_are_the_same_vectors(lab: Lab):
    both, distil, contrast = (loss_pull.pull(lab, ("core", {"parts": p})) for p in ("both", "distil", "contrast"))
    assert both.gradients["distil"].numpy() == pytest.approx(5 * distil.total.numpy(), abs=1e-4)
    assert both.gradients["contrast"].numpy() == pytest.approx(contrast.total.numpy(), abs=1e-5)
    row = loss_pull.components_table({"core": both}).iloc[0]
    whole = float((both.gradients["distil"] + both.gradients["contrast"]).norm())
    parts = sum(float(g.norm()) for g in both.gradients.values())
    assert row["cancelled"] == pytest.approx(1 - whole / parts)


def test_length_normalised_contrast_is_weaker_and_the_lab_is_left_alone(lab: Lab):
    form = replace(lab.config.losses.contrast, length_normalised=True)
    means = lab.using(losses=replace(lab.config.losses, contrast=form))
    sums, mean = (float(loss_pull.pull(x, ("core", {"parts": "contrast"})).total.norm()) for x in (lab, means))
    assert mean < sums / 5
    assert not lab.config.losses.contrast.length_normalised


def test_no_gradient_changes_nothing_and_is_said(lab: Lab):
    right = _verdicts(lab, *[Status.CORRECT] * 4)
    table = loss_pull.effects(lab, loss_pull.pulls(right, {"grpo": ("grpo", {})}))
    assert (table["change"] == 0).all()
    assert sentences.effects(table)[0].startswith("No gradient on this group: grpo")
    assert loss_pull.cosines(loss_pull.pulls(right, {"grpo": ("grpo", {})}))["cosine"].isna().all()


def test_token_targets_are_on_the_same_ids_under_every_scorer(lab: Lab):
    table = loss_pull.token_kl(
        lab, 2, {"A": ("models/tiny/teacher-a", "none"), "A*": ("models/tiny/teacher-a", "solution")}
    )
    tokens = table.groupby("scorer", sort=False)["token"].apply(list)
    assert tokens["A"] == tokens["A*"] and len(tokens["A"]) == len(lab.group.rollouts[2].response_ids)
    assert "".join(tokens["A"][:-1]) == TEXTS[2][0] and tokens["A"][-1] == "end"


def test_a_refusal_is_shown_and_its_absence_is_an_error(lab: Lab):
    assert "maximise the contrast" in loss_lab.refusal(lab, ("core", {"mix": "convex", "alpha": 5.0}))
    with pytest.raises(ValueError, match="nothing was refused"):
        loss_lab.refusal(lab, ("core", {"mix": "convex", "alpha": 0.5}))


def test_rollouts_carry_the_policys_own_log_probabilities(lab: Lab):
    assert all(isinstance(r, Rollout) and len(r.logprobs) == len(r.response_ids) for r in lab.group.rollouts)


def test_the_figures_draw_every_method_and_scorer(lab: Lab):
    found = loss_pull.pulls(lab, {"core": ("core", {}), "opd": ("opd", {})})
    figure, _ = figures_losses.gradient_bars(loss_pull.components_table(found))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["core", "opd"]
    figure, _ = figures_losses.cosine_heatmap(loss_pull.cosines(found))
    assert len(figure.axes[0].texts) == 4 * 4  # core's two components, core, opd
    figure, _ = figures_losses.effect_heatmap(loss_pull.effects(lab, found))
    assert len(figure.axes[0].texts) == 2 * 4  # the reference is y2: it has no column of its own
    scorers = {"student": (STUDENT, "none"), "informed": (STUDENT, "solution")}
    figure, data = figures_losses.token_bars(loss_pull.token_kl(lab, 0, scorers))
    assert len(figure.axes) == 2 and len(data) == 2 * len(lab.group.rollouts[0].response_ids)
