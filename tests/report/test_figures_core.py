"""CORE's figures and sentences on small frames worked out by hand."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from artifact.report import figures_core, tables
from artifact.report import narrative as sentences
from artifact.report import styles as style

_spec = importlib.util.spec_from_file_location("report_frames", Path(__file__).with_name("frames.py"))
assert _spec is not None and _spec.loader is not None
frames = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(frames)

ROWS = "base teacher sft seqkd opd uopd-soft opsd grpo core-distil core-contrast core".split()

VISION = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
"""Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB."""


def _lab(color: str, vision: str) -> np.ndarray:
    """CIE L*a*b* (D65) of an sRGB colour as seen with `vision`."""
    c = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x = np.asarray(to_xyz) @ seen / np.array([0.95047, 1, 1.08883])
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_eleven_rows_differ_in_marker_and_in_colour_for_colour_blind_readers() -> None:
    looks = style.styles(ROWS)
    assert looks == {cell: style.METHODS[cell] for cell in ROWS}
    assert len({look.marker for look in looks.values()}) == len(ROWS)
    for vision in VISION:
        for a, b in itertools.combinations(ROWS, 2):
            gap = np.linalg.norm(_lab(looks[a].color, vision) - _lab(looks[b].color, vision))
            assert gap > 9, f"{a} and {b} look alike with {vision}: {gap:.1f}"


def core_metrics(steps: int = 8, norms_every: int = 4) -> pd.DataFrame:
    """CORE under two teachers and seeds: share of correct 0.25 + seed/4, pairs 100 − 10 · step, two episodes."""
    rows = []
    for teacher in ("A", "B"):
        for seed in (0, 1):
            for step in range(steps):
                row = {
                    "label": "CORE",
                    "cell": "core",
                    "teacher": teacher,
                    "seed": seed,
                    "step": step,
                    "share_correct": 0.25 + seed / 4,
                    "pairs": 100.0 - 10 * step,
                    "loss/distil": 0.1,
                    "loss/contrast": 0.7,
                    "episode": step * 2 // steps,
                }
                if step % norms_every == 0:
                    row |= {"grad_norm/distil": 2.0, "grad_norm/contrast": 1.0 + (step > 0)}
                rows.append(row)
    return pd.DataFrame(rows)


def test_curriculum_points_are_means_over_seeds_and_norms_are_sparse() -> None:
    data = figures_core.curriculum_points(core_metrics())
    share = data[(data["panel"] == "rollouts") & (data["teacher"] == "A")]
    assert share["mean"].tolist() == pytest.approx([0.375] * 8)
    assert share["sd"].iloc[0] == pytest.approx(0.25 / 2**0.5) and share["seeds"].tolist() == [2] * 8
    norms = data[(data["metric"] == "grad_norm/contrast") & (data["teacher"] == "B")]
    assert norms["step"].tolist() == [0, 4] and norms["mean"].tolist() == [1, 2]
    with pytest.raises(tables.ArtifactError, match="'SFT'"):
        figures_core.curriculum_points(core_metrics(), "SFT")


def test_curriculum_has_a_row_per_teacher_and_marks_episodes() -> None:
    figure, _ = figures_core.curriculum(core_metrics())
    assert len(figure.axes) == 2 * 4
    dotted = [line.get_xdata()[0] for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
    assert dotted == [4]
    without, _ = figures_core.curriculum(core_metrics().drop(columns=["grad_norm/distil", "grad_norm/contrast"]))
    assert len(without.axes) == 2 * 3


def test_curriculum_in_words() -> None:
    said = sentences.curriculum(core_metrics())
    assert len(said) == 2 and "from 37.5 to 37.5 %" in said[0]
    assert "pairs per step from 95.0 to 35.0" in said[0]  # steps 0, 1 against steps 6, 7
    assert (
        "gradient norm" not in sentences.curriculum(core_metrics(norms_every=100).drop(columns="grad_norm/distil"))[0]
    )


def learning_rates() -> pd.DataFrame:
    rows = []
    for label in ("SFT", "CORE", "GRPO", "SeqKD", "Distil only", "Contrast only"):
        for lr, accuracy in ((1e-4, 0.3), (3e-4, 0.4), (1e-3, 0.5 if label == "CORE" else 0.2)):
            rows.append(
                {
                    "label": label,
                    "cell": frames.CELLS[label],
                    "lr": lr,
                    "problems": 200,
                    "accuracy": accuracy,
                    "low": accuracy - 0.05,
                    "high": accuracy + 0.05,
                    "chosen": lr == (1e-3 if label == "CORE" else 3e-4),
                    "run": "r",
                }
            )
    return pd.DataFrame(rows)


def test_learning_rates_have_a_panel_each_with_one_filled_point() -> None:
    figure, _ = figures_core.learning_rate_panels(learning_rates())
    shown = [a for a in figure.axes if a.get_visible()]
    assert [a.get_title() for a in shown][:2] == ["SFT\nchosen 3e-4", "CORE\nchosen 1e-3"]
    assert len(shown) == 6
    filled = [c for c in shown[1].collections if isinstance(c, PathCollection) and len(c.get_offsets()) == 1]
    assert [float(c.get_offsets()[0][0]) for c in filled] == [1e-3]
    with pytest.raises(tables.ArtifactError, match="select-learning-rates"):
        figures_core.learning_rate_panels(learning_rates().iloc[:0])


def test_a_rate_at_the_edge_of_the_grid_is_said() -> None:
    said = sentences.learning_rates(learning_rates())
    assert said[1].startswith("CORE: 0.001, with 50.0 % of 200 validation problems")
    assert "largest rate tried" in said[1] and "rate tried" not in said[0]
    assert "1 of 2 other rates overlap" in said[1]


def test_curve_multiples_leave_out_what_samples_nothing_and_say_so() -> None:
    curves = frames.curve_frame()
    silent = curves[curves["label"] == "UOPD (soft)"].assign(label="SFT", cell="sft", response_tokens_so_far=0)
    both = pd.concat([curves, silent], ignore_index=True)
    figure, data = figures_core.curve_multiples(both, "response_tokens")
    assert [a.get_title() for a in figure.axes if a.get_visible()] == list(frames.LABELS)
    assert "SFT" not in set(data["label"])
    assert figure.legends[0].get_title().get_text() == "band: ± 1 SD over 3 seeds; samples nothing: SFT"
    figure, data = figures_core.curve_multiples(both, "step")
    assert [a.get_title() for a in figure.axes if a.get_visible()] == [*frames.LABELS, "SFT"]
    assert len(figure.axes[0].get_lines()) == 2  # the reference's own panel: one line per teacher
    assert len(figure.axes[1].get_lines()) == 4


def test_leak_curves_and_words() -> None:
    table = pd.DataFrame(
        [
            {
                "model": "teacher A",
                "context": context,
                "fraction": f,
                "probability": p,
                "excess": p - 0.1,
                "low": p - 0.05,
                "high": p + 0.05,
                "problems": 10,
                "rollouts": 12,
            }
            for context, values in (("none", (0.1, 0.6)), ("answer", (0.9, 0.95)))
            for f, p in zip((0.0, 1.0), values, strict=True)
        ]
    )
    figure, _ = figures_core.leak_curves(table)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["question alone", "reads the answer"]
    said = sentences.leaks(table)
    assert "probability 90.0 % (85.0 to 95.0) at 0 % of the response, +80.0 points" in said[1]
    assert "bare question" not in said[0]


def test_effects_in_words() -> None:
    def rows(method: str, right: float, wrong: float) -> list[dict]:
        return [
            {"method": method, "response": r, "correct": r == "y1", "change": c}
            for r, c in (("y1", right), ("y2", wrong))
        ]

    table = pd.DataFrame(rows("a", 1, -1) + rows("b", 1, 0.5) + rows("c", -1, -1) + rows("d", 0, 0))
    assert [s.split(":")[0] for s in sentences.effects(table)] == [
        "Every right response up, every other one down",
        "Every right response up, but at least one other as well",
        "At least one right response down",
        "No gradient on this group",
    ]


def test_four_bars_a_family_at_most_and_only_what_was_run() -> None:
    assert figures_core.family_cells(frames.evaluation_frame(20)) == ["base", "opd"]
