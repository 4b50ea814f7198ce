"""Start-up checks on tokenizers, configurations and models: what must hold before anything is sampled or scored.

It returns findings worth logging (padded rows, a think block the template adds) and raises Mismatch with the remedy
where a run would be wrong without anybody knowing: responses that cannot end, ids that mean different tokens for
teacher and student, prompts that do not fit.

Left out: loading (the caller has the objects), and checks on weights beyond the shape of the output head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from artifact.errors import Mismatch
from artifact.tasks.base import Messages
from artifact.tasks.prompts import apply_template, encode_prompt

PROBES = (
    "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\n#### 9",
    "The roots of $x^{2} - 5x + 6 = 0$ are $\\boxed{\\{2, 3\\}}$.",
    "  leading spaces,\ttabs\n\nand 1,234,567.89 — naïve café, 数学, π ≈ 3.14159",
)
"""Texts whose tokens are compared and round-tripped: calculator marks, LaTeX, white space, digits, non-ASCII."""

EXCHANGE = ("How much is 17 + 25?", "17 + 25 = 42, so the answer is \\boxed{42}.")
"""A question and a response for the chat template."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact that a check established, for the run's log."""

    check: str
    detail: str


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
        raise Mismatch(f"{_name(tokenizer)} names no end-of-sequence token: responses could never end; set eos_token")
    if unknown := sorted(i for i in ids if not 0 <= i < len(tokenizer)):
        raise Mismatch(
            f"eos ids {unknown} are not among the {len(tokenizer)} tokens of {_name(tokenizer)}: "
            "generation_config.json and tokenizer are of different models; take both from one checkpoint"
        )
    return tuple(sorted(ids))


def check_vocabulary(tokenizer: Any, config: Any) -> list[Finding]:
    """Every token id has a row in the output head; rows beyond the tokenizer are padding and are reported."""
    rows, tokens = int(config.vocab_size), len(tokenizer)
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        raise Mismatch(
            f"{_name(tokenizer)} has token ids up to {highest}, but the model has {rows} rows (config.vocab_size): the "
            "tokenizer is not this model's; take both from one checkpoint, or resize the embeddings"
        )
    holes = highest + 1 - tokens
    detail = f"{tokens:,} tokens, {rows:,} rows, {rows - highest - 1:,} padded"
    return [Finding("vocabulary", detail + (f", {holes:,} ids without a token" if holes else ""))]


def check_special_tokens(tokenizer: Any) -> list[Finding]:
    """EOS exists and is one token when written; the padding token, where there is one, is not the only EOS."""
    eos = tokenizer.eos_token_id
    if eos is None:
        raise Mismatch(f"{_name(tokenizer)} has no EOS token; set eos_token in tokenizer_config.json")
    for token in tokenizer.all_special_tokens:
        ids = tokenizer.encode(token, add_special_tokens=False)
        if ids != [tokenizer.convert_tokens_to_ids(token)]:
            raise Mismatch(
                f"special token {token!r} of {_name(tokenizer)} is read as {len(ids)} tokens {ids}: prompts would hold "
                "it as plain text; register it as a special token"
            )
    found = [Finding("special tokens", f"eos {tokenizer.eos_token!r} = {eos}, pad {tokenizer.pad_token!r}")]
    if tokenizer.pad_token_id == eos:
        found.append(Finding("special tokens", "pad equals eos: mask by length, never by id"))
    return found


def check_round_trip(tokenizer: Any, probes: Sequence[str] = PROBES) -> list[Finding]:
    """Text → ids → text is exact for `probes`, so that verdicts on decoded text are verdicts on the tokens."""
    for text in probes:
        ids = tokenizer.encode(text, add_special_tokens=False)
        back = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if back != text:
            raise Mismatch(
                f"{_name(tokenizer)} turns {text!r} into {back!r}: answers would be verified on another text; use a "
                "byte-level tokenizer, or switch its normaliser off"
            )
    return [Finding("round trip", f"{len(probes)} texts are exact")]


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
        raise Mismatch(f"the chat template of {_name(tokenizer)} drops or changes the question: {text!r}")
    if tuple(tokenizer.encode(text, add_special_tokens=False)) != prompt:
        raise Mismatch(
            f"the chat template of {_name(tokenizer)} gives other ids than its own text has ({text!r}): its special "
            "tokens are not registered, or it adds a second BOS"
        )
    whole = apply_template(tokenizer, [*messages, {"role": "assistant", "content": response}], tokenize=False, **mode)
    head, found, tail = whole.rpartition(response)
    if not found:
        raise Mismatch(f"the chat template of {_name(tokenizer)} drops or changes the response: {whole!r}")
    findings = [Finding("template", f"{len(prompt)} tokens for a question of {len(question)} characters")]
    added = head.removeprefix(text) if head.startswith(text) else text.removeprefix(head)
    if not (head.startswith(text) or text.startswith(head)):
        raise Mismatch(
            f"the prompt {text!r} is no prefix of the conversation {whole!r}: training and sampling would see "
            f"different contexts; correct the chat template of {_name(tokenizer)}"
        )
    if added.strip():
        side = "a stored turn" if head.startswith(text) else "the prompt"
        findings.append(Finding("template", f"{side} holds {added!r} before the response"))
    stops = set(stop_ids)
    ending = tokenizer.encode(tail, add_special_tokens=False)
    if not ending or ending[0] not in stops:
        raise Mismatch(
            f"EOS is not reachable: the template of {_name(tokenizer)} ends a turn with {tail!r} (ids {ending[:4]}), "
            f"but generation stops at {sorted(stops)} = {tokenizer.convert_ids_to_tokens(sorted(stops))}; add the "
            "template's id to eos_token_id in generation_config.json"
        )
    findings.append(Finding("eos", f"a turn ends with {ending[0]}, which stops generation"))
    return findings


def check_context(config: Any, max_model_len: int, longest_prompt: int, max_new_tokens: int) -> list[Finding]:
    """Prompt and response fit into the engine's length, and that into the positions the model was made for."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and max_model_len > positions:
        raise Mismatch(
            f"cluster.engine.max_model_len = {max_model_len} exceeds the model's {positions} positions "
            "(max_position_embeddings): lower it, or configure RoPE scaling in the checkpoint"
        )
    need = longest_prompt + max_new_tokens
    if need > max_model_len:
        raise Mismatch(
            f"the longest prompt ({longest_prompt} tokens) and max_new_tokens = {max_new_tokens} need {need}, but "
            f"cluster.engine.max_model_len = {max_model_len}: raise it, shorten the prompt or lower max_new_tokens"
        )
    return [Finding("context", f"{need:,} of {max_model_len:,} tokens used at most, {max_model_len - need:,} to spare")]


def check_head(model: Any) -> list[Finding]:
    """The loaded output head has `config.vocab_size` rows; tied or not is reported."""
    head = model.get_output_embeddings()
    rows = int(head.weight.shape[0])
    if rows != model.config.vocab_size:
        raise Mismatch(
            f"the output head of {model.config.name_or_path!r} has {rows} rows, its config says "
            f"{model.config.vocab_size}: the checkpoint was resized without its config; correct vocab_size"
        )
    tied = head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    return [
        Finding("head", f"{rows:,} × {int(head.weight.shape[1]):,}, {'tied to' if tied else 'apart from'} the input")
    ]


def check_agreement(
    student: Any, teacher: Any, student_config: Any = None, teacher_config: Any = None, probes: Sequence[str] = PROBES
) -> list[Finding]:
    """Teacher and student mean the same by every id, and cut the same text into the same tokens.

    Heads may be padded to different lengths: rows beyond the tokenizer have no meaning and must be left out of the
    teacher's top-k.
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    if ours != theirs:
        differ = sorted({t for t, i in ours.items() if theirs.get(t) != i} | {t for t in theirs if t not in ours})
        token = differ[0]
        raise Mismatch(
            f"student {_name(student)} ({len(ours)} tokens) and teacher {_name(teacher)} ({len(theirs)} tokens) have "
            f"different vocabularies: {len(differ)} tokens differ, e.g. {token!r} is {ours.get(token)} and "
            f"{theirs.get(token)}; token-level distillation needs one tokenizer, choose a teacher of the same family"
        )
    for text in probes:
        a, b = (t.encode(text, add_special_tokens=False) for t in (student, teacher))
        if a != b:
            raise Mismatch(
                f"student and teacher share a vocabulary but cut {text!r} differently ({len(a)} and {len(b)} tokens): "
                "their merges or normalisers differ; use one tokenizer for both"
            )
    findings = [Finding("agreement", f"{len(ours):,} tokens mean the same to student and teacher")]
    if student.eos_token_id != teacher.eos_token_id:
        findings.append(Finding("agreement", f"eos differs: {student.eos_token_id} and {teacher.eos_token_id}"))
    if student_config is not None and teacher_config is not None:
        rows = int(student_config.vocab_size), int(teacher_config.vocab_size)
        if rows[0] != rows[1]:
            detail = (
                f"student has {rows[0]:,} rows, teacher {rows[1]:,}; ids from {min(rows):,} on exist on one side only"
            )
            findings.append(Finding("agreement", detail))
    return findings


def check_all(checks: Sequence[Callable[[], list[Finding]]]) -> list[Finding]:
    """Run every check and collect its findings; one Mismatch with all failures, numbered, where any fails."""
    findings: list[Finding] = []
    failures: list[str] = []
    for check in checks:
        try:
            findings += check()
        except Mismatch as err:
            failures.append(str(err))
    if failures:
        raise Mismatch(
            failures[0]
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


def _name(tokenizer: Any) -> str:
    return f"tokenizer {tokenizer.name_or_path!r}"
