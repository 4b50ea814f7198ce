"""A language model as equivalence judge, read by next-token probabilities (UOPD, Section 3.1, "Semantic clustering").

The model is asked, in its own chat template with thinking switched off, whether two answers to a question mean the same
(`prompts/equivalence.txt`). Nothing is generated: of the distribution of the first reply token only the spellings of
*yes* and *no* are read, so no reply can be cut off or misread. Every pair is asked in both directions, (a, b) and
(b, a), because small models favour a position. With Y and N the probability mass on all spellings of yes and of no,

    log-odds = log Y − log N,   equivalent ⇔ ½ [log-odds(a, b) + log-odds(b, a)] > threshold.

A model that puts less than `least_mass` on either word, in either direction, did not answer: the verdict is None, it is
counted as *unable*, and never merges. Left out: the engine. A `Scorer` is passed in (`actors/judge_engine.py` makes one
of rollout engines), so that the same code runs on vLLM, on a plain forward pass, and on known probabilities in a test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artifact.errors import Mismatch
from artifact.phase1.judge import EquivalenceJudge, JudgeError, Judgement, Pair
from artifact.tasks.base import Messages
from artifact.tasks.checks import Finding, check_positions
from artifact.tasks.prompts import encode_prompt, encode_prompts, has_thinking_switch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Scorer = Callable[[list[tuple[int, ...]], list[int]], np.ndarray]
"""P prompts as token ids and C candidate ids in; log-probabilities [P, C] of each candidate as the next token out, in
nats, raw (temperature 1) and normalised over the full vocabulary."""

PROMPT = Path(__file__).with_name("prompts") / "equivalence.txt"
"""Of answers that are a value or an object."""

TEXT_PROMPT = PROMPT.with_name("same_meaning.txt")
"""Of free text."""
LEAST_MASS = 0.1
"""Mass on yes and no below which a model is unable to judge, unless a judge is told otherwise."""

SMALLEST = 1e-30  # keeps log-odds finite where a word has no mass at all


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model said about one pair: probability mass on yes and on no, asked as (a, b) and as (b, a)."""

    yes: tuple[float, float]
    no: tuple[float, float]

    @property
    def mass(self) -> float:
        """Mass on yes and no together, in the direction where it is smaller."""
        return min(y + n for y, n in zip(self.yes, self.no, strict=True))

    @property
    def log_odds(self) -> tuple[float, float]:
        """log Y − log N of each direction, nats."""
        pairs = zip(self.yes, self.no, strict=True)
        forth, back = (float(np.log(max(y, SMALLEST)) - np.log(max(n, SMALLEST))) for y, n in pairs)
        return forth, back

    @property
    def mean_log_odds(self) -> float:
        """The mean over both directions: what the threshold is compared with."""
        forth, back = self.log_odds
        return (forth + back) / 2

    @property
    def probability(self) -> float:
        """P(yes) of both directions together: the logistic function of the mean log-odds."""
        return float(1 / (1 + np.exp(-self.mean_log_odds)))


def verdict_of(reading: Reading, threshold: float = 0.0, least_mass: float = LEAST_MASS) -> bool | None:
    """The rule: None where yes and no have hardly any mass, else whether the mean log-odds exceed the threshold."""
    return None if reading.mass < least_mass else reading.mean_log_odds > threshold


def spellings(tokenizer: PreTrainedTokenizerBase, word: str) -> list[int]:
    """Ids of all tokens that are `word` alone: lower case, capitalised, upper case, with and without a leading space.

    Raises JudgeError where there is none: such a tokenizer splits the word, and its first piece proves nothing.
    """
    forms = [space + form for form in (word.lower(), word.capitalize(), word.upper()) for space in ("", " ")]
    encoded = [tokenizer.encode(form, add_special_tokens=False) for form in forms]
    unknown = getattr(tokenizer, "unk_token_id", None)
    ids = sorted({ids[0] for ids in encoded if len(ids) == 1 and ids[0] != unknown})
    if not ids:
        raise JudgeError(
            f"tokenizer {tokenizer.name_or_path!r} has no single token for {word!r} in any spelling; a judge that is "
            "read by next-token probabilities needs one: use another judge model"
        )
    return ids


def fill_prompt(template: str, question: str, first: str, second: str) -> str:
    """The template with its three fields filled in one pass (an answer may hold braces); no question, no such line."""
    if not question:
        template = "\n".join(line for line in template.splitlines() if "{question}" not in line)
    values = {"question": question, "first": first, "second": second}
    return re.sub(r"\{(question|first|second)\}", lambda m: values[m.group(1)], template).strip()


def thinking_off(tokenizer: PreTrainedTokenizerBase) -> bool | None:
    """How thinking is switched off: a thinking model's first token is never yes or no. None = there is no switch."""
    return False if has_thinking_switch(tokenizer) else None


def check_judge(
    tokenizer: PreTrainedTokenizerBase, config: Any, questions: Sequence[str], max_model_len: int, prompt: Path = PROMPT
) -> list[Finding]:
    """What a judge must have before it is asked: a word for yes and for no, a chat template, and room for questions.

    config  of the judge model
    Questions that leave no room even for empty answers are counted: their pairs stay undecided. Raises JudgeError,
    ConfigError, or Mismatch where that is so for all of them.
    """
    words = {word: len(spellings(tokenizer, word)) for word in ("yes", "no")}
    found = check_positions(config, max_model_len)
    template = prompt.read_text(encoding="utf-8")
    asked: list[Messages] = [[{"role": "user", "content": fill_prompt(template, q, "", "")}] for q in questions]
    lengths = [len(ids) for ids in encode_prompts(tokenizer, asked, thinking_off(tokenizer))]
    too_long = sum(n >= max_model_len for n in lengths)
    if too_long == len(lengths):
        raise Mismatch(
            f"the judge {tokenizer.name_or_path!r} has room for none of {len(lengths)} questions: the shortest prompt "
            f"has {min(lengths, default=0)} tokens, cluster.engine.max_model_len = {max_model_len}: raise it"
        )
    room = f"{too_long:,} of {len(lengths):,} questions are too long for it, so that their pairs stay undecided"
    return [
        *found,
        Finding("judge", ", ".join(f"{n} spellings of {word}" for word, n in words.items())),
        Finding("judge", room, notable=too_long > 0),
    ]


class LLMJudge(EquivalenceJudge):
    """Asks a language model in the context of the question; see the module's page for the rule.

    tokenizer          that of the judge model, with its chat template
    scorer             the model: next-token log-probabilities
    threshold          log-odds above which a pair is equivalent, nats
    least_mass         mass on yes and no below which the model is unable to judge
    max_prompt_tokens  longest prompt the scorer takes; a longer one is not asked (None, counted). None = no limit
    prompt             what it is asked

    `account` counts what happened, once per judged pair: merged, refused, unable, too_long, and position (the two
    directions gave different answers; the mean decided).
    """

    in_context = True

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        scorer: Scorer,
        *,
        name: str = "llm",
        threshold: float = 0.0,
        least_mass: float = LEAST_MASS,
        max_prompt_tokens: int | None = None,
        prompt: Path = PROMPT,
    ) -> None:
        super().__init__()
        self.name, self.threshold, self.least_mass = name, threshold, least_mass
        self.tokenizer, self.scorer, self.max_prompt_tokens = tokenizer, scorer, max_prompt_tokens
        self.yes_ids, self.no_ids = spellings(tokenizer, "yes"), spellings(tokenizer, "no")
        self.account: Counter[str] = Counter()
        self._template = prompt.read_text(encoding="utf-8")
        self._thinking = thinking_off(tokenizer)

    def prompt_ids(self, question: str, first: str, second: str) -> tuple[int, ...]:
        """The prompt of one direction of one pair, as token ids."""
        text = fill_prompt(self._template, question, first, second)
        return encode_prompt(self.tokenizer, [{"role": "user", "content": text}], self._thinking)

    def read(self, pairs: Sequence[Pair], contexts: Sequence[str]) -> list[Reading | None]:
        """What the model says about each pair, all in one call of the scorer; None where a prompt is too long.

        Raises JudgeError when the scorer returns another shape, or something that is no log-probability.
        """
        asked = [
            (self.prompt_ids(question, left, right), self.prompt_ids(question, right, left))
            for (left, right), question in zip(pairs, contexts, strict=True)
        ]
        limit = self.max_prompt_tokens
        fits = [limit is None or max(map(len, both)) <= limit for both in asked]
        prompts = [prompt for both, ok in zip(asked, fits, strict=True) if ok for prompt in both]
        candidates = [*self.yes_ids, *self.no_ids]
        if not prompts:
            return [None] * len(pairs)
        logprobs_PC = np.asarray(self.scorer(prompts, candidates), dtype=np.float64)
        if logprobs_PC.shape != (len(prompts), len(candidates)):
            raise JudgeError(
                f"the scorer of judge {self.name!r} returned an array {logprobs_PC.shape} for {len(prompts)} prompts "
                f"and {len(candidates)} candidates; it must return one log-probability each"
            )
        mass_PC = np.exp(logprobs_PC)
        if not np.isfinite(mass_PC).all() or mass_PC.sum(axis=1).max() > 1 + 1e-3:
            raise JudgeError(
                f"the scorer of judge {self.name!r} returned values that are no log-probabilities (candidates of one "
                f"prompt add up to {mass_PC.sum(axis=1).max():.4g}); raw log-probs of the full vocabulary are needed"
            )
        yes_P, no_P = np.split(mass_PC, [len(self.yes_ids)], axis=1)
        yes_P2, no_P2 = yes_P.sum(axis=1).reshape(-1, 2).tolist(), no_P.sum(axis=1).reshape(-1, 2).tolist()
        readings = iter(Reading((y[0], y[1]), (n[0], n[1])) for y, n in zip(yes_P2, no_P2, strict=True))
        return [next(readings) if ok else None for ok in fits]

    def decide(self, pairs: Sequence[Pair]) -> list[Judgement]:
        return self.decide_in_context(pairs, [""] * len(pairs))

    def decide_in_context(self, pairs: Sequence[Pair], contexts: Sequence[str]) -> list[Judgement]:
        readings = self.read(pairs, contexts)
        return [self._verdict(pair, reading) for pair, reading in zip(pairs, readings, strict=True)]

    def _verdict(self, pair: Pair, reading: Reading | None) -> Judgement:
        verdict = None if reading is None else verdict_of(reading, self.threshold, self.least_mass)
        if reading is None or verdict is None:
            self.account["too_long" if reading is None else "unable"] += 1
            return Judgement(*pair, None, self.name)
        forth, back = reading.log_odds
        self.account["merged" if verdict else "refused"] += 1
        self.account["position"] += (forth > self.threshold) != (back > self.threshold)
        return Judgement(*pair, verdict, self.name, reading.probability)
