"""Stand-ins of the hub: they say what their chain says, in every family, and lie where the hub's client looks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.fake_hub import FakeHub

from artifact.actors.checkpoints import check_model, load_network
from artifact.models import snapshot
from artifact.tasks.checks import PROBES, check_all, check_thinking, model_checks
from artifact.tasks.prompts import encode_prompt
from artifact.worlds.standins.hub import put_dataset, put_model
from artifact.worlds.standins.language import BOX, END, Chain, answering, build_tokenizer, digits, writing
from artifact.worlds.standins.networks import small_shape, write_model

TEXTS = ("Solve the problem. Write the answer in \\boxed{}.", "Question: {question}\nAnswer:")
STATED = {
    "qwen2": {"hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen3": {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": False},
    "qwen3_moe": {
        "hidden_size": 2048,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
}


@pytest.mark.parametrize("family", list(STATED))
def test_a_stand_in_says_what_its_chain_says(family: str, tmp_path: Path) -> None:
    """Next-token probabilities after every state, within the noise of its other weights, in bfloat16."""
    tokenizer, chain = build_tokenizer(family, TEXTS), answering(["\n"], 0.6)
    write_model(tmp_path, STATED[family] | {"model_type": family}, tokenizer, chain, "bfloat16", seed=1)
    check_model(str(tmp_path))
    network = load_network(str(tmp_path), "float32").eval()
    thinking = None if family == "qwen2" else False
    prompt = list(encode_prompt(tokenizer, [{"role": "user", "content": "What is 3 + 4?"}], thinking))
    for said in ([], [" So", " the result is", BOX], [" So", " the result is", BOX, "7}", "\n#### 7"]):
        ids = prompt + [tokenizer.convert_tokens_to_ids(t) for t in said]
        with torch.no_grad():
            found = torch.softmax(network(torch.tensor([ids])).logits[0, -1].double(), -1)
        for word, wanted in chain[said[-1] if said else "\n"].items():
            [token] = tokenizer.encode(word, add_special_tokens=False)
            assert float(found[token]) == pytest.approx(wanted, abs=0.12), (family, said, word)


@pytest.mark.parametrize("family", list(STATED))
def test_its_tokenizer_passes_the_start_up_checks(family: str) -> None:
    from transformers import AutoConfig

    tokenizer = build_tokenizer(family, TEXTS)
    shape = small_shape(STATED[family] | {"model_type": family}, len(tokenizer))
    config, mode = AutoConfig.for_model(**shape), None if family == "qwen2" else False
    check_all(model_checks(tokenizer, config, {"eos_token_id": tokenizer.eos_token_id}, mode, PROBES))
    assert len(check_thinking(tokenizer, mode)) == (family != "qwen2")


def test_chains_are_distributions_that_end() -> None:
    def reach(chain: Chain, state: str) -> set[str]:
        seen, queue = set(), [state]
        while queue:
            if (word := queue.pop()) not in seen:
                seen.add(word)
                queue += chain.get(word, {})
        return seen

    assert sum(digits(0.4).values()) == pytest.approx(1.0) and digits(0.4)["7"] == 0.4
    for chain in (answering(["\n"], 0.5), writing(["\n"])):
        assert all(sum(following.values()) == pytest.approx(1.0) for following in chain.values())
        assert reach(chain, "\n") - chain.keys() == {END}


def test_models_and_datasets_are_found_where_the_hub_would_have_put_them(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    (tmp_path / "m").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "m" / name).write_text("{}")
    commit = put_model(hub.cache, "Org/Name-1B", tmp_path / "m")
    found = snapshot("Org/Name-1B")
    assert found.commit == commit and (found.folder / "config.json").read_text() == "{}"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "sets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    rows = [{"question": f"q{i}", "level": i} for i in range(3)]
    put_dataset(tmp_path / "sets", "Org/Some-Set_v2", "main", {"train": rows, "test": rows[:1]})
    for split, n in (("train", 3), ("test", 1)):
        assert datasets.load_dataset("Org/Some-Set_v2", "main", split=split).to_list() == rows[:n]
