"""What a run uses: bytes that move, memory by actor and by component, seconds that the weights of UOPD add.

Measured numbers come from runs and from benchmarks that were kept, planned ones from `studies/memory_model.py`; they
stand in tables of their own. Left out: tokens and seconds of whole runs (`tables.py`), drawing of phases
(`figures_training.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from artifact.report.drawing import HATCHES, FigureAndData, canvas, legend_above, stacked
from artifact.report.styles import PALETTE
from artifact.report.times import phase_seconds

MOVED = {
    "bytes/teacher": "teacher's top-k",
    "bytes/reference": "reference log-probabilities",
    "bytes/weights": "weights to the engines",
}
"""What a run logs of the bytes that reach another actor in a step (`actors/student.py`, `actors/team.py`)."""


def bytes_moved(metrics: pd.DataFrame) -> pd.DataFrame:
    """Bytes that reach another actor in one optimiser step, means over steps and seeds.

    Columns: teacher, cell, label, steps, one column per kind of `MOVED`, bytes_per_scored_token (the teacher's alone).
    """
    rows = []
    for (teacher, cell, label), group in metrics.groupby(["teacher", "cell", "label"], sort=False):
        means = {name: float(group[key].mean()) if key in group else 0.0 for key, name in MOVED.items()}
        scored = float(group["teacher_tokens"].sum())
        per_token = (
            float(group["bytes/teacher"].sum()) / scored if scored and "bytes/teacher" in group else float("nan")
        )
        named = {"teacher": teacher, "cell": cell, "label": label, "steps": len(group)}
        rows.append({**named, **means, "bytes_per_scored_token": per_token})
    return pd.DataFrame(rows)


def truncation(vocabulary: int, kept: Sequence[int], measured: Mapping[int, float] | None = None) -> pd.DataFrame:
    """Bytes of the teacher's distribution at one token, whole and truncated to its k most probable entries.

    Whole: V float32 log-probabilities, 4V. Truncated: k ids (int32) and log-probabilities and the entropy, 8k + 4.
    Two ratios are in use, of numbers V / k and of bytes; `measured` has the bytes that runs logged, by k.
    """
    rows = [
        {
            "vocabulary": vocabulary,
            "k": k,
            "bytes_whole": 4 * vocabulary,
            "bytes_kept": 8 * k + 4,
            "bytes_logged": (measured or {}).get(k, float("nan")),
            "ratio_of_numbers": vocabulary / k,
            "ratio_of_bytes": 4 * vocabulary / (8 * k + 4),
        }
        for k in kept
    ]
    return pd.DataFrame(rows)


def overhead(metrics: pd.DataFrame, cell: str, reference: str) -> pd.DataFrame:
    """Seconds of a step by phase that `cell` takes beyond `reference`: runs paired by teacher and seed.

    One row per teacher and phase, and `whole step`: seconds_reference, seconds_difference with its 95 % interval of
    Student's t over seeds, share_of_step_time (difference / whole step of the reference), seeds.
    """
    seconds = phase_seconds(metrics)
    seconds["whole step"] = seconds.sum(axis=1)
    means = seconds.groupby([metrics[name] for name in ("teacher", "cell", "seed")]).mean()
    rows = []
    for teacher in dict.fromkeys(metrics["teacher"]):
        own, other = (means.loc[(teacher, one)] for one in (cell, reference))
        common = own.index.intersection(other.index)
        for phase in seconds:
            base = float(other.loc[common, phase].mean())
            gap = (own.loc[common, phase] - other.loc[common, phase]).to_numpy(dtype=float)
            half = float("nan")
            if len(gap) > 1:
                half = float(stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)))
            rows.append(
                {
                    "teacher": teacher,
                    "phase": phase,
                    "seconds_reference": base,
                    "seconds_difference": float(gap.mean()),
                    "low": float(gap.mean()) - half,
                    "high": float(gap.mean()) + half,
                    "share_of_step_time": float(gap.mean()) / float(other.loc[common, "whole step"].mean()),
                    "seeds": len(gap),
                }
            )
    return pd.DataFrame(rows)


def overhead_in_words(table: pd.DataFrame) -> list[str]:
    """One sentence per teacher of an `overhead` table: what a whole step takes more, with its interval."""
    out = []
    for row in table[table["phase"] == "whole step"].to_dict("records"):
        told = row["low"] > 0 or row["high"] < 0
        claim = "takes more" if row["low"] > 0 else "takes less" if told else "cannot be told from the reference's"
        interval = f"95 % interval {row['low']:+.3f} to {row['high']:+.3f} s over {row['seeds']} seeds"
        out.append(
            f"Teacher {row['teacher']}: a step {claim}: {row['seconds_difference']:+.3f} s "
            f"({interval if row['seeds'] > 1 else 'one seed, so without an interval'}), "
            f"{100 * row['share_of_step_time']:+.1f} % of {row['seconds_reference']:.3f} s."
        )
    return out


def memory_by_actor(infos: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Peak resident memory of each actor over several runs' `run_info`, GiB: the libraries are most of it here."""
    peaks: dict[str, float] = {}
    for info in infos:
        for actor, gib in info.get("peak_memory_gib", {}).items():
            peaks[actor] = max(gib, peaks.get(actor, 0.0))
    return pd.DataFrame([{"actor": actor, "peak_gib": gib} for actor, gib in sorted(peaks.items())])


def zero_table(found: Mapping[str, Any]) -> pd.DataFrame:
    """`benchmarks/zero_memory.py`'s account, the fullest rank of each case beside the model, MiB."""
    rows = []
    for case in found["cases"]:
        row: dict[str, Any] = {"stage": case["stage"], "ranks": case["ranks"]}
        for what in ("held", "peak"):
            measured, model = max(rank[what] for rank in case["measured"]), case["model"][what]
            row |= {
                f"{what}_mib": measured / 2**20,
                f"{what}_model_mib": model / 2**20,
                f"{what}_ratio": measured / model,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def draw_planned(table: pd.DataFrame) -> FigureAndData:
    """`memory_model.planned` as a stacked bar per device, by component, and a line at what the device has."""
    sums = table.groupby(["layout", "device", "component"], sort=False)["planned"].sum().unstack(fill_value=0.0)
    roles = table.groupby(["layout", "device"], sort=False)["role"].agg(lambda r: " + ".join(dict.fromkeys(r)))
    sums = sums.loc[roles.index]
    names = [f"{layout}, GPU {device}: {roles[layout, device]}" for layout, device in roles.index]
    with canvas(1, 1, ratio=0.12 + 0.05 * len(names)) as (figure, axes):
        axis = axes[0, 0]
        parts = [
            (str(component), sums[component], PALETTE[i % len(PALETTE)].color, HATCHES[i % len(HATCHES)])
            for i, component in enumerate(sums.columns)
        ]
        stacked(axis, names, parts)
        axis.axvline(float(table["capacity"].iloc[0]), color="black", linestyle="--", linewidth=0.8, label="device")
        axis.invert_yaxis()
        axis.set_xlabel("GiB, planned")
        legend_above(figure, axis)
    return figure, table
