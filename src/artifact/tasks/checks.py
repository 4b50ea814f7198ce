"""Start-up checks on tokenizers, configurations and models: what must hold before anything is sampled or scored.

A check raises Mismatch with the remedy where a run would be wrong without anybody knowing (responses that cannot end,
ids or prompts that mean different things to teacher and student); what it establishes besides is a `Finding`, which the
caller stores with the result (`studies/start_up.py`).

Left out: loading (the caller has the objects), lengths of prompts, and checks on weights beyond the shape of the output
head.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from artifact.errors import ConfigError, Mismatch
from artifact.tasks.base import Messages
from artifact.tasks.prompts import apply_template, encode_prompt, has_thinking_switch

PROBES = (
    "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\n#### 9",
    "The roots of $x^{2} - 5x + 6 = 0$ are $\\boxed{\\{2, 3\\}}$.",
    "  leading spaces,\ttabs\n\nand 1,234,567.89 — naïve café, 数学, π ≈ 3.14159",
)
"""Texts whose tokens are compared and round-tripped: calculator marks, LaTeX, white space, digits, non-ASCII."""

EXCHANGE = ("How much is 17 + 25?", "17 + 25 = 42, so the answer is \\boxed{42}.")
"""A question and a response for the chat template."""

T = TypeVar("T")

Kind = Literal[
    "vocabulary",
    "special tokens",
    "round trip",
    "template",
    "thinking",
    "eos",
    "context",
    "agreement",
    "stop tokens",
    "prompts",
    "judge",
]
"""What findings are about."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact that a check established and that stops nothing: it is stored with the result.

    about    whose it is, where several models are checked
    notable  a person should know of it before the run: it is shown as well
    """

    check: Kind
    detail: str
    about: str = ""
    notable: bool = False

    def __str__(self) -> str:
        return f"{self.about + ': ' if self.about else ''}{self.check}: {self.detail}"


def eos_ids(tokenizer: Any, generation_config: Any = None) -> tuple[int, ...]:
    """Ids that end a response: `eos_token_id` of the generation config (object or dictionary) and of the tokenizer.

    Raises Mismatch when there is none, or one that the tokenizer does not have.
    """
    ids: set[int] = set()
    if generation_config is not None:
        given = _get(generation_config, "eos_token_id")
        ids |= set(given) if isinstance(given, list | tuple) else set() if given is None else {given}
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    if not ids:
        raise Mismatch(f"{name_of(tokenizer)} names no end-of-sequence token: responses could never end; set eos_token")
    if unknown := sorted(i for i in ids if not 0 <= i < len(tokenizer)):
        raise Mismatch(
            f"eos ids {unknown} are not among the {len(tokenizer)} tokens of {name_of(tokenizer)}: "
            "generation_config.json and tokenizer are of different models; take both from one checkpoint"
        )
    return tuple(sorted(ids))


def vocabulary_size(tokenizer: Any) -> int:
    """One more than the highest token id: rows of an output head from here on are padding."""
    return max(tokenizer.get_vocab().values()) + 1


def check_vocabulary(tokenizer: Any, config: Any) -> list[Finding]:
    """Every token id has a row in the output head; rows beyond the tokenizer are padding and are reported."""
    rows, tokens = int(config.vocab_size), len(tokenizer)
    highest = vocabulary_size(tokenizer) - 1
    if highest >= rows:
        raise Mismatch(
            f"{name_of(tokenizer)} has token ids up to {highest}, but the model has {rows} rows (config.vocab_size): "
            "the tokenizer is not this model's; take both from one checkpoint, or resize the embeddings"
        )
    holes = highest + 1 - tokens
    detail = f"{tokens:,} tokens, {rows:,} rows, {rows - highest - 1:,} padded"
    return [Finding("vocabulary", detail + (f", {holes:,} ids without a token" if holes else ""))]


def check_special_tokens(tokenizer: Any) -> list[Finding]:
    """EOS exists and is one token when written; the padding token, where there is one, is not the only EOS."""
    eos = tokenizer.eos_token_id
    if eos is None:
        raise Mismatch(f"{name_of(tokenizer)} has no EOS token; set eos_token in tokenizer_config.json")
    for token in tokenizer.all_special_tokens:
        ids = tokenizer.encode(token, add_special_tokens=False)
        if ids != [tokenizer.convert_tokens_to_ids(token)]:
            raise Mismatch(
                f"special token {token!r} of {name_of(tokenizer)} is read as {len(ids)} tokens {ids}: prompts would "
                "hold it as plain text; register it as a special token"
            )
    found = [Finding("special tokens", f"eos {tokenizer.eos_token!r} = {eos}, pad {tokenizer.pad_token!r}")]
    if tokenizer.pad_token_id == eos:
        found.append(Finding("special tokens", "pad equals eos: mask by length, never by id"))
    return found


def in_slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in order, at most `size` at a time: what is made of one slice need not be held with the next."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def check_round_trip(tokenizer: Any, texts: Sequence[str] = PROBES) -> list[Finding]:
    """Text → ids → text is exact for all `texts`, so that verdicts on decoded text are verdicts on the tokens.

    A text that comes back in another Unicode normal form is counted; any other change is a Mismatch.
    """
    changed = []
    for some in in_slices(texts, 1000):
        ids = tokenizer(list(some), add_special_tokens=False)["input_ids"]
        back = tokenizer.batch_decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        changed += [(text, other) for text, other in zip(some, back, strict=True) if text != other]
    lost = [(text, other) for text, other in changed if _normal_form(text) != _normal_form(other)]
    if lost:
        text, other = around_difference(*lost[0])
        raise Mismatch(
            f"{name_of(tokenizer)} turns {text!r} into {other!r} ({len(lost)} of {len(texts)} texts change): answers "
            "would be verified on another text; use a byte-level tokenizer, or switch its normaliser off"
        )
    normalised = (
        f", {len(changed):,} but for their Unicode normal form, e.g. {around_difference(*changed[0])[0]!r}"
        if changed
        else ""
    )
    return [Finding("round trip", f"{len(texts):,} texts are exact{normalised}", notable=bool(changed))]


def check_thinking(tokenizer: Any, thinking: bool | None) -> list[Finding]:
    """Where the template has a thinking mode, the configuration says whether it is on: Mismatch where it does not."""
    if not has_thinking_switch(tokenizer):
        return []
    if thinking is None:
        raise Mismatch(
            f"the chat template of {name_of(tokenizer)} has a thinking mode, which is on or off by its own default (on "
            "for Qwen3) where task.thinking is unset: set task.thinking to true or false"
        )
    return [Finding("thinking", "on" if thinking else "off")]


def check_template(
    tokenizer: Any, stop_ids: Iterable[int], thinking: bool | None = None, exchange: tuple[str, str] = EXCHANGE
) -> list[Finding]:
    """The chat template agrees with itself, and ends the assistant's turn with a token that stops generation.

    Compared are the prompt (ids, by `encode_prompt`) and the same conversation with a response in it: the former must
    be a prefix of the latter, up to a `<think>` block, and the response must be followed by one of `stop_ids`.
    """
    question, response = exchange
    messages: Messages = [{"role": "user", "content": question}]
    mode = {} if thinking is None else {"enable_thinking": thinking}
    prompt = encode_prompt(tokenizer, messages, thinking)
    text = apply_template(tokenizer, messages, add_generation_prompt=True, tokenize=False, **mode)
    if question not in text:
        raise Mismatch(f"the chat template of {name_of(tokenizer)} drops or changes the question: {text!r}")
    if tuple(tokenizer.encode(text, add_special_tokens=False)) != prompt:
        raise Mismatch(
            f"the chat template of {name_of(tokenizer)} gives other ids than its own text has ({text!r}): its special "
            "tokens are not registered, or it adds a second BOS"
        )
    whole = apply_template(tokenizer, [*messages, {"role": "assistant", "content": response}], tokenize=False, **mode)
    head, found, tail = whole.rpartition(response)
    if not found:
        raise Mismatch(f"the chat template of {name_of(tokenizer)} drops or changes the response: {whole!r}")
    findings = [Finding("template", f"{len(prompt)} tokens for a question of {len(question)} characters")]
    added = head.removeprefix(text) if head.startswith(text) else text.removeprefix(head)
    if not (head.startswith(text) or text.startswith(head)):
        raise Mismatch(
            f"the prompt {text!r} is no prefix of the conversation {whole!r}: training and sampling would see "
            f"different contexts; correct the chat template of {name_of(tokenizer)}"
        )
    if added.strip():
        side = "a stored turn" if head.startswith(text) else "the prompt"
        findings.append(Finding("template", f"{side} holds {added!r} before the response"))
    stops = set(stop_ids)
    ending = tokenizer.encode(tail, add_special_tokens=False)
    if not ending or ending[0] not in stops:
        raise Mismatch(
            f"EOS is not reachable: the template of {name_of(tokenizer)} ends a turn with {tail!r} (ids {ending[:4]}), "
            f"but generation stops at {sorted(stops)} = {tokenizer.convert_ids_to_tokens(sorted(stops))}; add the "
            "template's id to eos_token_id in generation_config.json"
        )
    findings.append(Finding("eos", f"a turn ends with {ending[0]}, which stops generation"))
    return findings


def check_positions(config: Any, max_model_len: int) -> list[Finding]:
    """The engine's length lies within the positions the model was made for."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and max_model_len > positions:
        raise Mismatch(
            f"cluster.engine.max_model_len = {max_model_len} exceeds the model's {positions} positions "
            "(max_position_embeddings): lower it, or configure RoPE scaling in the checkpoint"
        )
    return [Finding("context", f"{max_model_len:,} tokens of the engine, {positions or 'any number of'} positions")]


def check_context(config: Any, max_model_len: int, longest_prompt: int, max_new_tokens: int) -> list[Finding]:
    """Prompt and response fit into the engine's length, and that into the positions the model was made for."""
    findings = check_positions(config, max_model_len)
    need = longest_prompt + max_new_tokens
    if need > max_model_len:
        raise Mismatch(
            f"the longest prompt ({longest_prompt} tokens) and max_new_tokens = {max_new_tokens} need {need}, but "
            f"cluster.engine.max_model_len = {max_model_len}: raise it, shorten the prompt or lower max_new_tokens"
        )
    spare = f"{need:,} of {max_model_len:,} tokens used at most, {max_model_len - need:,} to spare"
    return [*findings, Finding("context", spare)]


def check_head(model: Any) -> None:
    """The loaded output head has `config.vocab_size` rows."""
    head = model.get_output_embeddings()
    rows = int(head.weight.shape[0])
    if rows != model.config.vocab_size:
        raise Mismatch(
            f"the output head of {model.config.name_or_path!r} has {rows} rows, its config says "
            f"{model.config.vocab_size}: the checkpoint was resized without its config; correct vocab_size"
        )


def check_all(checks: Sequence[Callable[[], list[Finding]]]) -> list[Finding]:
    """Run every check and collect its findings; one Mismatch with all failures, numbered, where any fails."""
    findings: list[Finding] = []
    failures: dict[str, None] = {}
    for check in checks:
        try:
            findings += check()
        except (Mismatch, ConfigError) as err:
            failures[str(err)] = None
    if failures:
        raise Mismatch(
            next(iter(failures))
            if len(failures) == 1
            else "\n".join(
                [f"{len(failures)} start-up checks failed:", *(f"{i}. {f}" for i, f in enumerate(failures, start=1))]
            )
        )
    return findings


def model_checks(
    tokenizer: Any,
    config: Any,
    generation_config: Any = None,
    thinking: bool | None = None,
    probes: Sequence[str] = PROBES,
    exchange: tuple[str, str] = EXCHANGE,
) -> list[Callable[[], list[Finding]]]:
    """The checks of one checkpoint that need no weights, for `check_all`."""
    return [
        lambda: check_vocabulary(tokenizer, config),
        lambda: check_special_tokens(tokenizer),
        lambda: check_round_trip(tokenizer, probes),
        lambda: check_template(tokenizer, eos_ids(tokenizer, generation_config), thinking, exchange),
    ]


def _get(config: Any, key: str) -> Any:
    return config.get(key) if isinstance(config, dict) else getattr(config, key, None)


def _normal_form(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def around_difference(one: str, other: str, width: int = 120) -> tuple[str, str]:
    """Two texts, cut to `width` characters on either side of where they begin to differ."""
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    part = slice(max(start - width, 0), start + width)
    return one[part], other[part]


def name_of(tokenizer: Any) -> str:
    """A tokenizer as messages name it."""
    return f"tokenizer {tokenizer.name_or_path!r}"
