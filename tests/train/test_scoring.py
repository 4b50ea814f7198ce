"""Scoring given responses with a frozen model: against a plain forward pass, and each distinct sequence once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from artifact.actors.checkpoints import load_frozen
from artifact.paths import resolve_model
from artifact.train.scoring import FrozenModel

STUDENT = resolve_model("models/tiny/student")
FIRST, SECOND = ((5, 9, 11), (7, 8, 20, 2)), ((5, 9, 11), (30, 2))


def plain(sequence: tuple[tuple[int, ...], tuple[int, ...]]) -> np.ndarray:
    """log p of each response token, from the logits of the whole sequence."""
    from transformers import AutoModelForCausalLM

    prompt, response = sequence
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(STUDENT)(torch.tensor([[*prompt, *response]])).logits[0]
    rows = torch.log_softmax(logits.double(), -1)[len(prompt) - 1 : -1]
    return rows.gather(1, torch.tensor(response)[:, None])[:, 0].numpy()


def test_a_response_that_is_chosen_for_several_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen, passed = FrozenModel(load_frozen(STUDENT, "float32")), []
    real = frozen.passes

    def spy(sequences: Any, max_tokens: int) -> Any:
        passed.append(list(sequences))
        return real(sequences, max_tokens)

    monkeypatch.setattr(frozen, "passes", spy)
    found = frozen.logprobs([FIRST, SECOND, FIRST, (list(SECOND[0]), list(SECOND[1]))])
    assert passed == [[FIRST, SECOND]]
    for values, sequence in zip(found, (FIRST, SECOND, FIRST, SECOND), strict=True):
        np.testing.assert_allclose(values, plain(sequence), atol=2e-5)
