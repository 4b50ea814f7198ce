"""The word-level tokenizer of the text world: words with their leading space, about 230 tokens.

Text → tokens → text is exact for every text of this world. A word that may open a text, or follow a dash, has a form
without a space as well. Unknown characters become `<|unk|>`. The chat form is that of the arithmetic world.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from artifact.worlds.text.instruction import NUMBERS, WORDS
from artifact.worlds.text.summary import PEOPLE, THINGS
from artifact.worlds.text.translation import ADJECTIVES, ARTICLES, JOIN, MARKER, NOUNS, VERBS
from artifact.worlds.tiny.tokenizer import BOS, CHAT_TEMPLATE, EOS, PAD, SPECIAL_TOKENS, UNK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SYMBOLS = (":", ",", ".", ";", "-", " ")
OPENERS = ("Translate", "Summarize", "Words", "Answer", "Solution")

ENGLISH = (
    *(noun + s for noun in NOUNS for s in ("", "s")),
    *ADJECTIVES,
    *(form for verb, (past, _) in VERBS.items() for form in (verb, f"{verb}s", past)),
    *(english for english, _ in ARTICLES.values()),
    "and",
)
MIR = (
    *(noun + n for noun in NOUNS.values() for n in ("", "n")),
    *(stem + vowel + n for stem in ADJECTIVES.values() for vowel in "oi" for n in ("", "n")),
    *(stem + tense + s for _, stem in VERBS.values() for tense in "ae" for s in ("", "s")),
    JOIN,
)
MIR_OPENERS = (*(mir for _, mir in ARTICLES.values()), MARKER)
REQUESTS = (*THINGS, *(thing for things in THINGS.values() for thing in things))
PICKS = (*WORDS, *(word.upper() for word in WORDS))
ORDERS = ("Write", *NUMBERS, "with", "without", "from", "to", "A", "Z", "in", "capitals", "commas", "dashes")

VOCABULARY = tuple(
    dict.fromkeys(
        (
            *SPECIAL_TOKENS,
            *SYMBOLS,
            *OPENERS,
            *(f" {word}" for word in (*ENGLISH, *MIR, *MIR_OPENERS, *PEOPLE, *REQUESTS, *PICKS, *ORDERS)),
            *(*MIR_OPENERS, *PEOPLE, *PICKS),
        )
    )
)

PATTERN = r" ?[A-Za-z]+| |[^A-Za-z ]"
"""One match is one token: a word with its leading space, a lone space, or any other character."""


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
