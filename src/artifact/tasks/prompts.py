"""From chat messages to prompt token ids through the chat template (`plain_prompt.py`: for models without one)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from artifact.errors import ArtifactError, ConfigError
from artifact.tasks.base import Messages
from artifact.tasks.cpu_limit import OutOfTime, cpu_limit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, thinking: bool | None = None
) -> tuple[int, ...]:
    """The token ids of a prompt that ends where the assistant's turn begins.

    The tokenizer's own chat template decides all special tokens. `thinking` switches Qwen3's thinking mode on or off
    (off: the prompt ends in an empty `<think>` block); None leaves it to the template. Raises ValueError when the
    tokenizer has no template, or when `thinking` is set and its template knows no such mode; ArtifactError as
    `apply_template`.
    """
    if not tokenizer.chat_template:
        raise ConfigError(
            f"tokenizer {tokenizer.name_or_path!r} has no chat template; use an instruction-tuned model's tokenizer"
        )
    mode: dict[str, Any] = {} if thinking is None else {"enable_thinking": thinking}
    if mode and "enable_thinking" not in str(tokenizer.chat_template):
        raise ConfigError(
            f"thinking = {thinking} is set, but the chat template of {tokenizer.name_or_path!r} has no thinking mode; "
            "leave it unset for this model"
        )
    encoded = apply_template(tokenizer, messages, add_generation_prompt=True, return_dict=True, **mode)
    return tuple(encoded["input_ids"])


def apply_template(tokenizer: PreTrainedTokenizerBase, messages: Messages, **how: Any) -> Any:
    """`tokenizer.apply_chat_template(messages, **how)`, whose template is a program that came with the model.

    Raises ArtifactError when the template is wrong, refuses these messages, or computes for more than TEMPLATE_SECONDS.
    """
    roles = ", ".join(m["role"] for m in messages)
    name = f"the chat template of {tokenizer.name_or_path!r}"
    remedy = "correct `chat_template` of the model (chat_template.jinja or tokenizer_config.json), or use another model"
    try:
        with cpu_limit(TEMPLATE_SECONDS):
            return tokenizer.apply_chat_template(messages, **how)
    except OutOfTime:
        raise ArtifactError(
            f"{name} did not end within {TEMPLATE_SECONDS:g} s of computing on messages of {roles}: it may never; "
            f"{remedy}"
        ) from None
    except Exception as err:  # a template can raise anything: Jinja's errors, and those of what it computes
        raise ArtifactError(f"{name} fails on messages of {roles} ({type(err).__name__}: {err}); {remedy}") from err


TEMPLATE_SECONDS = 20.0
"""Processor time a template may take for one prompt; those of models take milliseconds."""
