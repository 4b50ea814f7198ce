"""A teacher that answers by itself, on a network whose next token is known: where it stops, and what it may say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.train.tiny import tiny_qwen3

from artifact.actors.answering import answer, left_pad
from artifact.errors import ArtifactError
from artifact.train.scoring import FrozenModel

V, STOPS = 13, [0, 1]


@pytest.fixture(scope="module")
def frozen() -> FrozenModel:
    model = tiny_qwen3(V, tied=False).eval()
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.5)
    return FrozenModel(model)  # type: ignore[arg-type]


PROMPTS = [(2, 3, 4, 5), (6,), (7, 8)]


def rows(frozen: FrozenModel, prompt: Any, response: Any) -> Any:
    """log softmax before each response token, from one forward pass of the sequence alone."""
    with torch.no_grad():
        logits = frozen.network(torch.tensor([[*prompt, *response]])).logits[0]  # type: ignore[operator]
    return logits[len(prompt) - 1 : -1].double().log_softmax(-1)


def ask(frozen: FrozenModel, prompts: Any = PROMPTS, how: str = "generate", **options: Any) -> Any:
    decoding = {"top_k": 2, "temperature": 1.0, "max_new_tokens": 6, "stop_token_ids": STOPS, "seed": 5}
    return answer(frozen, prompts, how, **(decoding | options))


def test_prompts_end_in_one_column() -> None:
    tokens, attention = left_pad(PROMPTS, "cpu")
    assert tokens.tolist() == [[2, 3, 4, 5], [0, 0, 0, 6], [0, 0, 7, 8]]
    assert attention.tolist() == [[1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 1, 1]]


def test_answers_end_at_the_first_stop_token_and_carry_raw_log_probabilities(frozen: FrozenModel) -> None:
    prompts = PROMPTS * 20
    found = ask(frozen, prompts, temperature=0.7)
    assert {c.finish_reason for c in found} == {"stop", "length"}
    for prompt, c in zip(prompts, found, strict=True):
        ids = c.ids.tolist()
        assert not set(ids[:-1]) & set(STOPS)
        assert (ids[-1] in STOPS) == (c.finish_reason == "stop") and (ids[-1] in STOPS or len(ids) == 6)
        expected = [float(row[t]) for row, t in zip(rows(frozen, prompt, ids), ids, strict=True)]
        assert c.logprobs.tolist() == pytest.approx(expected, abs=1e-4), "of temperature 1, whatever was sampled at"


def test_temperature_0_is_greedy_for_each_prompt_as_if_alone(frozen: FrozenModel) -> None:
    for prompt, c in zip(PROMPTS, ask(frozen, temperature=0.0), strict=True):
        assert c.ids.tolist() == rows(frozen, prompt, c.ids.tolist()).argmax(-1).tolist()


def test_autoregress_draws_from_the_top_k_and_generate_from_all(frozen: FrozenModel) -> None:
    outside = {}
    for how in ("autoregress", "generate"):
        prompts = PROMPTS * 10
        outside[how] = 0
        for prompt, c in zip(prompts, ask(frozen, prompts, how), strict=True):
            for row, token in zip(rows(frozen, prompt, c.ids.tolist()), c.ids.tolist(), strict=True):
                outside[how] += token not in row.topk(2).indices.tolist()
    assert outside["autoregress"] == 0 < outside["generate"]


def test_the_seed_decides_and_the_callers_generator_is_left_alone(frozen: FrozenModel) -> None:
    def said(seed: int) -> list[list[int]]:
        return [c.ids.tolist() for c in ask(frozen, seed=seed)]

    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert said(5) == said(5) and len({str(said(seed)) for seed in range(5)}) > 1
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ArtifactError, match="unknown way 'guess'"):
        ask(frozen, how="guess")


@pytest.mark.parametrize(("how", "temperature"), [("generate", 1.0), ("generate", 0.0), ("autoregress", 1.0)])
def test_padded_rows_are_never_drawn(how: str, temperature: float) -> None:
    """The last 3 rows of a head of 13 are padding with huge logits of either sign: drawn where nothing forbids."""
    model = tiny_qwen3(V, tied=False).eval()
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.5)
        model.lm_head.weight[-3:] = 50 * torch.tensor([[1.0], [-1.0], [1.0]])
    padded = FrozenModel(model)  # type: ignore[arg-type]
    asked = {"how": how, "temperature": temperature, "prompts": PROMPTS * 5}
    assert max(int(c.ids.max()) for c in ask(padded, **asked)) >= V - 3
    assert max(int(c.ids.max()) for c in ask(padded, **asked, vocabulary=V - 3)) < V - 3
