"""Distances between two checkpoints on responses, against one plain forward pass a sequence in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from artifact.actors import distance
from artifact.actors.placement import Slot
from artifact.actors.scoring import ScoringActor
from artifact.errors import Mismatch

TOKENS, PROMPTED = 40, [((1, 2, 3), (4, 5, 6, 7)), ((8,), (9, 3)), ((5, 5, 5, 5, 5), (1,))]


def make(folder, rows: int, layers: int, seed: int) -> str:
    """A random Llama whose head has `rows` rows, of which `TOKENS` are tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=rows,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.4)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("pair")
    return make(folder / "teacher", 48, 3, 0), make(folder / "student", 44, 2, 1)


def plain(path: str, prompt: tuple[int, ...], response: tuple[int, ...]) -> np.ndarray:
    """Probabilities of the tokens at each response position, from logits of the whole sequence."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path).double()
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, :, :TOKENS]
    return torch.softmax(logits, -1)[len(prompt) - 1 : len(prompt) + len(response) - 1].numpy()


def test_equals_a_plain_forward_pass(checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is packed together and however many rows are held at once, each response has its own mean."""
    teacher, student = checkpoints
    frozen = ScoringActor(Slot("teacher", 1.0, 0.0, "cpu", 1), "float32")
    for rows, max_tokens in ((64, 4096), (2, 8)):
        monkeypatch.setattr(distance, "ROWS", rows)
        found = distance.distances(
            frozen, teacher, student, PROMPTED, top_k=5, vocabulary=TOKENS, max_tokens=max_tokens
        )
        for (prompt, response), values in zip(PROMPTED, found, strict=True):
            p, q = plain(teacher, prompt, response), plain(student, prompt, response)
            assert values["forward"] == pytest.approx(rel_entr(p, q).sum(1).mean(), abs=2e-6)
            assert values["reverse"] == pytest.approx(rel_entr(q, p).sum(1).mean(), abs=2e-6)
            assert values["teacher_mass"] == pytest.approx(np.sort(p, 1)[:, -5:].sum(1).mean(), abs=1e-6)
            assert values["agreement"] == pytest.approx((p.argmax(1) == q.argmax(1)).mean())
            assert 0 < values["padding"] < 1
    assert not torch.is_inference_mode_enabled()
    assert frozen.ready() == [teacher]  # the student's weights were let go


def test_a_checkpoint_is_at_distance_zero_from_itself(checkpoints) -> None:
    frozen = ScoringActor(Slot("teacher", 1.0, 0.0, "cpu", 1), "float32")
    teacher, _ = checkpoints
    for values in distance.distances(frozen, teacher, teacher, PROMPTED, top_k=5, vocabulary=TOKENS):
        assert values["forward"] == values["reverse"] == 0.0 and values["agreement"] == 1.0


def test_tool_tokens_are_read_and_not_counted(checkpoints) -> None:
    """A masked mean is the mean of the kept positions of the plain forward pass; the context stays whole."""
    frozen = ScoringActor(Slot("teacher", 1.0, 0.0, "cpu", 1), "float32")
    teacher, student = checkpoints
    masks = [(True, False, False, True), None, (True,)]
    found = distance.distances(frozen, teacher, student, PROMPTED, top_k=5, vocabulary=TOKENS, masks=masks)
    for (prompt, response), mask, values in zip(PROMPTED, masks, found, strict=True):
        p, q = plain(teacher, prompt, response), plain(student, prompt, response)
        kept = np.ones(len(response), bool) if mask is None else np.array(mask)
        assert values["forward"] == pytest.approx(rel_entr(p, q).sum(1)[kept].mean(), abs=2e-6)
    for wrong in ((True,), (False,) * 4):
        with pytest.raises(Mismatch, match="keep at least one token"):
            distance.distances(
                frozen, teacher, student, PROMPTED, top_k=5, vocabulary=TOKENS, masks=[wrong, None, None]
            )


def test_logits_of_bfloat16_weights_are_formed_in_float32() -> None:
    """The product of the same bfloat16 numbers: rounded to 8 bits it would be off by 1e-2 and more."""
    generator = torch.Generator().manual_seed(0)
    hidden, head = (torch.randn(n, 64, generator=generator).to(torch.bfloat16) for n in (6, 50))
    other = torch.randn(50, 64, generator=generator).to(torch.bfloat16)
    found = distance._over_rows(hidden, head, hidden, other, top_k=5, vocabulary=50)["forward"]
    p, q = (torch.softmax(hidden.double() @ w.double().T, -1).numpy() for w in (head, other))
    assert found.numpy() == pytest.approx(rel_entr(p, q).sum(1), rel=1e-5)
