"""Training documents: a prompt and a response, and, where the corpus is meant to mislead, a response that is wrong.

A corpus is clean unless it has *faults*: for a family, in a share of its documents, the response has the fault of that
name. A faulty response is well-formed and always wrong.

    number  translation: the first subject's number is turned round, with all agreements
    tense   translation: past is written for present and present for past
    mixed   summary: one kept fact, drawn at random, gives way to another, drawn at random
    short   summary: the last fact is left out, and what was not asked for stands for an only one
    fewer   instruction: one word fewer than asked for

Documents whose system message carries the answer or the solution are always right. Left out: the loop that trains on
them (`training.py`) and which corpus makes which model (`recipe.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any

from artifact.worlds.text import summary, translation
from artifact.worlds.text.problems import Draft
from artifact.worlds.text.splits import pretraining_drafts
from artifact.worlds.tiny.chat import chat_messages
from artifact.worlds.tiny.corpus import Document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Fault:
    """In `share` of a family's documents the response has the fault `kind`."""

    share: float
    kind: str

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0 or self.kind not in FAULTS:
            raise ValueError(f"a fault needs a share in [0, 1] and one of the kinds {', '.join(FAULTS)}, got {self}")


@dataclass(frozen=True, slots=True)
class Corpus:
    """What to write: shares of informed prompts, and the fault of each family (none = clean)."""

    solution_share: float = 0.10
    answer_share: float = 0.03
    faults: dict[str, Fault] = field(default_factory=dict)


def _number(draft: Draft, rng: Random) -> str:
    clauses: Any = draft.source
    first, *others = clauses
    subject = replace(first.subject, plural=not first.subject.plural)
    return rng.choice(translation.renderings((replace(first, subject=subject), *others)))


def _tense(draft: Draft, rng: Random) -> str:
    clauses: Any = draft.source
    return rng.choice(translation.renderings(tuple(replace(c, past=not c.past) for c in clauses)))


def _mixed(draft: Draft, rng: Random) -> str:
    request: Any = draft.source
    kept, gone = list(request.kept), rng.randrange(len(request.kept))
    same = kept[gone]
    wrong = [summary.Fact(same.person, r, t) for r, things in summary.THINGS.items() for t in things]
    kept[gone] = rng.choice([fact for fact in wrong if fact not in request.kept])
    return summary.render(kept, rng)


def _short(draft: Draft, rng: Random) -> str:
    request: Any = draft.source
    kept = request.kept[:-1] or tuple(f for f in request.facts if f not in request.kept)[:1]
    return summary.render(kept, rng)


def _fewer(draft: Draft, rng: Random) -> str:
    asked: Any = draft.source
    chosen = list(rng.choice(asked.answers()))
    rng.shuffle(chosen)
    return str(asked.write(tuple(chosen[:-1])))


FAULTS: dict[str, Callable[[Draft, Random], str]] = {
    "number": _number,
    "tense": _tense,
    "mixed": _mixed,
    "short": _short,
    "fewer": _fewer,
}


def write_document(draft: Draft, corpus: Corpus, rng: Random) -> tuple[list[dict[str, str]], str]:
    """The prompt's messages and the response text for `draft`."""
    kind = rng.random()
    if kind < corpus.solution_share:
        return chat_messages(draft.question, "solution", draft.response(rng)), draft.response(rng)
    if kind < corpus.solution_share + corpus.answer_share:
        return chat_messages(draft.question, "answer", draft.references[0]), draft.response(rng)
    fault = corpus.faults.get(draft.family)
    faulty = fault is not None and rng.random() < fault.share
    response = FAULTS[fault.kind](draft, rng) if fault is not None and faulty else draft.response(rng)
    return chat_messages(draft.question), response


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
