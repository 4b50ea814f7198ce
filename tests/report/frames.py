"""Small frames in the form of `artifact.studies.results`, drawn from a seed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from artifact.worlds.tiny.problems import DIFFICULTIES, FAMILIES

CELLS = {
    "Base": "base",
    "Teacher": "teacher",
    "SFT": "sft",
    "SeqKD": "seqkd",
    "OPD (uniform)": "opd",
    "UOPD (soft)": "uopd-soft",
    "UOPD (binary 0.5)": "uopd-binary-0.5",
    "Self-distilled (OPSD)": "opsd",
    "GRPO": "grpo",
    "Distil only": "core-distil",
    "Contrast only": "core-contrast",
    "CORE": "core",
}
"""Printed label → id."""

TEACHERS, LABELS, SEEDS = ("A", "B"), ("OPD (uniform)", "UOPD (soft)", "UOPD (binary 0.5)"), (0, 1, 2)


def evaluation_frame(problems: int = 60) -> pd.DataFrame:
    """Base, Teacher (seed 0) and three methods × three seeds under two teachers."""
    rng = np.random.default_rng(0)
    rows = []
    runs = [(label, seed) for label in LABELS for seed in SEEDS] + [("Base", 0), ("Teacher", 0)]
    for teacher in TEACHERS:
        for label, seed in runs:
            for i in range(problems):
                rows.append(
                    {
                        "label": label,
                        "cell": CELLS[label],
                        "teacher": teacher,
                        "seed": seed,
                        "key": f"{label}{teacher}{seed}",
                        "reads_gold": False,
                        "split": "evaluation",
                        "problem_id": f"p{i:03d}",
                        "difficulty": DIFFICULTIES[i % 4],
                        "family": FAMILIES[i % 5],
                        "sample": 0,
                        "correct": bool(rng.random() < (0.3 if label == "Base" else 0.5)),
                        "status": "correct",
                        "response_tokens": int(rng.integers(10, 40)),
                        "finish_reason": "stop",
                    }
                )
    return pd.DataFrame(rows)


def curve_frame() -> pd.DataFrame:
    """Five points a run on 20 problems."""
    rng = np.random.default_rng(1)
    rows = []
    for teacher in TEACHERS:
        for label in LABELS:
            for seed in SEEDS:
                for step in (0, 10, 20, 30, 40):
                    for i in range(20):
                        rows.append(
                            {
                                "label": label,
                                "cell": CELLS[label],
                                "teacher": teacher,
                                "seed": seed,
                                "step": step,
                                "problem_id": f"c{i}",
                                "difficulty": DIFFICULTIES[i % 4],
                                "family": FAMILIES[i % 5],
                                "correct": bool(rng.random() < 0.3 + step / 150),
                                "response_tokens_so_far": 3000 * step,
                                "teacher_tokens_so_far": 3000 * step,
                                "seconds_so_far": 1.3 * step + seed,
                            }
                        )
    return pd.DataFrame(rows)


def metrics_frame(steps: int = 40) -> pd.DataFrame:
    """What the loop logs, one row per step."""
    rng = np.random.default_rng(2)
    rows = []
    for teacher in TEACHERS:
        for label in LABELS:
            for seed in SEEDS:
                for step in range(steps):
                    rows.append(
                        {
                            "label": label,
                            "cell": CELLS[label],
                            "teacher": teacher,
                            "seed": seed,
                            "step": step,
                            "loss": 1.0 / (step + 1),
                            "distil/divergence": 0.5 / (step + 1),
                            "distil/teacher_mass": 0.999,
                            "distil/student_mass": 0.95,
                            "distil/top1_agreement": 0.9,
                            "rollout_accuracy": rng.random(),
                            "grad_norm": 0.3,
                            "lr": 1e-3,
                            "seconds/rollout": 0.5,
                            "seconds/verify": 0.1,
                            "seconds/method": 0.0,
                            "seconds/teacher": 0.25,
                            "seconds/student": 0.5,
                            "seconds/sync": 0.05,
                            "rollouts": 128.0,
                            "examples": 128.0,
                            "response_tokens": 4000.0,
                            "teacher_tokens": 4000.0,
                            "mean_weight": 0.6,
                            "sync/max_logprob_diff": 1e-6,
                        }
                    )
    return pd.DataFrame(rows)


def annotation_frame(seed: int = 0, n: int = 200) -> pd.DataFrame:
    """Problems whose teacher is right with probability 1 − H / log N."""
    rng = np.random.default_rng(seed)
    entropy = np.where(rng.random(n) < 0.3, 0.0, rng.random(n))
    right = rng.random(n) > entropy
    return pd.DataFrame(
        {
            "problem_id": [f"t{i}" for i in range(n)],
            "difficulty": [DIFFICULTIES[i % 4] for i in range(n)],
            "family": [FAMILIES[i % 5] for i in range(n)],
            "question": "?",
            "normalised": entropy,
            "entropy": entropy * np.log(8),
            "discrete_entropy": entropy * np.log(8),
            "weight": 1 - entropy,
            "clusters": 1 + (entropy * 7).astype(int),
            "majority_share": 1 - entropy / 2,
            "answer_string_entropy": entropy * np.log(8),
            "mean_logprob": -entropy / 3,
            "majority_correct": right,
            "greedy_correct": right,
        }
    )


def score_table(seed: int = 0, n: int = 200) -> pd.DataFrame:
    """The form of `phase1.validation.score_table`, five scores of falling quality."""
    frame, rng = annotation_frame(seed, n), np.random.default_rng(seed + 10)
    scores = {
        name: frame["normalised"] + i * 0.2 * rng.random(n)
        for i, name in enumerate(
            [
                "semantic_entropy",
                "discrete_entropy",
                "one_minus_majority_share",
                "answer_string_entropy",
                "negative_mean_logprob",
            ]
        )
    }
    return pd.DataFrame(
        {
            "problem_id": frame["problem_id"],
            "wrong": ~frame["greedy_correct"],
            "normalised": frame["normalised"],
            **scores,
        }
    )
