"""Prompts without a chat template, for base models: a template's turns as plain text.

    text of the system message

    Question: an exemplar's question
    Answer: its response

    Question: the question
    Answer:

The tokenizer puts before it what it puts before any text (BOS, say). A base model stops where every model does, at EOS;
but many never write it and go on with a question of their own. Their answer to that would be graded, so a response ends
where the next question begins (lm-evaluation-harness: `until: ["Question:"]`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from artifact.records import Rollout
from artifact.tasks.base import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LABELS = {"user": "Question:", "assistant": "Answer:"}
NEXT_QUESTION = "\n" + LABELS["user"]


def plain_text(messages: Messages) -> str:
    """The turns as plain text, up to the label behind which the response begins."""
    parts = []
    for message in messages:
        label = LABELS.get(message["role"], "")
        parts += [f"{label} {message['content']}".strip(), "\n" if label == LABELS["user"] else "\n\n"]
    return "".join(parts) + LABELS["assistant"]


def encode_plain(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> tuple[int, ...]:
    """The token ids of `plain_text`, with the BOS that the tokenizer adds and without an EOS that it may add."""
    ids = list(tokenizer(plain_text(messages))["input_ids"])
    while ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return tuple(ids)


class FirstAnswer:
    """A sampler whose responses end where the model asks itself the next question."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def sample(self, prompts: Sequence[tuple[str, tuple[int, ...]]], n: int, **named: Any) -> list[tuple[Rollout, ...]]:
        """`Sampler.sample`, each text cut before the next question; what was cut counts as stopped."""
        return [tuple(map(first_answer, group)) for group in self.sampler.sample(prompts, n, **named)]


def first_answer(rollout: Rollout) -> Rollout:
    """`rollout` with its text up to the next question."""
    text, found, _ = rollout.text.partition(NEXT_QUESTION)
    return replace(rollout, text=text, finish_reason="stop") if found else rollout
