"""The tasks of the tiny text world: translation, summarization, instruction following (`artifact.worlds.text`).

Truth is computable, so it decides every verdict; the score says how near a response came, by the metric of each field:
chrF for translations, ROUGE-L for summaries, the share of obeyed constraints for instructions.
"""

from __future__ import annotations

from artifact.records import Problem
from artifact.tasks.base import Context, Messages, register
from artifact.tasks.grading import Grading, GradingByFamily
from artifact.tasks.metrics import Metric
from artifact.worlds.text.meaning import Meaning, is_right, meaning_of, share_obeyed
from artifact.worlds.text.pairs import Known, known_pairs
from artifact.worlds.text.splits import DEFAULT_SIZES, load_split
from artifact.worlds.tiny.chat import chat_messages


@register("tinytext")
class TinyText:
    """Splits `train`, `validation`, `curve`, `evaluation`; every prefix is balanced over difficulties and families."""

    name, main, sizes = "tinytext", "evaluation", DEFAULT_SIZES
    grading = GradingByFamily(
        {
            "translation": Grading("chrf", decides=is_right),
            "summary": Grading("rougeL", decides=is_right),
            "instruction": Grading(Metric("constraints", share_obeyed), decides=is_right),
        }
    )

    def load(self, split: str) -> list[Problem]:
        """The problems of `split`. Raises ArtifactError on an unknown one."""
        return load_split(split)

    def messages(self, problem: Problem, context: Context = "none") -> Messages:
        """`[user]`, or `[system, user]` with the gold answer or solution. Raises ValueError where it is missing."""
        hint = {"answer": problem.answer, "solution": problem.solution}.get(context)
        return chat_messages(problem.question, context, hint)

    def meaning(self, question: str, text: str) -> Meaning | None:
        """What a response means, for clustering by mutual entailment; None where it means nothing."""
        return meaning_of(question, text)

    def known_pairs(self) -> list[Known]:
        """Pairs of responses of known relation, on which a judge of meaning is tested."""
        return known_pairs()
