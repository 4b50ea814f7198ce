"""The task of the embedded tier: the procedural problems of `artifact.worlds.tiny`."""

from __future__ import annotations

from artifact.records import Problem
from artifact.tasks.base import Context, Messages, register
from artifact.tasks.slices import name_and_slice
from artifact.worlds.tiny.chat import chat_messages
from artifact.worlds.tiny.splits import DEFAULT_SIZES, load_split


@register("tinymath")
class TinyMath:
    """Splits `train`, `validation`, `curve`, `evaluation`; every prefix is balanced over difficulties and families."""

    name = "tinymath"

    def load(self, split: str, limit: int | None = None) -> list[Problem]:
        """The problems of `split` (or of a slice of it), at most `limit`. Raises SplitError on an unknown split."""
        name, part = name_and_slice(split)
        if part != slice(None):
            return load_split(name)[part][:limit]
        return load_split(name, None if limit is None else min(limit, DEFAULT_SIZES.get(name, limit)))

    def messages(self, problem: Problem, context: Context = "none") -> Messages:
        """`[user]`, or `[system, user]` with the gold answer or solution. Raises ValueError where it is missing."""
        hint = {"answer": problem.answer, "solution": problem.solution}.get(context)
        return chat_messages(problem.question, context, hint)
