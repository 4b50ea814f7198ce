"""Public data sets of the tasks beside mathematics that both abstracts name: summaries, translation, instructions.

Neither draft names a data set (C-X1); these are the common ones of each field. What makes a response right, where no
truth can be computed, is a score of the field's metric that is stated here and arbitrary; the score itself stands
beside it in every table.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any

from artifact.tasks.constraints import obeys, obeys_all, share_of_constraints, unchecked
from artifact.tasks.grading import Grading
from artifact.tasks.hub import Row, Source
from artifact.tasks.metrics import Metric
from artifact.tasks.text_task import Text, TextSet, TextTask

MOST_WORDS = 60
"""The longest reference answer of an instruction that is kept."""


def from_dialogue(row: Row, number: int) -> Text | str:
    """SAMSum: the hub's fields, or those of the prompted form."""
    if "dialogue" in row:
        return _summary(row["dialogue"], row["summary"])
    return _summary(row["prompt"].removeprefix("Sum up the following dialogue:"), row["completion"])


def from_article(row: Row, number: int) -> Text | str:
    """XSum: the hub's fields, or those of the prompted form."""
    if "document" in row:
        return _summary(row["document"], row["summary"])
    return _summary(row["prompt"].removeprefix("Article:").rstrip().removesuffix("Summary:"), row["completion"])


def _summary(text: str, summary: str) -> Text | str:
    text, summary = text.replace("\r\n", "\n").strip(), summary.removesuffix("<|endoftext|>").strip()
    return Text(text, summary) if text and summary else "no text or no summary"


def from_translation(row: Row, number: int) -> Text | str:
    """WMT: German and English lines; entities of tokenised text are written out."""
    german, english = (html.unescape(row["translation"][language]).strip() for language in ("de", "en"))
    return Text(german, english) if german and english else "an empty side"


Constraint = tuple[str, dict[str, Any], str, Callable[[str], str]]

CONSTRAINTS: tuple[Constraint, ...] = (
    ("punctuation:no_comma", {}, "Do not use any commas.", lambda text: text.replace(",", "")),
    ("change_case:english_lowercase", {}, "Write in lower case only, without any capital letter.", str.lower),
    (
        "length_constraints:number_words",
        {"num_words": 25, "relation": "less than"},
        "Use fewer than 25 words.",
        lambda text: text,
    ),
    ("startend:quotation", {}, "Put your whole answer in double quotation marks.", lambda text: f'"{text}"'),
    (
        "startend:end_checker",
        {"end_phrase": "That is all."},
        "End your answer with the exact words: That is all.",
        lambda text: f"{text} That is all.",
    ),
    (
        "detectable_format:title",
        {},
        "Begin with a title in double angle brackets, such as <<title>>.",
        lambda text: f"<<Answer>>\n{text}",
    ),
)
"""IFEval's name and arguments, how it is asked for, and how a reference that does not know of it comes to obey it."""


def from_instruction(row: Row, number: int) -> Text | str:
    """An instruction and its answer, with one of IFEval's constraints added, by turns; two in every third row."""
    asked, given = row["instruction"].strip(), row["instances"][0]
    reference = given["output"].strip()
    if not reference or len(reference.split()) > MOST_WORDS:
        return f"no answer, or one of more than {MOST_WORDS} words"
    chosen: list[Constraint] = []
    for constraint in (*CONSTRAINTS[number % len(CONSTRAINTS) :], *CONSTRAINTS[: number % len(CONSTRAINTS)]):
        changed = constraint[3](reference)
        kept = [c[:2] for c in (*chosen, constraint)]
        if all(obeys(changed, {"id": name, "kwargs": kwargs}) for name, kwargs in kept):
            chosen, reference = [*chosen, constraint], changed
        if len(chosen) == (2 if number % 3 == 0 else 1):
            break
    if not chosen:
        return "an answer that no constraint fits"
    question = "\n\n".join(part for part in (asked, given["input"].strip(), *(c[2] for c in chosen)) if part)
    return Text(question, reference, {"constraints": [{"id": c[0], "kwargs": c[1]} for c in chosen]})


def from_ifeval(row: Row, number: int) -> Text | str:
    """IFEval's own rows, which have no answer; those with a constraint that nothing here checks are left out."""
    kwargs = [json.loads(k) if isinstance(k, str) else k for k in row["kwargs"]]
    constraints = [
        {"id": name, "kwargs": {key: value for key, value in (given or {}).items() if value is not None}}
        for name, given in zip(row["instruction_id_list"], kwargs, strict=True)
    ]
    if missing := unchecked(constraints):
        return f"unchecked constraint {missing[0]}"
    return Text(row["prompt"].strip(), None, {"constraints": constraints})


BY_CONSTRAINTS = Grading(Metric("constraints", share_of_constraints), decides=obeys_all)


class SamSum(TextTask, name="samsum"):
    """Messenger dialogues, each with a summary (Gliwa et al. 2019)."""

    of = TextSet(
        {
            "train": Source(
                "summarization/samsum",
                200,
                "b03da61f4e3be01c037fd9a4336196874278b550501412be48a5335a0013a529",
                "knkarthick/samsum",
                hub_split="train",
            ),
            "test": Source("samsum/test", hub="knkarthick/samsum", hub_split="test"),
        },
        "train",
        "summary",
        "CC-BY-NC-ND-4.0",
        from_dialogue,
        ("dialogue", "summary"),
        Grading("rougeL", correct_from=0.3),
        "summary",
    )


class XSum(TextTask, name="xsum"):
    """News articles, each with a summary of one sentence (Narayan et al. 2018)."""

    of = TextSet(
        {
            "train": Source(
                "summarization/xsum",
                200,
                "2e1444be2e7e922c005973df33578744f95e47a404c78e67361a5395e746d740",
                "EdinburghNLP/xsum",
                hub_split="train[:5000]",
                hub_rows=5000,
            ),
            "test": Source("xsum/test", hub="EdinburghNLP/xsum", hub_split="test"),
        },
        "train",
        "summary",
        "unstated by its authors",
        from_article,
        ("document", "summary"),
        Grading("rougeL", correct_from=0.25),
        "summary",
    )


class Wmt14(TextTask, name="wmt14-de-en"):
    """German sentences with their English translations (WMT 2014)."""

    of = TextSet(
        {
            "train": Source(
                "translation/train",
                4000,
                hub="wmt/wmt14",
                configs=("de-en",),
                hub_split="train[:5000]",
                hub_rows=5000,
                aligned=("de", "en"),
            ),
            "validation": Source(
                "translation/val", 50, hub="wmt/wmt14", configs=("de-en",), hub_split="validation", aligned=("de", "en")
            ),
            "test": Source("wmt14/test", hub="wmt/wmt14", configs=("de-en",), hub_split="test"),
        },
        "validation",
        "translation",
        "unstated by its authors",
        from_translation,
        ("translation",),
        Grading("chrf", correct_from=0.5),
        "translation",
    )


class SeedInstructions(TextTask, name="seed-instructions"):
    """The seed tasks of Self-Instruct (Wang et al. 2023), each with one or two of IFEval's constraints."""

    of = TextSet(
        {
            "train": Source(
                "instruction_following/self_instruct_seed_tasks_175",
                175,
                "7779004fa198fdf27cf70a159363879d8a26c53329e11b436af17b3941875f48",
                "HuggingFaceH4/self-instruct-seed",
                hub_split="train",
                hub_rows=175,
            )
        },
        "train",
        "instruction",
        "Apache-2.0",
        from_instruction,
        ("instruction", "instances"),
        BY_CONSTRAINTS,
        "instruction",
    )


class IFEval(TextTask, name="ifeval"):
    """IFEval as published; a benchmark without answers, so that nothing can be chosen or shown from it."""

    of = TextSet(
        {"train": Source("ifeval/train", hub="google/IFEval", hub_split="train", hub_rows=541)},
        "train",
        "instruction",
        "Apache-2.0",
        from_ifeval,
        ("prompt", "instruction_id_list", "kwargs"),
        BY_CONSTRAINTS,
        "instruction",
    )
