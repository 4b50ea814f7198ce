"""The teacher actor against transformers run by hand: shift, support, mass, and the identities of the KL."""

from __future__ import annotations

import numpy as np
import pytest

from artifact.paths import resolve_model


@pytest.fixture(scope="module")
def sequences(world):
    """Prompts with their reference solutions as responses, of ragged lengths, EOS included."""
    return [(world.encode(p, "none"), world.encode_text(p.solution)) for p in world.train[:5]]


@pytest.fixture(scope="module")
def by_hand(config, sequences):
    """Full log-softmax at each response position, one sequence at a time, no padding: the oracle."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(resolve_model(config.teacher_path), dtype=torch.float32).eval()
    out = []
    with torch.no_grad():
        for prompt, response in sequences:
            logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0].double()
            out.append(torch.log_softmax(logits, -1)[len(prompt) - 1 : -1].numpy())
    return out


def test_each_row_is_the_distribution_of_its_own_response_token(workers, config, sequences, by_hand):
    """First row: conditioned on the prompt alone. Last row: the one that should say EOS."""
    import ray

    scores = ray.get(
        workers.teacher.teacher_scores.remote(resolve_model(config.teacher_path), dict(enumerate(sequences)), 8)
    )
    for i, expected in enumerate(by_hand):
        top = scores.by_example()[i]
        assert top.ids.shape == (len(sequences[i][1]), 8)
        np.testing.assert_allclose(top.logprobs, np.take_along_axis(expected, top.ids, 1), atol=2e-5)
        np.testing.assert_allclose(np.sort(top.logprobs, 1), np.sort(expected, 1)[:, -8:], atol=2e-5)
        np.testing.assert_allclose(top.mass, np.exp(np.sort(expected, 1)[:, -8:]).sum(1), atol=1e-5)


def test_k_equal_to_the_vocabulary_gives_the_full_distribution(workers, config, sequences, by_hand):
    import ray

    scores = ray.get(
        workers.teacher.teacher_scores.remote(resolve_model(config.teacher_path), dict(enumerate(sequences)), 10**6)
    )
    np.testing.assert_allclose(scores.by_example()[0].mass, 1.0, atol=1e-5)
    entropy = np.concatenate([-(np.exp(e) * e).sum(1) for e in by_hand])
    np.testing.assert_allclose(scores.entropy, entropy, atol=1e-4)


def test_teacher_equal_to_student_gives_zero_divergence(workers, config, world):
    import ray

    from artifact.actors.team import start_student
    from artifact.train.examples import Distil
    from artifact.train.objective import denominators, to_score
    from artifact.train.workers import StepWork

    start_student(workers, config, total_steps=10)
    base = resolve_model(config.models.student)
    examples = [Distil(p.id, world.encode(p, "none"), world.encode_text(p.solution)) for p in world.train[:4]]
    scores = workers.teacher.teacher_scores.remote(base, to_score(examples), 10**6)
    metrics = ray.get(
        workers.students[0].step.remote(
            StepWork(0, {"distil": 1.0}, denominators(examples, config.losses, 120)), examples, None, scores
        )
    )
    assert abs(metrics["distil/divergence"]) < 1e-5
    assert metrics["grad_norm"] < 1e-3
    assert metrics["distil/top1_agreement"] == 1.0


def test_reference_log_probabilities_are_those_of_the_checkpoint(workers, config, sequences, by_hand):
    import ray

    scored = ray.get(workers.reference.logprobs.remote(resolve_model(config.teacher_path), sequences))
    for (_, response), row, expected in zip(sequences, scored, by_hand, strict=True):
        np.testing.assert_allclose(row, expected[np.arange(len(response)), list(response)], atol=2e-5)
