"""The task of the embedded tier: the procedural problems of `artifact.worlds.tiny`."""

from __future__ import annotations

from artifact.records import Problem
from artifact.tasks.base import Context, Messages, register
from artifact.worlds.tiny.chat import chat_messages
from artifact.worlds.tiny.splits import DEFAULT_SIZES, load_split


@register("tinymath")
class TinyMath:
    """Splits `train`, `validation`, `curve`, `evaluation`; every prefix is balanced over difficulties and families."""

    name, main, sizes = "tinymath", "evaluation", DEFAULT_SIZES

    def load(self, split: str) -> list[Problem]:
        """The problems of `split`. Raises ArtifactError on an unknown one."""
        return load_split(split)

    def messages(self, problem: Problem, context: Context = "none") -> Messages:
        """`[user]`, or `[system, user]` with the gold answer or solution. Raises ValueError where it is missing."""
        hint = {"answer": problem.answer, "solution": problem.solution}.get(context)
        return chat_messages(problem.question, context, hint)
