"""The pretraining loop of the text world: the loss, optimisers and batches of the arithmetic world on other documents.

Scheduled by steps and deterministic, as `worlds/tiny/training.py` says; a stage is the same but for its corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch

from artifact.worlds.text.corpus import Corpus, documents
from artifact.worlds.tiny.corpus import length_sorted_batches
from artifact.worlds.tiny.training import collate, response_loss

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM


@dataclass(frozen=True, slots=True)
class Stage:
    """One run of the loop: `steps` batches of `batch` documents of `corpus`, with its own schedule."""

    corpus: Corpus
    steps: int
    batch: int = 16
    muon_lr: float = 0.02
    adamw_lr: float = 4e-3
    warmup: int = 50
    floor: float = 0.02

    def scale(self, step: int) -> float:
        """The share of the peak learning rate at `step`: linear up, then linear down to `floor`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 1.0 - (1.0 - self.floor) * (step - self.warmup) / max(1, self.steps - self.warmup)


def run_stage(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, stage: Stage, seed: str, progress: bool = True
) -> dict[str, float]:
    """Train `model` in place for one stage; returns steps, tokens (without padding) and the mean of the last 50 losses.

    Raises FloatingPointError, naming the step, when the loss is not finite.
    """
    from tqdm import tqdm

    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in inside]
    optimizers = [
        torch.optim.Muon(matrices, lr=stage.muon_lr, momentum=0.95, weight_decay=0.0),
        torch.optim.AdamW(rest, lr=stage.adamw_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, stage.scale) for o in optimizers]
    batches = length_sorted_batches(documents(stage.corpus, seed, tokenizer), stage.batch, Random(f"{seed}/order"))
    tokens, losses = 0, []
    model.train()
    for step in tqdm(range(stage.steps), desc=seed, disable=None if progress else True, mininterval=5.0):
        batch = next(batches)
        loss = response_loss(model, *collate(batch, tokenizer.pad_token_id))
        if not torch.isfinite(loss):
            raise FloatingPointError(f"{seed}: loss is {loss.item()} at step {step}; lower muon_lr or adamw_lr")
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        tokens += sum(len(d.tokens) for d in batch)
        losses.append(loss.item())
    model.eval()
    return {"steps": stage.steps, "tokens": tokens, "final_loss": sum(losses[-50:]) / max(1, len(losses[-50:]))}
