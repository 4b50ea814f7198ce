r"""math-verify, made strict: the one place that calls it, meant to run inside `verifier_worker.py` only.

Strict means: the answer is handed over inside one `\boxed{}`, only LaTeX extraction is on, only the first match counts,
there is no unanchored match and no fallback to string comparison. Its own time-outs (which use `signal.alarm` and fail
off the main thread) are off; the parent process kills the worker instead. Exceptions are raised, never turned into
"wrong". Plain notation that math-verify misreads is rewritten first: `pi` (read as p·i), `**`, `x^10`, `\mathrm{e}`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from artifact.tasks.answer_forms import without_unit
from artifact.tasks.answer_text import normal_text

_PLAIN = [
    (re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"(?<=[0-9A-Za-z)}\]]) ?\*\* ?(?=[-0-9A-Za-z({\\])"), "^"),
    (re.compile(r"\^ ?(-[0-9]+|[0-9]{2,})"), r"^{\1}"),
    (re.compile(r"(?<![A-Za-z\\])(sqrt|sin|cos|tan|cot|ln|log|exp)(?= ?[({^])"), r"\\\1"),
    (re.compile(r"(?<![A-Za-z\\])(?:infty|infinity)(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"\\sqrt ?\(([^()]*)\)"), r"\\sqrt{\1}"),
]


def plain_to_latex(answer: str) -> str:
    """`answer` in the notation math-verify reads as it is meant."""
    text = without_unit(normal_text(answer))
    for pattern, to in _PLAIN:
        text = pattern.sub(to, text)
    return text


@lru_cache(maxsize=1)
def _extraction() -> list[Any]:
    from latex2sympy2_extended.latex2sympy2 import NormalizationConfig
    from math_verify import LatexExtractionConfig

    # units=True would delete variables: it makes `5ab` equal to 5. `without_unit` does the job instead.
    normalization = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all")
    return [
        LatexExtractionConfig(
            boxed_match_priority=0, try_extract_without_anchor=False, normalization_config=normalization
        )
    ]


def _parse(answer: str) -> list[Any]:
    from math_verify import parse

    boxed = rf"\boxed{{{plain_to_latex(answer)}}}"
    return parse(
        boxed,
        extraction_config=_extraction(),
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
        raise_on_error=True,
    )


def symbolic_equal(gold: str, prediction: str) -> tuple[bool, str]:
    """(equal, reason) by math-verify's algebra. May never return, may use much memory, may raise."""
    from math_verify import verify

    parsed_prediction = _parse(prediction)
    if not parsed_prediction:
        return False, "math-verify cannot parse the prediction"
    parsed_gold = _parse(gold)
    if not parsed_gold:
        return False, "math-verify cannot parse the gold answer"
    equal = verify(
        parsed_gold,
        parsed_prediction,
        strict=True,
        allow_set_relation_comp=True,
        timeout_seconds=None,
        raise_on_error=True,
    )
    return equal, "math-verify"
