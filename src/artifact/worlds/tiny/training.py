"""The pretraining loop of the embedded tier: plain torch, one thread, scheduled by steps.

Loss: mean over the response tokens of a batch (EOS included, prompt and padding excluded) of −log p(token | prefix).
Optimisers: Muon on the matrices inside the blocks, AdamW on the embedding (tied with the head) and the norms.
Learning rate: linear warm-up over `warmup` steps, then linear decay to `floor` of the peak.

Deterministic: the same machine, library versions and settings give the same weights, bit for bit. The clock is only
logged, so a slow machine makes the same model, later. Other machines may differ in the last bits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from artifact.worlds.tiny.corpus import Corpus, Document, documents, length_sorted_batches

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

IGNORED = -100
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stage:
    """One run of the loop: `steps` batches of `batch` documents of `corpus`, with its own schedule."""

    corpus: Corpus
    steps: int
    batch: int = 16
    muon_lr: float = 0.02
    adamw_lr: float = 4e-3
    warmup: int = 100
    floor: float = 0.02


@contextmanager
def single_thread() -> Iterator[None]:
    """One torch thread inside, the former number after: summation order, and so the weights, depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def collate(batch: list[Document], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded input ids_BT and next-token labels_BT, `IGNORED` outside the response; both int64.

    Right padding needs no attention mask: under causal attention no response token can see it.
    """
    width = max(len(d.tokens) for d in batch)
    ids_BT = torch.full((len(batch), width - 1), pad)
    labels_BT = torch.full((len(batch), width - 1), IGNORED)
    for row, (tokens, start) in enumerate(batch):
        ids_BT[row, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        labels_BT[row, start - 1 : len(tokens) - 1] = torch.tensor(tokens[start:])
    return ids_BT, labels_BT


def response_loss(model: Qwen3ForCausalLM, ids_BT: torch.Tensor, labels_BT: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood (nats) of the labelled tokens; the head runs on those positions only."""
    hidden_BTH = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
    mask_BT = labels_BT != IGNORED
    return F.cross_entropy(model.lm_head(hidden_BTH[mask_BT]), labels_BT[mask_BT])


def _optimizers(model: Qwen3ForCausalLM, stage: Stage) -> list[torch.optim.Optimizer]:
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=stage.muon_lr, momentum=0.95, weight_decay=0.0),
        torch.optim.AdamW(rest, lr=stage.adamw_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def run_stage(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, stage: Stage, seed: str, progress: bool = True
) -> dict[str, float]:
    """Train `model` in place for one stage; returns steps, tokens (without padding) and the mean of the last 50 losses.

    Raises FloatingPointError, naming the step, when the loss is not finite.
    """
    from tqdm import tqdm

    optimizers = _optimizers(model, stage)

    def scale(step: int) -> float:
        if step < stage.warmup:
            return (step + 1) / stage.warmup
        return 1.0 - (1.0 - stage.floor) * (step - stage.warmup) / max(1, stage.steps - stage.warmup)

    schedules = [torch.optim.lr_scheduler.LambdaLR(o, scale) for o in optimizers]
    batches = length_sorted_batches(documents(stage.corpus, seed, tokenizer), stage.batch, Random(f"{seed}/order"))
    tokens, recent, began = 0, [], time.time()  # type: ignore[var-annotated]
    model.train()
    bar = tqdm(range(stage.steps), desc=seed, disable=None if progress else True, mininterval=5.0)
    for step in bar:
        batch = next(batches)
        ids_BT, labels_BT = collate(batch, tokenizer.pad_token_id)
        loss = response_loss(model, ids_BT, labels_BT)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"{seed}: loss is {loss.item()} at step {step}; lower muon_lr or adamw_lr")
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        tokens += sum(len(d.tokens) for d in batch)
        recent = [*recent[-49:], loss.item()]
        if step % 500 == 499:
            mean = sum(recent) / len(recent)
            bar.set_postfix(loss=f"{mean:.3f}", refresh=False)
            log.info("%s step %d loss %.4f tokens %d %.0f s", seed, step + 1, mean, tokens, time.time() - began)
    model.eval()
    return {"steps": stage.steps, "tokens": tokens, "final_loss": sum(recent) / max(1, len(recent))}
