"""The word-level tokenizer of the embedded tier: single digits, words with their leading space, under 100 tokens.

Text → tokens → text is exact for every text of this world. A word and its spaced form are two tokens (`x`, ` x`); a
space before a digit is a token of its own, so that a digit has one id wherever it stands. Unknown characters become
`<|unk|>` and never vanish silently.

The chat form is one line a message, without newlines:
    <|bos|><|system|>…<|im_end|><|user|>…<|im_end|><|assistant|>…<|im_end|>
A prompt ends after `<|assistant|>`; the model ends its turn with the EOS token `<|im_end|>`.

Left out: the texts of prompts and what a system message may say (`artifact.tasks.catalogue.tinymath`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from artifact.worlds.tiny.problems import CONTAINERS, GAINS, ITEMS, LOSSES, NAMES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNK = "<|pad|>", "<|bos|>", "<|im_end|>", "<|unk|>"
ROLES = ("system", "user", "assistant")

SPECIAL_TOKENS = (PAD, BOS, EOS, UNK, *(f"<|{role}|>" for role in ROLES))
SYMBOLS = ("+", "-", "*", "/", "=", ";", ":", ",", ".", "?", "(", ")", "\\boxed{", "}", " ")
WORDS = (
    *NAMES,
    *ITEMS,
    *GAINS,
    *LOSSES,
    *CONTAINERS,
    " packs",
    " fills",
    " has",
    " of",
    " and",
    " How",
    " many",
    "What",
    " What",
    " is",
    "Add",
    "Find",
    " the",
    " sum",
    "Solve",
    "x",
    " x",
    " if",
    " remainder",
    "Divide",
    " divided",
    " by",
    "Answer",
    "Solution",
)
VOCABULARY = (*SPECIAL_TOKENS, *"0123456789", *SYMBOLS, *WORDS)

PATTERN = r"\\boxed\{| ?[A-Za-z]{2,}| ?[A-Za-z]|[0-9]| |[^A-Za-z0-9 ]"
"""One match is one token: the box, a word with its leading space, a digit, a lone space, or any other character."""

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message['role'] + '; use system, user or assistant') }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@lru_cache(maxsize=1)
def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer as a Hugging Face `PreTrainedTokenizerFast` with chat template, bos, eos, pad and unk tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token=UNK))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=512,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
