"""Greedy accuracy of a tiny model, with plain transformers generation: the figures in the models' manifest.

A deliberately small grader for this world's own surface forms, in exact arithmetic. Studies use
`artifact.tasks.verify`; the two are written apart so that one can check the other.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from artifact.records import Problem
from artifact.worlds.tiny.chat import Context, chat_messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

_BOX = re.compile(r"\\boxed\{([^{}]*)\}")
_VALUE = re.compile(r"(?:x=)?(-?\d+(?:/\d+|\.\d+)?)(?: [a-z]+)?")


def boxed_value(text: str) -> Fraction | None:
    r"""The value in the last `\boxed{…}` of `text`; None without a box or where it holds no number of this world."""
    boxes = _BOX.findall(text)
    match = _VALUE.fullmatch(boxes[-1]) if boxes else None
    if match is None:
        return None
    try:
        return Fraction(match[1])
    except ZeroDivisionError:  # a model may well write 5/0
        return None


def greedy_responses(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    context: Context = "none",
    batch: int = 200,
    max_new_tokens: int = 128,
) -> list[str]:
    """One greedy response a problem, as text without special tokens, in the order of `problems`."""
    import torch

    hints = {"none": lambda p: None, "answer": lambda p: p.answer, "solution": lambda p: p.solution}[context]
    messages = [chat_messages(p.question, context, hints(p)) for p in problems]
    prompts = [str(tokenizer.apply_chat_template(m, tokenize=False, add_generation_prompt=True)) for m in messages]
    out = [""] * len(problems)
    order = sorted(
        range(len(problems)), key=lambda i: (problems[i].difficulty, problems[i].meta["family"], len(prompts[i]))
    )
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        inputs = tokenizer(
            [prompts[i] for i in rows], add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
        )
        with torch.inference_mode():
            ids = model.generate(  # type: ignore[misc]
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                do_sample=False,
                max_new_tokens=max_new_tokens,
            )
        texts = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for i, text in zip(rows, texts, strict=True):
            out[i] = text
    return out


def accuracy_table(problems: Sequence[Problem], responses: Sequence[str]) -> dict[str, float]:
    """Percent correct, to two places: overall, per difficulty (`easy`), family (`sum`) and cell (`sum/easy`)."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for problem, response in zip(problems, responses, strict=True):
        family = problem.meta["family"]
        correct = boxed_value(response) == Fraction(problem.answer)
        for key in ("all", problem.difficulty, family, f"{family}/{problem.difficulty}"):
            hits[key].append(correct)
    return {key: round(100.0 * sum(rows) / len(rows), 2) for key, rows in hits.items()}
