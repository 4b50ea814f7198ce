"""Start-up checks: each passes on what is right and fails, with its remedy, on one thing made wrong."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artifact.errors import Mismatch
from artifact.tasks import checks, pair_checks
from artifact.worlds.tiny.tokenizer import CHAT_TEMPLATE, build_tokenizer

sys.path.insert(0, str(Path(__file__).parent))
from qwen3 import MODEL_ROWS, qwen3_tokenizer

TINY_PROBES = ("Solve x+1=6.", "Ben has 7 pens, finds 9. How many pens?")
TINY_EXCHANGE = ("Solve x+1=6.", "x=6-1;x=5;\\boxed{x=5}")


def tiny(template: str | None = None) -> Any:
    tokenizer = copy.deepcopy(build_tokenizer())
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def config(rows: int, positions: int = 512) -> Any:
    return SimpleNamespace(vocab_size=rows, max_position_embeddings=positions)


def details(findings: list[checks.Finding]) -> str:
    return "\n".join(f"{f.check}: {f.detail}" for f in findings)


def test_the_embedded_tier_passes() -> None:
    tokenizer = tiny()
    found = checks.check_all(
        checks.model_checks(tokenizer, config(len(tokenizer)), None, None, TINY_PROBES, TINY_EXCHANGE)
    )
    assert {f.check for f in found} == {"vocabulary", "special tokens", "round trip", "template", "eos"}
    assert "0 padded" in details(found)


def test_vocabulary_larger_than_the_head() -> None:
    tokenizer = tiny()
    size = len(tokenizer)
    with pytest.raises(Mismatch, match=f"ids up to {size - 1}, but the model has {size - 1} rows"):
        checks.check_vocabulary(tokenizer, config(size - 1))
    assert "7 padded" in details(checks.check_vocabulary(tokenizer, config(size + 7)))


def test_special_tokens() -> None:
    tokenizer = tiny()
    tokenizer.pad_token = tokenizer.eos_token
    assert "pad equals eos" in details(checks.check_special_tokens(tokenizer))
    tokenizer.eos_token = None
    with pytest.raises(Mismatch, match="no EOS token"):
        checks.check_special_tokens(tokenizer)
    broken = SimpleNamespace(
        eos_token_id=1,
        name_or_path="broken",
        all_special_tokens=["<eos>"],
        encode=lambda text, add_special_tokens: [4, 5, 6],
        convert_tokens_to_ids=lambda token: 1,
    )
    with pytest.raises(Mismatch, match=r"'<eos>' of tokenizer 'broken' is read as 3 tokens"):
        checks.check_special_tokens(broken)


def test_a_text_that_changes_on_the_way_is_refused() -> None:
    with pytest.raises(Mismatch, match="verified on another text"):
        checks.check_round_trip(tiny())  # calculator marks and LaTeX are unknown to the closed world
    with pytest.raises(Mismatch, match=r"\(1 of 2501 texts change\)"):
        checks.check_round_trip(tiny(), [*["7+9=16"] * 1200, "naïve", *["7+9=16"] * 1300])


def test_eos_ids() -> None:
    tokenizer = tiny()
    eos = tokenizer.eos_token_id
    assert checks.eos_ids(tokenizer) == (eos,)
    assert checks.eos_ids(tokenizer, {"eos_token_id": [0, eos]}) == (0, eos)
    assert checks.eos_ids(tokenizer, SimpleNamespace(eos_token_id=1)) == (1, eos)
    with pytest.raises(Mismatch, match=r"eos ids \[151645\]"):
        checks.eos_ids(tokenizer, {"eos_token_id": 151645})
    tokenizer.eos_token = None
    with pytest.raises(Mismatch, match="no end-of-sequence"):
        checks.eos_ids(tokenizer, {"eos_token_id": None})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("+ eos_token }}{% endfor %}", "+ pad_token }}{% endfor %}", "EOS is not reachable"),
        ("+ eos_token }}{% endfor %}", "}}{% endfor %}", "EOS is not reachable"),
        ("message['content'] + eos_token", "message['content'][1:] + eos_token", "drops or changes the question"),
        ("{{ '<|assistant|>' }}{% endif %}", "{{ '<|system|>' }}{% endif %}", "is no prefix of the conversation"),
    ],
)
def test_template_made_wrong(old: str, new: str, message: str) -> None:
    assert old in CHAT_TEMPLATE
    tokenizer = tiny(CHAT_TEMPLATE.replace(old, new))
    with pytest.raises(Mismatch, match=message):
        checks.check_template(tokenizer, [tokenizer.eos_token_id], exchange=TINY_EXCHANGE)


def test_a_template_that_drops_responses() -> None:
    tokenizer = tiny(
        CHAT_TEMPLATE.replace("message['content'] + eos_token", "(message['content'] if loop.first else '')")
    )
    with pytest.raises(Mismatch, match="drops or changes the response"):
        checks.check_template(tokenizer, [tokenizer.eos_token_id], exchange=TINY_EXCHANGE)


def test_a_stop_id_that_the_template_never_writes() -> None:
    tokenizer = tiny()
    with pytest.raises(Mismatch, match=r"stops at \[0\] = \['<\|pad\|>'\]"):
        checks.check_template(tokenizer, [tokenizer.pad_token_id], exchange=TINY_EXCHANGE)


def test_context_length() -> None:
    assert "24 to spare" in details(checks.check_context(config(9), 512, 400, 88))
    checks.check_context(config(9), 512, 400, 112)
    with pytest.raises(Mismatch, match=r"need 513, but cluster.engine.max_model_len = 512"):
        checks.check_context(config(9), 512, 400, 113)
    with pytest.raises(Mismatch, match="exceeds the model's 512 positions"):
        checks.check_context(config(9), 513, 4, 4)


def test_agreement_of_teacher_and_student() -> None:
    student = tiny()
    size = len(student)
    assert "rows" not in details(pair_checks.check_agreement(student, tiny(), config(size), config(size), TINY_PROBES))
    padded = pair_checks.check_agreement(student, tiny(), config(size), config(size + 50), TINY_PROBES)
    assert f"teacher {size + 50}; the teacher's top-k stops at the tokenizer's {size}" in details(padded)
    other = tiny()
    other.add_tokens(["novel"])
    with pytest.raises(Mismatch, match=rf"'novel' is None and {size}"):
        pair_checks.check_agreement(student, other)


def test_same_vocabulary_with_other_pieces_is_refused() -> None:
    from tokenizers import Regex, pre_tokenizers

    teacher = tiny()
    teacher.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    with pytest.raises(Mismatch, match="share a vocabulary but cut"):
        pair_checks.check_agreement(tiny(), teacher, probes=TINY_PROBES)


def test_all_failures_are_reported_at_once() -> None:
    tokenizer = tiny()
    jobs = [
        lambda: checks.check_context(config(9), 512, 400, 113),
        lambda: checks.check_vocabulary(tokenizer, config(3)),
        lambda: checks.check_special_tokens(tokenizer),
    ]
    with pytest.raises(Mismatch, match=r"2 start-up checks failed:\n1\. the longest prompt.*\n2\. tokenizer"):
        checks.check_all(jobs)
    assert len(checks.check_all(jobs[2:])) == 1


def qwen3_config() -> Any:
    """Qwen3 with its true vocabulary and attention head size, and a tiny hidden size."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=MODEL_ROWS,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=128,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
    )


def test_qwen3_tokenizer_with_its_padded_vocabulary() -> None:
    tokenizer, made = qwen3_tokenizer(), qwen3_config()
    generation = {"eos_token_id": [151_645, 151_643]}
    found = details(checks.check_all(checks.model_checks(tokenizer, made, generation)))
    assert "151,669 tokens, 151,936 rows, 267 padded" in found
    assert "a stored turn holds '<think>\\n\\n</think>\\n\\n' before the response" in found
    assert "a turn ends with 151645" in found
    off = details(checks.check_template(tokenizer, [151_645], thinking=False))
    assert "<think>" not in off  # the prompt itself holds the empty block
    with pytest.raises(Mismatch, match=r"EOS is not reachable.*<\|endoftext\|>"):
        checks.check_template(tokenizer, [151_643])  # a base model's generation config under the chat template
    assert "151,669 tokens mean the same" in details(pair_checks.check_agreement(tokenizer, tokenizer, made, made))


def test_qwen3_head_of_true_size() -> None:
    tokenizer = qwen3_tokenizer()
    import torch
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(0)
    model = Qwen3ForCausalLM(qwen3_config()).eval()
    checks.check_head(model)
    ids = torch.tensor([checks.encode_prompt(tokenizer, [{"role": "user", "content": "How much is 2 + 2?"}])])
    with torch.no_grad():
        logits = model(ids).logits
    assert logits.shape == (1, ids.shape[1], MODEL_ROWS)  # padded rows take part in the soft-max
    model.config.vocab_size = 151_669
    with pytest.raises(Mismatch, match="151936 rows, its config says 151669"):
        checks.check_head(model)
