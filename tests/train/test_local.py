"""The loop in one process: it trains, it samples what it says it samples, and its checkpoints are exact."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.tiny import STOP, MemoryLog, Network, decode, encode_text, inputs, rows, settings, token_logprobs

from artifact.errors import ConfigError, StaleEngine
from artifact.records import Rollout
from artifact.train.examples import Distil, Example, Imitate, Prefer
from artifact.train.inputs import TeacherAnnotations
from artifact.train.local import LocalWorkers
from artifact.train.loop import train
from artifact.train.methods.base import make
from artifact.train.settings import RunSettings
from artifact.train.workers import StepWork


def workers(s: RunSettings, teacher: Network | None = None) -> LocalWorkers:
    return LocalWorkers(Network(), teacher, s, decode, [STOP])


def draw(made: LocalWorkers, n: int = 1, temperature: float = 1.0, length: int = 5, **options: object) -> list[Rollout]:
    drawing = {"temperature": temperature, "top_p": 1.0, "max_new_tokens": length, "seed": "s"} | options
    [group] = made.sample([("p", (1, 8))], n, **drawing)  # type: ignore[arg-type]
    return list(group)


def test_distillation_draws_the_student_to_its_teacher(tmp_path: Path) -> None:
    s, teacher = settings(train__steps=12, optimiser__lr=0.1, sampling__samples_per_prompt=4), Network(seed=9)
    made, log = workers(s, teacher), MemoryLog(tmp_path)
    train(s, make("opd", s), inputs(), made, made, log, TeacherAnnotations())
    divergence = [m["distil/divergence"] for m in log.metrics]
    assert len(divergence) == 12
    assert np.mean(divergence[-3:]) < 0.6 * np.mean(divergence[:3])
    saved = torch.load(log.weights / "weights.pt", weights_only=True)
    assert all(torch.equal(saved[name], p) for name, p in made.network.state_dict().items())


def test_samples_carry_their_log_probabilities_and_end_at_the_stop_token() -> None:
    made = workers(settings())
    found = draw(made, n=40)
    assert {r.finish_reason for r in found} == {"stop", "length"}
    for r in found:
        assert r.logprobs == pytest.approx(token_logprobs(made.network, r.prompt_ids, r.response_ids), abs=1e-5)  # type: ignore[arg-type]
        assert STOP not in r.response_ids[:-1]
        assert (r.response_ids[-1] == STOP) == (r.finish_reason == "stop")
        assert r.finish_reason == "stop" or len(r.response_ids) == 5
    assert [r.sample for r in found] == list(range(40))


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_first_tokens_are_drawn_in_proportion_to_the_tempered_probabilities(temperature: float) -> None:
    made = workers(settings())
    n = 800
    counts = Counter(r.response_ids[0] for r in draw(made, n, temperature, length=1))
    p = rows(made.network, (1, 8), (0,), temperature)[0].exp().numpy()  # type: ignore[arg-type]
    for token, share in enumerate(p):
        assert abs(counts[token] / n - share) < 5 * np.sqrt(share * (1 - share) / n) + 1e-3


def test_greedy_takes_the_most_likely_token() -> None:
    made = workers(settings())
    [r] = draw(made, temperature=0.0)
    expected = rows(made.network, r.prompt_ids, r.response_ids).argmax(-1)  # type: ignore[arg-type]
    assert list(r.response_ids) == expected.tolist()


def test_a_sample_depends_on_its_own_name_alone() -> None:
    made = workers(settings())
    many = draw(made, 6)
    assert [r.response_ids for r in draw(made, 3)] == [r.response_ids for r in many[:3]]
    assert len({r.response_ids for r in many}) > 1
    assert [r.response_ids for r in draw(made, 6, seed="t")] != [r.response_ids for r in many]
    twice = made.sample([("p", (1, 8)), ("p", (1, 8))], 3, temperature=1.0, top_p=1.0, max_new_tokens=5, seed="s")
    assert [r.response_ids for g in twice for r in g] == [r.response_ids for r in many]


def test_a_stale_version_and_a_cut_distribution_are_refused() -> None:
    made = workers(settings())
    made.sync_weights(4)
    assert draw(made, expect_version=4)[0].policy_version == 4
    with pytest.raises(StaleEngine, match="at version 4, the student at 5"):
        draw(made, expect_version=5)
    with pytest.raises(ConfigError, match=r"top_p = 0\.9"):
        draw(made, top_p=0.9)
    with pytest.raises(ConfigError, match="fallback 'generate'"):
        made.teacher_answers([(1,)], "generate", temperature=1.0, max_new_tokens=2, seed=0)


EXAMPLES: list[Example] = [
    Distil("a", (1, 8), (3, 4, 0)),
    Imitate("b", (2, 8), encode_text("bbb")),
    Prefer("c", (3, 8), (3, 0), (4, 4, 0)),
]


def one_step(made: LocalWorkers, step: int) -> dict[str, float]:
    work = StepWork(step, {"distil": 1.0, "nll": 1.0, "contrast": 1.0}, {"distil": 1.0, "nll": 1.0, "contrast": 1.0})
    return made.step(work, [EXAMPLES], made.teacher_scores([EXAMPLES]), made.reference_logprobs([EXAMPLES]))[0]


def weights(made: LocalWorkers) -> dict[str, torch.Tensor]:
    return {name: p.clone() for name, p in made.network.state_dict().items()}


def test_a_checkpoint_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Weights and Adam's moments: the third step after loading is the third step without."""
    made = workers(settings(), Network(seed=9))
    made.start(5)
    for step in range(2):
        one_step(made, step)
    made.save_checkpoint(tmp_path, "step-2")
    at_two = weights(made)
    one_step(made, 2)
    expected = weights(made)
    other = workers(settings(), Network(seed=9))
    other.start(5)
    other.load_checkpoint(tmp_path, "step-2")
    assert all(torch.equal(p, at_two[name]) for name, p in weights(other).items())
    one_step(other, 2)
    assert all(torch.equal(p, expected[name]) for name, p in weights(other).items())


def test_a_start_takes_the_initial_weights_up_again() -> None:
    made = workers(settings(), Network(seed=9))
    made.start(5)
    before = weights(made)
    one_step(made, 0)
    assert any(not torch.equal(p, before[name]) for name, p in weights(made).items())
    made.start(5)
    assert all(torch.equal(p, before[name]) for name, p in weights(made).items())


def test_the_reference_stays_the_initial_student_and_teaches_where_there_is_no_teacher() -> None:
    s = settings()
    made, initial = workers(s), Network()
    made.start(5)
    before = made.teacher_scores([EXAMPLES])[0].logprobs.copy()  # type: ignore[union-attr]
    for step in range(3):
        one_step(made, step)
    [reference] = made.reference_logprobs([EXAMPLES])
    for values, (prompt, response) in zip(reference[2], EXAMPLES[2].sequences, strict=True):  # type: ignore[index]
        assert values == pytest.approx(token_logprobs(initial, prompt, response), abs=1e-5)
    np.testing.assert_array_equal(made.teacher_scores([EXAMPLES])[0].logprobs, before)  # type: ignore[union-attr]
    assert made.teacher_scores([EXAMPLES[1:]]) == made.reference_logprobs([EXAMPLES[:2]]) == [None]


def test_the_gradient_is_clipped_to_the_settings() -> None:
    """A first Adam step is ±lr whatever the gradient's size, so the norm before clipping is what shows it."""
    made = workers(settings(optimiser__clip=1e-3), Network(seed=9))
    made.start(5)
    assert one_step(made, 0)["grad_norm"] > 0.01
    moments = made.student.engine.optimizer.state_dict()["state"].values()  # type: ignore[union-attr]
    total = sum(float((m["exp_avg"] / (1 - 0.9)).norm()) ** 2 for m in moments) ** 0.5
    assert total == pytest.approx(1e-3, rel=1e-3)
