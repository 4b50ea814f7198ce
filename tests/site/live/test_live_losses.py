"""The loss microscope against the library: examples, weights, losses and ∂L/∂logit of every token.

Gradients agree to 1e-4 of the largest of the step: each is divided by the length of its response and their number.

The library's gradient by the logits is had by an output head that is the identity: then its hidden states are logits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.site.live.conftest import Live

from artifact.train.examples import Prefer
from artifact.train.methods.base import StepContext, make
from artifact.train.objective import MicroBatch, denominators, pack_batch, share_of_step, to_reference, to_score
from artifact.train.scoring import FrozenModel
from artifact.train.settings import ContrastSettings, DistilSettings, Losses, Optimiser, RunSettings, Sampling, Train

TOLERANCE = 1e-4
STUDENT, TEACHER, INITIAL = "m1-trained", "m3-b", "m0-untrained"

OPTIONS = {
    "alpha": 5.0,
    "mix": "weighted",
    "parts": "both",
    "chosenOrder": ["reference", "own"],
    "context": "none",
    "weighting": "soft",
    "threshold": 0.5,
}
LOSSES = {
    "k": 8,
    "temperature": 1.0,
    "divergence": "forward_kl",
    "support": "renorm",
    "beta": 0.5,
    "reduction": "sequence_mean",
    "dpoBeta": 0.1,
    "form": "dpo",
    "lengthNormalised": False,
    "samplingTemperature": 0.7,
}
CORE = ("alpha", "mix", "parts", "chosenOrder", "context")
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("opd", {}, {}),
    *[
        ("opd", {}, {"divergence": d, "support": s, "temperature": t, "k": k, "beta": 0.3})
        for d in ("forward_kl", "reverse_kl", "jsd")
        for s in ("renorm", "tail", "raw")
        for t, k in ((1.0, 4), (2.0, 20))
    ],
    ("opd", {}, {"divergence": "jsd", "support": "tail", "k": 76}),
    ("opd", {}, {"reduction": "token_mean", "k": 1}),
    ("uopd", {"weighting": "soft"}, {}),
    ("uopd", {"weighting": "binary", "threshold": 0.2}, {"temperature": 1.5}),
    ("core", {}, {}),
    ("core", {"alpha": 0.4, "mix": "convex", "chosenOrder": ["own", "reference"]}, {"dpoBeta": 0.7}),
    ("core", {"mix": "adaptive", "context": "solution"}, {"reduction": "token_mean"}),
    ("core", {"context": "answer", "parts": "distil"}, {"temperature": 0.5, "k": 3}),
    ("core", {"parts": "contrast"}, {"form": "simpo", "dpoBeta": 2.0}),
    ("core", {"parts": "contrast"}, {"lengthNormalised": True}),
    ("grpo", {}, {}),
    ("sft", {}, {"reduction": "token_mean"}),
    ("opsd", {}, {"support": "tail"}),
    ("opposite", {"alpha": 2.0}, {}),
    ("negative", {}, {}),
]

COMPUTE = """
    const groups = Live.world.groups, weights = {};
    const found = await Live.scope.compute(groups, a, b, c);
    for (const g of groups) weights[g.problem.id] = Live.scope.certainty(c, await Live.model(c), g.problem).weight;
    return { loss: found.loss, components: found.components, coefficients: found.batch.coefficients, weights,
        examples: found.batch.examples.map((e) =>
            [e.component, e.group.problem.id, e.weight, e.response || e.chosen, e.rejected || null]),
        tokens: [...found.tokens.values()].map((s) => ({ id: s.group.problem.id, ids: s.ids, loss: Array.from(s.loss),
            gradient: s.gradient.map((g) => Array.from(g)) })) };
"""


def library_settings(losses: dict[str, Any]) -> RunSettings:
    distil = DistilSettings(
        top_k=losses["k"],
        divergence=losses["divergence"],
        support=losses["support"],
        beta=losses["beta"],
        temperature=losses["temperature"],
        reduction=losses["reduction"],
    )
    contrast = ContrastSettings(losses["form"], losses["dpoBeta"], losses["lengthNormalised"])
    return RunSettings(Sampling(4, 120, 0.7), Losses(distil, contrast), Optimiser(1e-3), Train(1, 4))


@pytest.mark.parametrize(
    ("method", "options", "losses"),
    CASES,
    ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())) or "default",
)
def test_the_objective_and_its_gradient(
    live: Live, method: str, options: dict[str, Any], losses: dict[str, Any]
) -> None:
    options, losses = OPTIONS | options, LOSSES | losses
    found = live.call(COMPUTE, {"method": method, "options": options, "losses": losses}, STUDENT, TEACHER)

    settings, library = library_settings(losses), live.library
    given: dict[str, Any] = {}
    if method == "core":
        given = {
            "teacher_context" if k == "context" else "chosen_order" if k == "chosenOrder" else k: options[k]
            for k in CORE
        }
        given["chosen_order"] = tuple(given["chosen_order"])
    elif method == "opposite":
        given = {"alpha": options["alpha"]}
    weights = found["weights"]
    if options["weighting"] == "binary":
        weights = {p: float(1 - w <= options["threshold"]) for p, w in weights.items()}
    context = StepContext(0, library.prompt, library.response, weights)
    batch = make(method, settings, **given).batch(live.groups, context)
    examples = list(batch.examples)
    if method in ("grpo", "negative"):
        examples = [on_policy(live, e) for e in examples]

    teacher = FrozenModel(library.networks[INITIAL if method == "opsd" else TEACHER])
    wanted = to_score(examples)
    scored = (
        teacher.teacher_scores(
            wanted, losses["k"], losses["temperature"], with_tail=losses["support"] == "tail"
        ).by_example()
        if wanted
        else {}
    )
    asked = to_reference(examples, settings.losses)
    reference = FrozenModel(library.networks[INITIAL]).reference_logprobs(asked)
    micro = MicroBatch(
        examples,
        [scored.get(i) for i in range(len(examples))],
        [reference.get(i) for i in range(len(examples))],
        0,
        dict(batch.coefficients),
        denominators(examples, settings.losses, 120),
    )
    sequences = [(e, s) for e in examples for s in e.sequences]
    hidden = torch.cat(library.logits(STUDENT, [s for _, s in sequences])).double().requires_grad_()
    out = share_of_step(
        hidden, torch.eye(hidden.shape[1], dtype=torch.float64), pack_batch(micro), micro, settings.losses
    )
    out.loss.backward()

    assert found["coefficients"] == batch.coefficients
    told = [
        [
            e.component,
            e.problem_id,
            pytest.approx(e.weight, abs=1e-9),
            list(e.chosen_ids if isinstance(e, Prefer) else e.response_ids),
            list(e.rejected_ids) if isinstance(e, Prefer) else None,
        ]
        for e in examples
    ]
    assert found["examples"] == told and len(told) >= 4
    assert found["loss"] == pytest.approx(float(out.loss.detach()), abs=TOLERANCE)
    assert found["components"] == pytest.approx(
        {n: out.components.get(n, 0.0) for n in found["components"]}, abs=TOLERANCE
    )
    assert sum(sum(t["loss"]) for t in found["tokens"]) == pytest.approx(found["loss"], abs=1e-9)
    wanted_gradient: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}
    assert hidden.grad is not None
    for (e, (_, ids)), rows in zip(sequences, hidden.grad.split([len(s[1]) for _, s in sequences]), strict=True):
        place = (e.problem_id, tuple(ids))
        wanted_gradient[place] = wanted_gradient.get(place, 0) + rows
    page_gradient = {
        (t["id"], tuple(t["ids"])): torch.tensor(t["gradient"], dtype=torch.float64) for t in found["tokens"]
    }
    assert page_gradient.keys() == wanted_gradient.keys()
    largest = max(float(rows.abs().max()) for rows in wanted_gradient.values())
    assert 0 < largest < 10
    for place, rows in wanted_gradient.items():
        assert (page_gradient[place] - rows).abs().max() <= TOLERANCE * largest


def on_policy(live: Live, example: Any) -> Any:
    """The example with the log-probabilities of the student that is trained: as if it had drawn the rollout itself."""
    (sequence,) = example.sequences
    logits = live.library.logits(STUDENT, [sequence])[0].double()
    values = logits.log_softmax(-1).gather(1, torch.tensor(sequence[1])[:, None])[:, 0]
    return replace(example, behaviour_logprobs=tuple(values.tolist()))


def test_the_library_distinguishes_what_the_cases_vary(live: Live) -> None:
    """The groups hold what makes the methods differ: right and wrong rollouts, and an unsure teacher."""
    counts = [(len(g.correct), len(g.incorrect)) for g in live.groups]
    assert {c > 0 for c, _ in counts} == {i > 0 for _, i in counts} == {True, False}
    settings = {"method": "uopd", "options": OPTIONS, "losses": LOSSES}
    weights = live.call(COMPUTE, settings, STUDENT, TEACHER)["weights"].values()
    assert max(weights) - min(weights) > 0.1
