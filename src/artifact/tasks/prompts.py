"""From chat messages to prompt token ids through the chat template (`plain_prompt.py`: for models without one)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from artifact.tasks.base import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, thinking: bool | None = None
) -> tuple[int, ...]:
    """The token ids of a prompt that ends where the assistant's turn begins.

    The tokenizer's own chat template decides all special tokens. `thinking` switches Qwen3's thinking mode on or off
    (off: the prompt ends in an empty `<think>` block); None leaves it to the template. Raises ValueError when the
    tokenizer has no template, or when `thinking` is set and its template knows no such mode.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            f"tokenizer {tokenizer.name_or_path!r} has no chat template; use an instruction-tuned model's tokenizer"
        )
    mode: dict[str, Any] = {} if thinking is None else {"enable_thinking": thinking}
    if mode and "enable_thinking" not in str(tokenizer.chat_template):
        raise ValueError(
            f"thinking = {thinking} is set, but the chat template of {tokenizer.name_or_path!r} has no thinking mode; "
            "leave it unset for this model"
        )
    encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, **mode)
    return tuple(encoded["input_ids"])  # type: ignore[call-overload, arg-type, index]
