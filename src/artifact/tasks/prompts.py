"""From chat messages to prompt token ids: the only place where a prompt is tokenized."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact.tasks.base import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> tuple[int, ...]:
    """The token ids of a prompt that ends where the assistant's turn begins.

    The tokenizer's own chat template decides all special tokens. Raises ValueError when the tokenizer has none.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            f"tokenizer {tokenizer.name_or_path!r} has no chat template; use an instruction-tuned model's tokenizer"
        )
    encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    return tuple(encoded["input_ids"])  # type: ignore[call-overload, arg-type, index]
