"""A model that is not whole is refused wherever it is loaded, with what is wrong and what to do about it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.fake_hub import TINY, FakeHub, copy_of
from tests.poison import NORM, POISONS, sharded, with_config, with_tensors

from artifact.actors import checkpoints, session
from artifact.actors.checkpoints import (
    SAFE,
    Sizes,
    check_model,
    load_config,
    load_frozen,
    load_network,
    load_sizes,
    load_tokenizer,
)
from artifact.actors.scoring import ScoringActor
from artifact.actors.weight_sync import EngineExtension
from artifact.config import load
from artifact.errors import BrokenModel

READERS = (check_model, load_config, load_tokenizer)
WEIGHTS = [n for n in POISONS if "tokenizer" not in n]


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_network_that_is_not_whole_is_refused(name: str, tmp_path: Path) -> None:
    poison, words = POISONS[name]
    folder = str(copy_of("student", tmp_path / "model", poison))
    for read in (lambda: load_network(folder, "float32"), lambda: check_model(folder)):
        with pytest.raises(BrokenModel, match=words) as refused:
            read()
        assert folder in str(refused.value)
        assert str(refused.value).count(";") >= 1, "a remedy stands behind a semicolon"


@pytest.mark.parametrize("name", ["broken tokenizer.json", "no tokenizer", "broken config.json"])
def test_a_tokenizer_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    poison, words = POISONS[name]
    with pytest.raises(BrokenModel, match=words):
        load_tokenizer(str(copy_of("student", tmp_path / "model", poison)))


@pytest.mark.parametrize("name", ["student", "teacher-a", "teacher-b"])
def test_what_is_loaded_is_what_lies_in_the_file(name: str) -> None:
    folder = TINY / name
    network, stored = load_network(str(folder), "float32"), load_file(folder / "model.safetensors")
    check_model(str(folder))
    state = network.state_dict()
    assert {n: t for n, t in state.items() if n != "lm_head.weight"}.keys() == stored.keys() - {"lm_head.weight"}
    assert all(torch.equal(state[n], t) for n, t in stored.items())
    frozen = load_frozen(str(folder), "float32")
    assert not frozen.training and not any(p.requires_grad for p in frozen.parameters())


def test_loading_changes_no_number_and_draws_none() -> None:
    """The network is the one that transformers gives when it is asked plainly, bit for bit, and the seed stands."""
    from transformers import AutoModelForCausalLM

    folder, ids = str(TINY / "student"), torch.tensor([[1, 5, 6, 7, 8, 9]])
    plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    strict = load_network(folder, "float32")
    check_model(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(strict(ids).logits, plain(ids).logits)
    assert strict.config.to_dict() == plain.config.to_dict()
    assert strict.config._attn_implementation == plain.config._attn_implementation
    assert strict.generation_config.to_dict() == plain.generation_config.to_dict()
    assert [n for n, _ in strict.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert not strict.training


def test_threads_may_load_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    from transformers.utils import logging

    before = logging.is_progress_bar_enabled(), logging.get_verbosity()
    folders = [str(TINY / n) for n in ("student", "teacher-a", "teacher-b")] * 3
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda f: load_network(f, "float32"), folders))
    for folder, network in zip(folders, loaded, strict=True):
        stored = load_file(Path(folder) / "model.safetensors")
        assert all(torch.equal(network.state_dict()[n], t) for n, t in stored.items())
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == before


def test_sharded_weights_are_the_same_model(tmp_path: Path) -> None:
    folder = str(copy_of("student", tmp_path / "model", sharded))
    check_model(folder)
    state, whole = load_network(folder, "float32").state_dict(), load_network(str(TINY / "student"), "float32")
    assert all(torch.equal(state[n], t) for n, t in whole.state_dict().items())


def test_weights_that_overflow_the_number_type_are_refused(tmp_path: Path) -> None:
    large = with_tensors(lambda t: t.update({NORM: torch.full_like(t[NORM], 1e30)}))
    folder = str(copy_of("student", tmp_path / "model", large))
    load_network(folder, "float32")
    load_network(folder, "bfloat16")
    with pytest.raises(BrokenModel, match=rf"{NORM} holds NaN or infinity in 64 of 64"):
        load_network(folder, "float16")


def test_code_that_a_model_brings_is_never_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    mine = {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M", "AutoTokenizer": ["mine.T", None]}

    def with_code(folder: Path) -> None:
        with_config(model_type="mine", auto_map=mine)(folder)
        (folder / "mine.py").write_text(f"open({str(witness)!r}, 'w').close()\n")

    folder = str(copy_of("student", tmp_path / "model", with_code))
    for read in (lambda: load_network(folder, "float32"), *(lambda f=f: f(folder) for f in READERS)):
        with pytest.raises(BrokenModel, match=r"never run \(trust_remote_code=False\)"):
            read()
    assert not witness.exists()


def test_loading_says_nothing(tmp_path: Path) -> None:
    """Neither a bar for what is sound, nor a table beside the error for what is not: notebooks show both."""
    folder = copy_of("student", tmp_path / "model", POISONS["a tensor removed"][0])
    code = (
        "from artifact.actors.checkpoints import check_model, load_network\n"
        f"check_model({str(TINY / 'student')!r}); load_network({str(TINY / 'student')!r}, 'float32')\n"
        f"try: check_model({str(folder)!r})\nexcept RuntimeError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TINY)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_model_is_checked_once_for_each_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = checkpoints._read

    def counted(path: str, *arguments: Any, **options: Any) -> Any:
        read.append(path)
        return plain(path, *arguments, **options)

    monkeypatch.setattr(checkpoints, "_read", counted)
    folder = copy_of("student", tmp_path / "model")
    check_model(str(folder))
    check_model(str(folder))
    assert len(read) == 1
    with_tensors(lambda t: t.pop(NORM))(folder)
    with pytest.raises(BrokenModel, match=rf"missing, e.g. {NORM}"):
        check_model(str(folder))


@pytest.mark.parametrize("role", ["engines", "student", "teacher"])
def test_nothing_is_started_for_a_model_that_is_not_whole(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Started(Exception):
        pass

    def connect(*cluster: object) -> None:
        raise Started

    monkeypatch.setattr(session, "connect", connect)
    bad = str(copy_of("student", tmp_path / "bad", POISONS["NaN"][0]))
    models: dict[str, Any] = {}
    if role == "student":
        models = {"models.student": bad}
    elif role == "teacher":
        models = {"models.teachers": {"A": bad}}
    config = load("tiny", models)
    engines = bad if role == "engines" else None
    with pytest.raises(BrokenModel, match="holds NaN"):
        session.open_actors(config, engines_for=engines, student=role == "student", teacher=role == "teacher")
    with pytest.raises(Started):
        session.open_actors(load("tiny"), engines_for="models/tiny/student", student=True, teacher=True)


def engine_weights(path: str, tied: bool) -> dict[str, torch.Tensor]:
    """What an engine would be given of the checkpoint at `path`."""
    given: dict[str, torch.Tensor] = {}
    worker: Any = EngineExtension()
    shape = SimpleNamespace(tie_word_embeddings=tied)
    worker.model_runner = SimpleNamespace(model_config=SimpleNamespace(hf_config=shape))
    worker.device, worker.get_model = "cpu", torch.nn.Module
    worker.reload_weights = lambda weights_iterator: given.update(weights_iterator)
    worker.load_checkpoint_weights(path)
    return given


def test_engines_are_given_the_folder_of_a_hub_model(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from artifact.paths import resolve_model
    from artifact.studies import annotate

    hub.put("lab/small", copy_of("student", tmp_path / "model", lambda folder: None))
    given: list[str] = []
    engine = SimpleNamespace(load_checkpoint=SimpleNamespace(remote=given.append))
    monkeypatch.setattr(annotate, "call", lambda refs, limit, what: refs)
    config = load("tiny", {"cluster.engine.prove_weights": False})
    assert annotate.load_checkpoint(config, SimpleNamespace(engines=[engine]), "lab/small", None) is None  # type: ignore[arg-type]
    assert given == [resolve_model("lab/small")] and (Path(given[0]) / "config.json").is_file()


@pytest.mark.parametrize("parts", ["one file", "two files"])
@pytest.mark.parametrize("tied", [True, False])
def test_an_engine_is_given_every_weight_of_a_hub_model_and_the_head(
    tied: bool, parts: str, hub: FakeHub, tmp_path: Path
) -> None:
    from artifact.paths import resolve_model

    stored = load_file(TINY / "student" / "model.safetensors")
    stored.pop("lm_head.weight", None)
    head = stored["model.embed_tokens.weight"] if tied else stored["model.embed_tokens.weight"] + 1

    def change(folder: Path) -> None:
        if not tied:
            save_file(stored | {"lm_head.weight": head}, folder / "model.safetensors", {"format": "pt"})
            with_config(tie_word_embeddings=False)(folder)
        if parts == "two files":
            sharded(folder)

    hub.put("lab/small", copy_of("student", tmp_path / "model", change))
    given = engine_weights(resolve_model("lab/small"), tied)
    assert given.keys() == stored.keys() | {"lm_head.weight"}
    assert torch.equal(given["lm_head.weight"], head)
    assert all(torch.equal(given[n], t) for n, t in stored.items())


@pytest.mark.parametrize(("device", "kept"), [("cpu", False), ("cuda:0", True)])
def test_experts_on_a_cpu_are_packed_again_with_new_weights(device: str, kept: bool) -> None:
    """vLLM 0.32 packs them where a layer has no kernel yet: Qwen3-MoE was nats off after its weights were loaded."""
    layer, kernel = torch.nn.Linear(1, 1), object()
    layer.quant_method = SimpleNamespace(moe_kernel=kernel)  # type: ignore[assignment]
    worker: Any = EngineExtension()
    worker.device, worker.get_model = device, lambda: torch.nn.Sequential(layer)
    seen = []
    worker.reload_weights = lambda weights_iterator: seen.append(layer.quant_method.moe_kernel is kernel)
    worker._take(())
    assert seen == [kept]


def test_an_engine_refuses_what_is_not_whole(tmp_path: Path) -> None:
    for name in ("a tensor removed", "a shard missing", "NaN", "pickled"):
        poison, words = POISONS[name]
        with pytest.raises(BrokenModel, match=words):
            engine_weights(str(copy_of("student", tmp_path / name, poison)), tied=True)


@pytest.fixture
def actor() -> ScoringActor:
    held: Any = ScoringActor.__new__(ScoringActor)  # without a process of its own
    held.device, held.dtype, held.one_model, held._models = "cpu", "float32", False, {}
    return held


def test_a_scoring_actor_keeps_no_old_weights(actor: ScoringActor, tmp_path: Path) -> None:
    """Other contents under the same name, of the same size and time, are read again; the same contents are not."""
    pair = [((1, 5, 6), (7, 8, 2))]
    folder = copy_of("student", tmp_path / "model")
    weights = folder / "model.safetensors"
    first, stat = actor.load(str(folder)), weights.stat()
    os.utime(weights)
    assert actor.load(str(folder)) is first
    tensors = load_file(weights)
    tensors[NORM] = tensors[NORM] * 2
    save_file(tensors, weights, {"format": "pt"})
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (weights.stat().st_size, weights.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    second = actor.logprobs(str(folder), pair)
    shutil.copytree(folder, tmp_path / "other")
    expected = actor.logprobs(str(tmp_path / "other"), pair)
    assert (second[0] == expected[0]).all() and (second[0] != first.logprobs(pair)[0]).any()


def test_a_scoring_actor_follows_a_configuration_too(actor: ScoringActor, tmp_path: Path) -> None:
    folder = copy_of("student", tmp_path / "model")
    first = actor.load(str(folder))
    with_config(rms_norm_eps=0.5)(folder)
    assert actor.load(str(folder)) is not first


MODELS_HERE = sorted(f.parent for f in TINY.parent.glob("*/*/tokenizer_config.json"))


@pytest.mark.parametrize("folder", MODELS_HERE, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_a_tokenizer_that_states_its_class_is_the_one_that_transformers_finds(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    found, peer = load_tokenizer(str(folder)), AutoTokenizer.from_pretrained(str(folder), **SAFE)
    assert type(found) is type(peer)
    assert found.get_vocab() == peer.get_vocab() and found.special_tokens_map == peer.special_tokens_map
    texts = ["What is 12 + 7?", "  a\n\nb <|im_end|>", "π ≈ 3.14"]
    assert found(texts)["input_ids"] == peer(texts)["input_ids"]
    assert found.chat_template == peer.chat_template
    for name, tokenizer in (("found", found), ("peer", peer)):
        tokenizer.save_pretrained(tmp_path / name)  # a run's weights hold it
    assert {f.name: f.read_bytes() for f in (tmp_path / "found").iterdir()} == {
        f.name: f.read_bytes() for f in (tmp_path / "peer").iterdir()
    }


def _states(**changed: Any) -> Callable[[Path], None]:
    """A poison that rewrites `tokenizer_config.json`; a value of None takes the key away."""

    def rewrite(folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        data = json.loads(path.read_text()) | changed
        path.write_text(json.dumps({name: value for name, value in data.items() if value is not None}))

    return rewrite


@pytest.mark.parametrize(
    "change",
    [
        _states(tokenizer_class=None),
        _states(tokenizer_class="Qwen2Tokenizer"),
        _states(tokenizer_class="PreTrainedTokenizerFast"),
        with_config(model_type="qwen2"),
        lambda folder: (folder / "tokenizer_config.json").unlink(),
    ],
    ids=["none stated", "another class", "the old name", "another family", "no file"],
)
def test_of_any_other_tokenizer_transformers_is_asked(change: Callable[[Path], None], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = str(copy_of("student", tmp_path / "model", change))
    found, peer = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder, **SAFE)
    assert type(found) is type(peer)
    assert found("What is 12 + 7?")["input_ids"] == peer("What is 12 + 7?")["input_ids"]


@pytest.mark.parametrize("folder", MODELS_HERE, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_sizes_are_those_that_transformers_reads(folder: Path) -> None:
    from transformers import AutoConfig

    peer = AutoConfig.from_pretrained(str(folder))
    assert load_sizes(str(folder)) == Sizes(peer.vocab_size, peer.max_position_embeddings)


def test_sizes_that_a_model_leaves_to_its_family_are_the_familys(tmp_path: Path) -> None:
    from transformers import Qwen3Config

    folder = copy_of("student", tmp_path / "model", lambda folder: None)
    data = json.loads((folder / "config.json").read_text())
    data.pop("max_position_embeddings")
    (folder / "config.json").write_text(json.dumps(data))
    assert load_sizes(str(folder)) == Sizes(data["vocab_size"], Qwen3Config().max_position_embeddings)


def test_sizes_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    folder = str(copy_of("student", tmp_path / "model", with_config(vocab_size="many")))
    with pytest.raises(BrokenModel, match=r"config\.json cannot be used"):
        load_sizes(folder)


def test_what_is_known_of_a_run_before_it_begins_needs_no_network_to_be_loaded() -> None:
    """Every notebook asks it of every run that it shows: transformers' networks take four seconds to be imported."""
    code = (
        "import sys\n"
        "from artifact.config import load\n"
        "from artifact.studies.inputs import build_inputs\n"
        "build_inputs(load('tiny'))\n"
        "print([name for name in sys.modules if name.startswith('transformers.generation')])\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert said.stdout.splitlines()[-1] == "[]"
