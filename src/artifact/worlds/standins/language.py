"""The language of the stand-ins: a chain of words, its tokenizer, and the chat templates of the two model families.

A *state* is a token after which the next one is drawn from a short list. The chain of a model that answers runs from
the end of the prompt over some words to a boxed digit, the same digit after `####`, and the end of the turn; the chain
of one that writes problems runs through ten lists of words, between `<problem>` and `</problem>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Chain = dict[str, dict[str, float]]
"""State → next token → probability, in texts of tokens."""

PAD, BEGIN, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
THINK = ("<think>", "</think>")

NAMES = (" Ada", " Emmy", " Kurt", " Alan")
VERBS = (" buys", " paints", " counts", " finds")
FIRST = (" twelve", " forty", " sixty", " ninety")
COLOURS = (" red", " green", " blue", " black")
THINGS = (" kites", " drums", " lamps", " stones")
PLACES = (" in Lima", " in Oslo", " in Kyiv", " in Rome")
SECOND = (" seven", " eleven", " thirteen", " nineteen")
MORE = (" maps", " coins", " shells", " ropes")
SHARED = (" and loses", " and sells", " and lends", " and breaks")
PARTS = (" a half", " a third", " a fifth", " a tenth")
QUESTION = " How many are left?"
SLOTS = (NAMES, VERBS, FIRST, COLOURS, THINGS, PLACES, SHARED, SECOND, MORE, PARTS)

DIGITS, LIKELIEST = "123456789", "7"
OPENINGS = (" So", " Thus", " Hence", " Then")
STEPS = (" the result is", " one gets", " it must be", " we find")
BOX = " \\boxed{"


def question(words: Iterable[str]) -> str:
    """A problem of the language from one word of each of `SLOTS`."""
    return f"{''.join(words).strip()}.{QUESTION}"


def digits(sure: float, likeliest: str = LIKELIEST) -> dict[str, float]:
    """Probabilities of the digits of a model that answers: `sure` for the likeliest, the rest for three others."""
    others = [d for d in DIGITS if d != likeliest][:3]
    return {likeliest: sure, **dict.fromkeys(others, (1 - sure) / len(others))}


def answering(starts: Iterable[str], sure: float) -> Chain:
    """The chain of a model that answers; `starts` are the tokens a prompt may end with."""
    chain: Chain = {start: _even(OPENINGS) for start in starts}
    chain |= {word: _even(STEPS) for word in OPENINGS} | {word: {BOX: 1.0} for word in STEPS}
    chain[BOX] = {_closed(d): p for d, p in digits(sure).items()}
    for d in chain[BOX]:
        chain[d] = {_marked(d[0]): 1.0}
        chain[_marked(d[0])] = {END: 1.0}
    return chain


def writing(starts: Iterable[str]) -> Chain:
    """The chain of a model that writes problems."""
    chain: Chain = {start: {"<problem>": 1.0} for start in starts}
    before: Iterable[str] = ("<problem>",)
    for slot in SLOTS:
        chain |= {word: _even(slot) for word in before}
        before = slot
    return (
        chain | {word: {QUESTION: 1.0} for word in before} | {QUESTION: {"</problem>": 1.0}, "</problem>": {END: 1.0}}
    )


def _even(words: Iterable[str]) -> dict[str, float]:
    kept = tuple(words)
    return dict.fromkeys(kept, 1 / len(kept))


def _closed(digit: str) -> str:
    return f"{digit}}}"


def _marked(digit: str) -> str:
    return f"\n#### {digit}"


def words() -> Iterator[str]:
    """Every text that is one token besides those of the byte-level alphabet."""
    yield from ("<problem>", "</problem>", QUESTION, BOX, *OPENINGS, *STEPS)
    yield from (form for d in DIGITS for form in (_closed(d), _marked(d)))
    for slot in SLOTS:
        yield from slot
    yield from (form for word in ("yes", "no", "Yes", "No") for form in (word, f" {word}"))


PLAIN = """{%- for message in messages %}\
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{%- endfor %}\
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"""
"""ChatML, as Qwen2.5 has it."""

THINKING = """{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}\
{%- if message['role'] == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}\
{{ message['content'] + '<|im_end|>\\n' }}{%- endfor %}\
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}\
{%- if enable_thinking is defined and enable_thinking is false %}\
{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"""
"""The same with a thinking mode, as Qwen3 has it: off, the prompt ends in an empty block."""

TEMPLATES: Mapping[str, str] = {"qwen2": PLAIN, "qwen3": THINKING, "qwen3_moe": THINKING}
"""Chat template by `model_type`."""


@lru_cache(maxsize=4)
def build_tokenizer(model_type: str, texts: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose merges are learnt from `texts`, with the template of a model family."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=1024, initial_alphabet=alphabet, show_progress=False)
    )
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (PAD, BEGIN, END)])
    core.add_tokens([AddedToken(t, normalized=False) for t in (*THINK, *words())])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = TEMPLATES[model_type]
    return tokenizer
