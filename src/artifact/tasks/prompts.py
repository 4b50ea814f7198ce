"""From chat messages to prompt token ids through the chat template (`plain_prompt.py`: for models without one)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from artifact.errors import ConfigError, Mismatch
from artifact.tasks.base import Messages
from artifact.tasks.cpu_limit import OutOfTime, cpu_limit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, thinking: bool | None = None
) -> tuple[int, ...]:
    """The token ids of a prompt that ends where the assistant's turn begins.

    The tokenizer's own chat template decides all special tokens. `thinking` switches Qwen3's thinking mode on or off
    (off: the prompt ends in an empty `<think>` block); None leaves it to the template. Raises ConfigError when the
    tokenizer has no template, or when `thinking` is set and its template knows no such mode; Mismatch as
    `apply_template`.
    """
    return tuple(_apply(tokenizer, messages, thinking))


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages], thinking: bool | None = None
) -> list[tuple[int, ...]]:
    """`encode_prompt` of many conversations, tokenized all at once; raises as it does."""
    return [tuple(ids) for ids in _apply(tokenizer, list(conversations), thinking)] if conversations else []


def _apply(tokenizer: PreTrainedTokenizerBase, messages: Any, thinking: bool | None) -> Any:
    """The ids of one conversation, or of a list of them."""
    mode = _mode(tokenizer, thinking)
    return apply_template(tokenizer, messages, add_generation_prompt=True, return_dict=True, **mode)["input_ids"]


def has_thinking_switch(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template asks if the model shall think (Qwen3's `enable_thinking`)."""
    return "enable_thinking" in str(tokenizer.chat_template)


def _mode(tokenizer: PreTrainedTokenizerBase, thinking: bool | None) -> dict[str, Any]:
    """What the template is told besides the messages; ConfigError where there is no template, or no such mode."""
    if not tokenizer.chat_template:
        raise ConfigError(
            f"tokenizer {tokenizer.name_or_path!r} has no chat template; use an instruction-tuned model's tokenizer"
        )
    if thinking is not None and not has_thinking_switch(tokenizer):
        raise ConfigError(
            f"thinking = {thinking} is set, but the chat template of {tokenizer.name_or_path!r} has no thinking mode; "
            "leave it unset for this model"
        )
    return {} if thinking is None else {"enable_thinking": thinking}


def apply_template(tokenizer: PreTrainedTokenizerBase, messages: Any, **how: Any) -> Any:
    """`tokenizer.apply_chat_template(messages, **how)`, whose template is a program that came with the model.

    messages  one conversation, or a list of them. Raises Mismatch when the template is wrong, refuses these messages,
    or computes for more than TEMPLATE_SECONDS (and PROMPT_SECONDS more for each further conversation).
    """
    conversations = [messages] if isinstance(messages[0], dict) else messages
    roles = ", ".join(m["role"] for m in conversations[0])
    name = f"the chat template of {tokenizer.name_or_path!r}"
    remedy = (
        "correct `chat_template` of the model (chat_template.jinja or tokenizer_config.json), use a prompt template "
        "without what it refuses, or another model"
    )
    limit = TEMPLATE_SECONDS + PROMPT_SECONDS * (len(conversations) - 1)
    try:
        with cpu_limit(limit):
            return tokenizer.apply_chat_template(messages, **how)
    except OutOfTime:
        raise Mismatch(
            f"{name} did not end within {limit:g} s of computing on messages of {roles}: it may never; {remedy}"
        ) from None
    except Exception as err:  # a template can raise anything: Jinja's errors, and those of what it computes
        raise Mismatch(f"{name} fails on messages of {roles} ({type(err).__name__}: {err}); {remedy}") from err


TEMPLATE_SECONDS, PROMPT_SECONDS = 20.0, 0.02
"""Processor time a template may take, and what each prompt of many adds; those of models take milliseconds."""
