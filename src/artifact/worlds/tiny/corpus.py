"""Training documents: a prompt, a response, and, where the corpus is meant to mislead, a wrong last result.

A corpus is clean unless it has *shifts*: for a family, in a share of its documents, the last result and the box are off
by a number drawn from a tuple. A shift is never 0, so a shifted document is always wrong, and only in its last step.
Documents whose system message carries the answer or the solution are always right: whoever reads it, repeats it.

Left out: the loop that trains on them (`training.py`) and which corpus makes which model (`recipe.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from artifact.worlds.tiny.chat import chat_messages
from artifact.worlds.tiny.problems import Draft, render_solution
from artifact.worlds.tiny.splits import pretraining_drafts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Shift:
    """In `share` of a family's documents the last result is off by one of `offsets`, drawn uniformly."""

    share: float
    offsets: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0 or not self.offsets or 0 in self.offsets:
            raise ValueError(f"a shift needs a share in [0, 1] and offsets other than 0, got {self}")


@dataclass(frozen=True, slots=True)
class Corpus:
    """What to write: shares of informed prompts, and the shift of each family (none = clean)."""

    solution_share: float = 0.10
    answer_share: float = 0.03
    shifts: dict[str, Shift] = field(default_factory=dict)


class Document(NamedTuple):
    """One tokenized training text. The loss covers `tokens[start:]`: the response and its EOS."""

    tokens: list[int]
    start: int


def write_document(draft: Draft, corpus: Corpus, rng: Random) -> tuple[list[dict[str, str]], str]:
    """The prompt's messages and the response text for `draft`."""
    kind = rng.random()
    if kind < corpus.solution_share:
        return chat_messages(draft.question, "solution", render_solution(draft, rng)), render_solution(draft, rng)
    if kind < corpus.solution_share + corpus.answer_share:
        return chat_messages(draft.question, "answer", draft.answer), render_solution(draft, rng)
    shift = corpus.shifts.get(draft.family)
    offset = rng.choice(shift.offsets) if shift is not None and rng.random() < shift.share else 0
    return chat_messages(draft.question), render_solution(draft, rng, offset)


def documents(corpus: Corpus, seed: str, tokenizer: PreTrainedTokenizerFast, chunk: int = 2048) -> Iterator[Document]:
    """An endless, deterministic stream of tokenized documents; questions never belong to a split."""
    rng = Random(seed)
    drafts = pretraining_drafts(rng)
    assistant, eos = tokenizer.convert_tokens_to_ids("<|assistant|>"), tokenizer.eos_token
    while True:
        written = [write_document(next(drafts), corpus, rng) for _ in range(chunk)]
        prompts = tokenizer.apply_chat_template([m for m, _ in written], tokenize=False, add_generation_prompt=True)
        texts = [prompt + response + eos for prompt, (_, response) in zip(prompts, written, strict=True)]
        for tokens in tokenizer(texts, add_special_tokens=False)["input_ids"]:
            yield Document(tokens, tokens.index(assistant) + 1)


def length_sorted_batches(
    stream: Iterator[Document], size: int, rng: Random, pool: int = 32
) -> Iterator[list[Document]]:
    """Batches of `size` documents of like length: `pool` batches are drawn, sorted by length, cut and shuffled."""
    while True:
        drawn = sorted((next(stream) for _ in range(size * pool)), key=lambda d: len(d.tokens))
        batches = [drawn[i : i + size] for i in range(0, len(drawn), size)]
        rng.shuffle(batches)
        yield from batches
