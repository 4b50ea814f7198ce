"""The chat messages of the embedded tier: what the user says and what a system message may reveal.

Three prompt forms, and no others, occur in training and use:
    none      [user: question]
    answer    [system: "Answer: " + canonical answer, user: question]
    solution  [system: "Solution: " + reference solution, user: question]
"""

from __future__ import annotations

from typing import Literal

Context = Literal["none", "answer", "solution"]

_PREFIX = {"answer": "Answer: ", "solution": "Solution: "}


def chat_messages(question: str, context: Context = "none", hint: str | None = None) -> list[dict[str, str]]:
    """The messages of one prompt; `hint` is the gold answer or solution that `context` promises.

    Raises ValueError when the context is unknown or its hint is missing.
    """
    user = {"role": "user", "content": question}
    if context == "none":
        return [user]
    if context not in _PREFIX:
        raise ValueError(f"unknown prompt context {context!r}; use none, answer or solution")
    if hint is None:
        raise ValueError(f"prompt context {context!r} needs a gold {context}, but question {question!r} has none")
    return [{"role": "system", "content": _PREFIX[context] + hint}, user]
