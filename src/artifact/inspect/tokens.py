"""A response token by token: what student, teacher and loss said of each, and the five channels that can colour it.

    divergence   the loss's own, on the teacher's support (nats)
    entropy      of the teacher (nats); of the student where there is no teacher
    surprise     −log p_S of the token (nats)
    share        |loss_weight · pull| of the token in its response's sum; pull is the divergence of a distilled token,
                 −log p_S of an imitated one, 1 otherwise
    mask         whether the token is trained on

A rollout that was not recorded has the student's log-probabilities alone, as its engine gave them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from artifact.inspect.opened import Opened
from artifact.records import Rollout
from artifact.train.token_records import TokenRecord

LEVELS = 9
"""Steps of colour; 0 is none."""

CHANNELS = {
    "divergence": "divergence",
    "entropy": "entropy",
    "surprise": "student −log p",
    "share": "share of the loss",
    "mask": "mask",
}
"""Name of a channel → how a reader knows it."""

Top = list[tuple[str, float, bool]]
"""The most likely tokens: as written, probability, whether it is the response's own."""


@dataclass(frozen=True)
class Token:
    """One token as it is shown: text, value and colour level of each channel, the likeliest of both models."""

    place: int
    text: str
    values: dict[str, float | None]
    levels: dict[str, int]
    trained: bool
    student: float | None
    teacher: float | None
    mass: float | None
    student_top: Top
    teacher_top: Top

    @property
    def classes(self) -> str:
        """Its classes in the style sheet."""
        return " ".join([f"{name}-{level}" for name, level in self.levels.items()] + ["off"] * (not self.trained))


class Tokens:
    """The tokens of one response in one role."""

    def __init__(self, run: Opened, source: TokenRecord | Rollout) -> None:
        self.run, self.source = run, source
        self.recorded, self.role = isinstance(source, TokenRecord), ""
        self._teacher_mass: tuple[float, ...] | None = None
        mask: tuple[bool, ...] | None
        if isinstance(source, TokenRecord):
            mask, values = source.mask, recorded_values(source)
            self.role, self._teacher_mass = source.role, source.teacher_mass
        else:
            mask, values = source.response_mask, {"surprise": -np.asarray(source.logprobs, float)}
        n = len(source.response_ids)
        trained = np.ones(n, bool) if mask is None else np.asarray(mask, bool)
        values["mask"] = trained.astype(float)
        self.channels = {name: label for name, label in CHANNELS.items() if name in values}
        levels = {name: levels_of(values[name], name) for name in self.channels}
        self.tokens = [
            Token(
                t,
                shown(run.piece(source.response_ids[t])),
                {name: float(values[name][t]) for name in self.channels},
                {name: int(levels[name][t]) for name in self.channels},
                bool(trained[t]),
                self._logprob("student", t),
                self._logprob("teacher", t),
                None if self._teacher_mass is None else self._teacher_mass[t],
                self._top("student", t),
                self._top("teacher", t),
            )
            for t in range(n)
        ]

    def _logprob(self, whose: str, t: int) -> float | None:
        if isinstance(self.source, Rollout):
            return self.source.logprobs[t] if whose == "student" else None
        found = getattr(self.source, f"{whose}_logprobs")
        return None if found is None else float(found[t])

    def _top(self, whose: str, t: int) -> Top:
        if isinstance(self.source, Rollout):
            return []
        ids, logprobs = (getattr(self.source, f"{whose}_top_{what}") for what in ("ids", "logprobs"))
        if ids is None:
            return []
        places, own = range(t * self.source.top, (t + 1) * self.source.top), self.source.response_ids[t]
        return [(shown(self.run.piece(ids[i])), math.exp(logprobs[i]), ids[i] == own) for i in places]

    def to_frame(self) -> pd.DataFrame:
        """One row per token: place, token, the channels, log-probabilities of both models, their likeliest tokens."""
        return pd.DataFrame(
            [
                {
                    "place": t.place,
                    "token": t.text,
                    **t.values,
                    "student_logprob": t.student,
                    "teacher_logprob": t.teacher,
                    "teacher_mass": t.mass,
                    "student_top": [text for text, _, _ in t.student_top],
                    "teacher_top": [text for text, _, _ in t.teacher_top],
                }
                for t in self.tokens
            ]
        )


def recorded_values(r: TokenRecord) -> dict[str, np.ndarray]:
    """The value of each channel at each token of a record, but for the mask."""
    surprise = -np.asarray(r.student_logprobs)
    out = {"entropy": np.asarray(r.student_entropy if r.teacher_entropy is None else r.teacher_entropy)}
    out["surprise"] = surprise
    if r.divergence is not None:
        out = {"divergence": np.asarray(r.divergence), **out}
    if r.loss_weight is not None:
        pull: np.ndarray | float = 1.0
        if r.role == "distil" and r.divergence is not None:
            pull = np.asarray(r.divergence)
        elif r.role == "imitate":
            pull = surprise
        weighed = np.where(r.mask, np.abs(np.asarray(r.loss_weight) * pull), 0.0)
        out["share"] = weighed / weighed.sum() if weighed.sum() > 0 else weighed
    return out


def levels_of(values: Sequence[float] | np.ndarray, channel: str) -> np.ndarray:
    """0 to 9 for each value: in proportion to √(value / largest); the largest is at least 1 nat, or the mask's 1."""
    finite = np.nan_to_num(np.asarray(values, float), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0.0)
    least = {"share": 1e-12, "mask": 1.0}.get(channel, 1.0)
    top = max(float(finite.max(initial=0.0)), least)
    return np.rint(LEVELS * np.sqrt(finite / top)).astype(int)


def shown(piece: str) -> str:
    """A token as it can be seen: a line break as ⏎, nothing as ∅."""
    return piece.replace("\n", "⏎") or "∅"
