"""The benchmarks and training sets of both papers, one row each; `tasks/benchmark.py` says what a row means.

Adding one is adding a row, or `register_benchmark(Benchmark(...))` from a notebook; a file of one's own in a known
format needs neither (`find_benchmark`).

UOPD section 4.1 (sources and difficulties) and 4.3 (benchmarks); CORE section 4.1 (GSM8K).
"""

from __future__ import annotations

import re

from artifact.tasks.answers import AnswerType
from artifact.tasks.benchmark import Benchmark, register_benchmark
from artifact.tasks.hub import Row, Source


def math_level(row: Row) -> str | None:
    """MATH's level, `level 1` to `level 5`; None for its few `Level ?`."""
    digits = re.findall(r"[1-5]", str(row.get("level", "")))
    return f"level {digits[0]}" if digits else None


def own_difficulty(row: Row) -> str | None:
    """The difficulty a row of this project's own format carries."""
    return row.get("difficulty")


def omni_difficulty(row: Row) -> str | None:
    """Omni-MATH's difficulty in whole steps, `difficulty 1` to `difficulty 9` (5.25 counts as 5)."""
    value = row.get("difficulty")
    return None if value is None else f"difficulty {int(float(value))}"


_OLYMPIAD_TYPES = {
    "Numerical": AnswerType.NUMBER,
    "Expression": AnswerType.EXPRESSION,
    "Tuple": AnswerType.TUPLE,
    "Interval": AnswerType.INTERVAL,
}
_AMO_TYPES = {
    "number": AnswerType.NUMBER,
    "set": AnswerType.SET,
    "variable": AnswerType.EXPRESSION,
    "description": AnswerType.TEXT,
}
_MATH_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
_MATH_HUB = "EleutherAI/hendrycks_math"


def _arena(name: str, hub: str) -> Benchmark:
    """A contest of 30 problems on MathArena."""
    return Benchmark(
        name,
        {"test": Source(f"{name.replace('-', '_')}/test", 30, hub=hub, hub_split="train", hub_rows=30)},
        "test",
        "competition",
        "CC-BY-NC-SA-4.0",
        "problem",
        "answer",
        key="problem_idx",
        family="problem_type",
    )


TABLE = (
    Benchmark(
        "gsm8k",
        {
            "train": Source(
                "gsm8k/train",
                7473,
                "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
                "openai/gsm8k",
                ("main",),
                "train",
                7473,
            ),
            "test": Source(
                "gsm8k/test",
                1319,
                "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
                "openai/gsm8k",
                ("main",),
                "test",
                1319,
            ),
        },
        "test",
        "easy",
        "MIT",
        "question",
        "answer",
        "hashes",
        solution="answer",
    ),
    Benchmark(
        "math",
        {
            "train": Source("math/train", 7500, "", _MATH_HUB, _MATH_SUBJECTS, "train", 7500),
            "test": Source("math/test", 5000, "", _MATH_HUB, _MATH_SUBJECTS, "test", 5000),
        },
        "test",
        "medium",
        "MIT",
        "problem",
        "solution",
        "boxed",
        solution="solution",
        family="type",
        level=math_level,
    ),
    Benchmark(
        "math-500",
        {
            "test": Source(
                "math500/test",
                500,
                "35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
                "HuggingFaceH4/MATH-500",
                hub_rows=500,
            )
        },
        "test",
        "medium",
        "MIT",
        "problem",
        "answer",
        solution="solution",
        key="unique_id",
        family="subject",
        level=math_level,
    ),
    Benchmark(
        "aime-2024",
        {
            "test": Source(
                "aime2024/test",
                30,
                "e428f83ec735201c9db2a232727f4c20dbce87079ed386b6e3fb7f756d078756",
                "HuggingFaceH4/aime_2024",
                hub_split="train",
                hub_rows=30,
            )
        },
        "test",
        "competition",
        "Apache-2.0",
        "problem",
        "expected_answer|answer",
        "number",
        solution="reference_solution|solution",
        key="id",
    ),
    Benchmark(
        "aime-2025",
        {
            "test": Source(
                "aime2025/test",
                30,
                "b672f9c6660b68dd42f5fc705b17405f24eaa9991c98991d63463c6b683468a8",
                "MathArena/aime_2025",
                hub_split="train",
                hub_rows=30,
            )
        },
        "test",
        "competition",
        "Apache-2.0 (local), CC-BY-NC-SA-4.0 (hub)",
        "problem",
        "expected_answer|answer",
        "number",
        solution="reference_solution",
        key="id|problem_idx",
        family="problem_type",
    ),
    _arena("hmmt-feb-2025", "MathArena/hmmt_feb_2025"),
    _arena("hmmt-nov-2025", "MathArena/hmmt_nov_2025"),
    Benchmark(
        "amo-bench",
        {
            "test": Source(
                "amo_bench/test",
                50,
                "c6e02f75f83991adff371edf5a3adf566720f67d47a6d715c2a53a622c650614",
                "meituan-longcat/AMO-Bench",
                hub_rows=50,
            )
        },
        "test",
        "competition",
        "MIT",
        "problem|prompt",
        "final_answer_raw|answer",
        "boxed_or_text",
        solution="solution",
        key="question_id",
        type_field="answer_type",
        types=_AMO_TYPES,
        descriptive=("description",),
    ),
    Benchmark(
        "omni-math",
        {
            # The local file is the rule-gradable part (2,821 problems); the hub has all 4,428.
            "test": Source(
                "omni_math/test",
                2821,
                "d566d5b5a9865a04b507fdc4c0669cf0ff391748e13f190ecc925e78b584b172",
                "KbsdJames/Omni-MATH",
                hub_rows=4428,
            )
        },
        "test",
        "hard",
        "Apache-2.0",
        "problem",
        "answer",
        "boxed_or_text",
        solution="solution",
        family="domain",
        level=omni_difficulty,
        keep=("source",),
    ),
    Benchmark(
        "olympiadbench",
        {
            # The local file is the evaluation copy that Qwen2.5-Math uses (675); the hub's configuration has 674.
            "test": Source(
                "olympiadbench/test",
                675,
                "bb8c1e38a16ea9eacb77530315a674d883f267fbff79183effc53681b4fcc416",
                "Hothan/OlympiadBench",
                ("OE_TO_maths_en_COMP",),
                "train",
                674,
            )
        },
        "test",
        "hard",
        "MIT (local), Apache-2.0 (hub)",
        "question",
        "final_answer",
        "first",
        solution="solution",
        key="id",
        family="subfield",
        type_field="answer_type",
        types=_OLYMPIAD_TYPES,
        keep=("is_multiple_answer", "unit", "error"),
    ),
    Benchmark(
        "numina-math-cot",
        {
            "train": Source("numina_math_cot/train", None, "", "AI-MO/NuminaMath-CoT", hub_split="train"),
            "test": Source("numina_math_cot/test", None, "", "AI-MO/NuminaMath-CoT", hub_split="test"),
        },
        "train",
        "medium",
        "Apache-2.0",
        "problem",
        "solution",
        "boxed",
        solution="solution",
        family="source",
        missing="out",
    ),
    Benchmark(
        "scalequest",
        {
            "train": Source("scalequest/train", None, "", "dyyyyyyyy/ScaleQuest-Math", hub_split="train"),
            "samples": Source(
                "scalequest/samples", 100, "ad14e6407ee80c95ce4ceeb042f3f2bece44227fc8f6683fd88c329163e49568"
            ),
        },
        "train",
        "easy",
        "Apache-2.0",
        "query",
        "response",
        "boxed",
        solution="response",
        missing="out",
    ),
    Benchmark(
        "svamp",
        {
            # The local file is the whole set; the hub divides the same 1,000 problems into 700 and 300.
            "all": Source(
                "svamp/test",
                1000,
                "d0826ff1264f3860e46fc4e71db9e31d2d188960db87090e22677f9493e67a0d",
                "ChilleD/SVAMP",
                hub_split="train+test",
                hub_rows=1000,
            ),
            "train": Source("svamp/train-700", 700, "", "ChilleD/SVAMP", hub_split="train", hub_rows=700),
            "test": Source("svamp/test-300", 300, "", "ChilleD/SVAMP", hub_split="test", hub_rows=300),
        },
        "all",
        "easy",
        "MIT",
        "Body+Question",
        "Answer",
        "number",
        key="ID",
        family="Type",
        keep=("Equation",),
    ),
    Benchmark(
        "sure-math",
        {s: Source(f"sure_math/{s}", made_by="artifact build-suremath") for s in ("train", "validation", "test")},
        "test",
        "medium",
        "see the dataset's card",
        "question",
        "answer",
        solution="solution",
        key="id",
        level=own_difficulty,
        keep=("meta",),
    ),
)
"""Every benchmark of both papers. SURE-Math is built by this project; it is read from the folder it was written to."""

for _row in TABLE:
    register_benchmark(_row)
