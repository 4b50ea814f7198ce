"""Networks small enough for loops, what it says about one sequence at a time, and a run for it to learn.

`rows` and `token_logprobs` are the tests' own oracle; the rest is a small language of letters with problems in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from artifact.records import Problem, Rollout, Status, Verdict, read_parquet, write_parquet
from artifact.train.branches import ATTENTION, Branches
from artifact.train.inputs import RunInputs
from artifact.train.settings import (
    ContrastSettings,
    DistilSettings,
    Losses,
    Optimiser,
    PolicyGradientSettings,
    RunSettings,
    Sampling,
    TokenRecords,
    Train,
)
from artifact.train.token_records import TokenRecord

if TYPE_CHECKING:
    from transformers import Qwen3ForCausalLM


def tiny_qwen3(vocabulary: int, *, tied: bool = True, seed: int = 0) -> Qwen3ForCausalLM:
    """Two layers of the architecture that is trained, for tests that want attention and an output head; seeded."""
    from transformers import Qwen3Config, Qwen3ForCausalLM  # not at the top: a rank of test_two_ranks needs none of it

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=tied,
        max_position_embeddings=64,
    )
    return Qwen3ForCausalLM(config)


def exact(model: Any) -> Qwen3ForCausalLM:
    """`model` in float64 throughout: transformers' norm rounds to float32, whose gradients do not quite add up."""
    for module in list(model.modules()):
        name: str
        child: Any
        for name, child in module.named_children():
            if type(child).__name__ in ("LlamaRMSNorm", "Qwen3RMSNorm"):
                norm = nn.RMSNorm(child.weight.shape, eps=child.variance_epsilon)
                norm.weight = child.weight
                setattr(module, name, norm)
    exact_model: Qwen3ForCausalLM = model.double()
    return exact_model


class Decoder(nn.Module):
    """Embedding and a GRU: causal, as a decoder is, and nothing else."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.recurrent = nn.GRU(hidden, hidden, batch_first=True)

    checkpointed = False
    config = SimpleNamespace(_attn_implementation=ATTENTION)

    def forward(
        self,
        *,
        input_ids: Tensor,
        use_cache: bool,
        branches: Branches | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> SimpleNamespace:
        if branches is not None:  # all of this decoder looks back, so all of it sees whole sequences
            assert attention_mask is not None and attention_mask.all()
            rows = self(input_ids=input_ids[0][branches.token_BT], use_cache=use_cache).last_hidden_state
            return SimpleNamespace(last_hidden_state=branches.join(rows[:, :, None])[:, :, 0])
        embedded = self.embedding(input_ids)
        if self.checkpointed and self.training:
            return SimpleNamespace(last_hidden_state=checkpoint(self.recurrent, embedded, use_reentrant=False)[0])
        return SimpleNamespace(last_hidden_state=self.recurrent(embedded)[0])


class Network(nn.Module):
    """`model` and `lm_head`, as transformers has them; the same weights for the same seed."""

    supports_gradient_checkpointing = True

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, bool]) -> None:
        assert gradient_checkpointing_kwargs == {"use_reentrant": False}
        self.model.checkpointed = True

    def __init__(self, seed: int = 0, vocabulary: int = 11, hidden: int = 6) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = Decoder(vocabulary, hidden)
            self.lm_head = nn.Linear(hidden, vocabulary, bias=False)
            nn.init.normal_(self.lm_head.weight, std=2.0)


def rows(network: Network, prompt: Sequence[int], response: Sequence[int], tau: float = 1.0) -> Tensor:
    """log softmax(z_t / τ) before each response token, [T, V] in float64, from the sequence by itself."""
    with torch.no_grad():
        states = network.model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).last_hidden_state[0]
        logits = states.double() @ network.lm_head.weight.double().T
    return (logits[len(prompt) - 1 : len(prompt) + len(response) - 1] / tau).log_softmax(-1)


def token_logprobs(network: Network, prompt: Sequence[int], response: Sequence[int]) -> list[float]:
    """log p of each response token, at temperature 1."""
    return [float(row[token]) for row, token in zip(rows(network, prompt, response), response, strict=True)]


STOP = 0
"""Token 0 ends a response; tokens 1 to 10 are letters of the tests' own language."""


def settings(**changed: Any) -> RunSettings:
    """A run of 5 steps with 2 problems of 2 rollouts each; `train__curve_every=2` changes a value of a section."""
    sections: dict[str, dict[str, Any]] = {
        "sampling": {"samples_per_prompt": 2, "max_new_tokens": 5, "temperature": 1.0},
        "optimiser": {"lr": 0.02, "schedule": "linear", "warmup_fraction": 0.2, "micro_batch_tokens": 24},
        "train": {"steps": 5, "prompts_per_step": 2, "checkpoint_every": 2},
        "distil": {"top_k": 4},
        "contrast": {},
        "policy_gradient": {},
        "losses": {},
        "records": {},
    }
    top = {name: value for name, value in changed.items() if "__" not in name}
    for name, value in changed.items():
        if "__" in name:
            section, _, key = name.partition("__")
            sections[section][key] = value
    losses = Losses(
        DistilSettings(**sections["distil"]),
        ContrastSettings(**sections["contrast"]),
        PolicyGradientSettings(**sections["policy_gradient"]),
        **sections["losses"],
    )
    sections["train"]["token_records"] = TokenRecords(**sections["records"])
    parts = Sampling(**sections["sampling"]), losses, Optimiser(**sections["optimiser"]), Train(**sections["train"])
    return RunSettings(*parts, **{"curve_tokens": 5, "seed": 3} | top)


def problems(n: int) -> list[Problem]:
    """Problem i asks for token 1 + i; its solution is that token, three times."""
    return [Problem(f"p{i}", "q", chr(97 + i), chr(97 + i) * 3, "t", "easy") for i in range(n)]


def encode(problem: Problem, context: str) -> tuple[int, ...]:
    """Two tokens that name the problem; an informed prompt has one more in front of them."""
    first = ord(problem.answer) - 96
    return {"none": (), "answer": (9,), "solution": (10,)}[context] + (first, 8)


def decode(responses: Sequence[Sequence[int]]) -> list[str]:
    return ["".join(chr(96 + t) for t in ids if t != STOP) for ids in responses]


def encode_text(text: str) -> tuple[int, ...]:
    return (*(ord(c) - 96 for c in text), STOP)


def verify(texts: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
    """Right where the response holds the gold letter."""
    return [
        Verdict(Status.CORRECT, p.answer) if p.answer in text else Verdict(Status.WRONG, text)
        for text, p in zip(texts, problems, strict=True)
    ]


def graded(texts: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
    """`verify`, with a score: the share of the letters up to `d`."""
    scores = [sum(letter <= "d" for letter in text) / len(text) if text else 0.0 for text in texts]
    return [replace(v, score=x, rule="early") for v, x in zip(verify(texts, problems), scores, strict=True)]


def inputs(train: int = 5, curve: int = 2) -> RunInputs:
    return RunInputs(problems(train), problems(curve), encode, encode_text, decode, verify)


class Stopped(Exception):
    """The run was ended from outside."""


class MemoryLog:
    """A `Log` that keeps what it is told; it stops the run once `stop_after` steps are logged."""

    def __init__(self, folder: Path, stop_after: int | None = None, committed: int = 0) -> None:
        self.checkpoints, self.weights = folder / "checkpoints", folder / "weights"
        self.stop_after, self.committed = stop_after, committed
        self.steps: list[int] = []
        self.groups: list[Sequence[Sequence[Rollout]]] = []
        self.metrics: list[dict[str, float]] = []
        self.curves: list[tuple[int, list[str]]] = []
        self.commits: list[int] = []
        self.records: dict[int, list[TokenRecord]] = {}

    def resume(self) -> int:
        return self.committed

    def progress(self, steps: range) -> range:
        return steps

    def step(self, step: int, groups: Any, metrics: dict[str, float], seconds: dict[str, float]) -> None:
        self.steps.append(step)
        self.groups.append(groups)
        self.metrics.append(metrics)
        if self.stop_after is not None and len(self.steps) == self.stop_after:
            raise Stopped

    def tokens(self, step: int, records: Sequence[TokenRecord]) -> None:
        self.records[step] = list(records)

    def curve(self, step: int, problems: Sequence[Problem], groups: Any) -> None:
        self.curves.append((step, [r.problem_id for g in groups for r in g]))

    def keep_ahead(self, step: int, rollouts: Sequence[Rollout]) -> None:
        write_parquet(self.checkpoints / f"step-{step}" / "ahead.parquet", rollouts, Rollout)

    def ahead(self, step: int) -> list[Rollout]:
        return read_parquet(self.checkpoints / f"step-{step}" / "ahead.parquet", Rollout)

    def commit(self, step: int) -> None:
        self.commits.append(step)
        self.committed = step
