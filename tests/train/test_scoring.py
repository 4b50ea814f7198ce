"""Scoring given responses with a frozen model, against one plain forward pass per sequence.

Whatever is packed together, however many rows are held at once, and whichever example a response belongs to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.train.tiny import Network, rows, token_logprobs

from artifact.train import scoring
from artifact.train.examples import Distil, Example, Imitate, Prefer, Reinforce
from artifact.train.objective import to_reference, to_score
from artifact.train.scoring import FrozenModel
from artifact.train.settings import DistilSettings, Losses

K = 4
SEQUENCES = {9: ((1, 2, 3), (4, 5)), 2: ((6,), (7, 8, 9, 10, 1, 2)), 5: ((3, 3, 3, 3), (1,)), 7: ((2, 4), (6, 8, 10))}
"""By the index of their example, which is neither their place here nor the order of their lengths."""


@pytest.fixture
def network() -> Network:
    return Network(seed=1)


@pytest.fixture(params=[(64, 4096), (4, 4096), (2, 9)], ids=["at once", "in chunks", "in several passes"])
def budget(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Padded tokens per pass; rows held at once are set as well."""
    chunk, tokens = request.param
    monkeypatch.setattr(scoring, "CHUNK", chunk)
    return int(tokens)


@pytest.mark.parametrize("tau", [1.0, 0.5, 2.0])
def test_top_k_and_entropy_are_those_of_a_plain_forward_pass(network: Network, budget: int, tau: float) -> None:
    scores = FrozenModel(network).teacher_scores(SEQUENCES, K, tau, budget, with_tail=True)
    found = scores.by_example()
    assert set(found) == set(SEQUENCES) and scores.example.tolist() == list(SEQUENCES)
    for example, (prompt, response) in SEQUENCES.items():
        of = found[example]
        assert of.ids.shape == of.logprobs.shape == (len(response), K) and of.entropy.shape == (len(response),)
        for t, row in enumerate(rows(network, prompt, response, tau).numpy()):
            order = np.argsort(-row)[:K]
            assert of.ids[t].tolist() == order.tolist()
            np.testing.assert_allclose(of.logprobs[t], row[order], atol=2e-6)
            assert of.entropy[t] == pytest.approx(-(np.exp(row) * row).sum(), abs=2e-6)
            assert of.mass[t] == pytest.approx(np.exp(row[order]).sum(), abs=2e-6)
            assert of.tail is not None
            assert of.tail[t] == pytest.approx(np.log(np.exp(np.delete(row, order)).sum()), abs=2e-6)


def test_k_is_at_most_the_vocabulary_and_then_holds_all_mass(network: Network) -> None:
    of = FrozenModel(network).teacher_scores({0: SEQUENCES[9]}, 1000, with_tail=True).by_example()[0]
    assert of.ids.shape == (2, 11) and of.mass == pytest.approx(1.0, abs=1e-6)
    assert of.tail is not None and np.isneginf(of.tail).all()


def test_a_half_precision_model_is_scored_with_unrounded_logits(network: Network) -> None:
    """Against float64 products of its own bfloat16 hidden states; logits rounded to bfloat16 would be off by 1e-2."""
    half = network.bfloat16().requires_grad_(False)
    frozen, (prompt, response) = FrozenModel(half), SEQUENCES[2]
    of = frozen.teacher_scores({0: (prompt, response)}, 11).by_example()[0]
    (_, packed, hidden_TH, weight_VH) = next(iter(frozen.passes([(prompt, response)], 4096)))
    exact = (hidden_TH.double() @ weight_VH.double().T).log_softmax(-1)
    np.testing.assert_allclose(of.logprobs, exact.gather(1, torch.from_numpy(of.ids).long()).numpy(), atol=1e-5)
    own = exact.gather(1, packed.target_T[:, None])[:, 0].numpy()
    np.testing.assert_allclose(frozen.logprobs([(prompt, response)])[0], own, atol=1e-5)


def test_an_informed_teacher_reads_its_own_prompt_before_the_same_response(network: Network) -> None:
    """What OPSD and an answer-aware CORE ask for; examples that are not distilled, or weigh 0, are not scored."""
    response = (7, 8, 9)
    examples: list[Example] = [
        Imitate("a", (1,), response),
        Distil("b", (1, 2), response, teacher_prompt_ids=(5, 6, 4, 1)),
        Distil("c", (1, 2), response, 0.0),
        Distil("d", (1, 2), response, 0.5),
    ]
    found = FrozenModel(network).teacher_scores(to_score(examples), K).by_example()
    assert sorted(found) == [1, 3]
    for example, prompt in ((1, (5, 6, 4, 1)), (3, (1, 2))):
        expected = np.sort(rows(network, prompt, response).numpy(), 1)[:, : -K - 1 : -1]
        np.testing.assert_allclose(found[example].logprobs, expected, atol=2e-6)
    assert not np.allclose(found[1].logprobs, found[3].logprobs, atol=0.01)


def test_log_probabilities_of_the_reference(network: Network, budget: int) -> None:
    """Every response token, chosen before rejected, under the index of its example, at the example's temperature."""
    examples: list[Example] = [
        Distil("a", (1,), (2,)),
        Prefer("b", (1, 2), (3, 4, 5), (6,)),
        Reinforce("c", (9, 9, 9), (1, 2), -1.0, (-1.0, -1.0)),
        Prefer("d", (1, 2), (3, 4, 5), (7, 8)),
        Reinforce("e", (9, 9, 9), (1, 2), -1.0, (-1.0, -1.0), temperature=0.7),
    ]
    wanted = to_reference(examples, Losses(DistilSettings(top_k=2)))
    found = FrozenModel(network).reference_logprobs(wanted, budget)
    assert sorted(found) == [1, 2, 3, 4]
    for example, values in found.items():
        sequences = examples[example].sequences
        assert len(values) == len(sequences)
        for got, (prompt, response) in zip(values, sequences, strict=True):
            tau = 0.7 if example == 4 else 1.0
            expected = rows(network, prompt, response, tau)[range(len(response)), list(response)]
            np.testing.assert_allclose(got, expected.numpy(), atol=2e-6)


def test_a_response_that_is_chosen_for_several_is_scored_once(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, passed = FrozenModel(network), []
    real = frozen.passes

    def spy(sequences: Any, max_tokens: int) -> Any:
        passed.append(list(sequences))
        return real(sequences, max_tokens)

    monkeypatch.setattr(frozen, "passes", spy)
    first, second = SEQUENCES[7], SEQUENCES[9]
    found = frozen.logprobs([first, second, first, (list(second[0]), list(second[1]))])  # type: ignore[list-item]
    assert passed == [[first, second]]
    for values, sequence in zip(found, (first, second, first, second), strict=True):
        np.testing.assert_allclose(values, token_logprobs(network, *sequence), atol=2e-6)


def test_what_is_distilled_more_than_once_is_scored_once(network: Network) -> None:
    """Three examples of two sequences: two rows of the teacher's input, and three of scores, each its own copy."""
    given: list[tuple[int, ...]] = []
    network.model.register_forward_pre_hook(
        lambda _, args, named: given.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    first, second = SEQUENCES[7], SEQUENCES[2]
    scores = FrozenModel(network).teacher_scores({4: first, 1: second, 0: first}, K, with_tail=True)
    assert given == [(2, 7)]
    assert scores.offsets.tolist() == [0, 3, 9, 12] and scores.example.tolist() == [4, 1, 0]
    found = scores.by_example()
    for example, (prompt, response) in {4: first, 1: second, 0: first}.items():
        expected = rows(network, prompt, response).numpy()
        np.testing.assert_allclose(found[example].logprobs, np.sort(expected, 1)[:, : -K - 1 : -1], atol=2e-6)
        np.testing.assert_allclose(found[example].entropy, -(np.exp(expected) * expected).sum(1), atol=2e-6)
        tail = np.log(np.exp(np.sort(expected, 1)[:, :-K]).sum(1))
        assert found[example].tail is not None
        np.testing.assert_allclose(found[example].tail, tail, atol=2e-6)
