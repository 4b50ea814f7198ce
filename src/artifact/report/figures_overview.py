"""Where everything starts: the pipeline (UOPD Figure 1), drawn from code, and how good the embedded models are.

The numbers in the boxes of the pipeline (N, K, k) come from the configuration. Left out: anything that was trained by a
study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from artifact.config import Config
from artifact.records import Problem
from artifact.report.drawing import FigureAndData, canvas, points, spaced, whiskers
from artifact.report.styles import PALETTE, TEACHERS
from artifact.stats.interval import wilson_interval
from artifact.worlds.tiny.problems import DIFFICULTIES, FAMILIES


class Box(NamedTuple):
    """A box at (x, y), its lower left corner, in units of the canvas."""

    x: float
    y: float
    text: str
    color: str


WIDTH, HEIGHT = 1.66, 0.82
TEACHER, STUDENT, PLAIN, INK = "#FBE3D3", "#D5E8F5", "#F1F1EC", "#333333"


def pipeline(config: Config) -> FigureAndData:
    """U-F1: both phases with the settings of `config`. The data are the arrows drawn."""
    n, k, top = config.annotation.samples, config.sampling.samples_per_prompt, config.losses.distil.top_k
    above, below = 2.35, 0.75
    boxes = {
        "problems": Box(0.0, above, "problems", PLAIN),
        "samples": Box(2.1, above, f"teacher: N = {n}\nsamples per problem", TEACHER),
        "clusters": Box(4.2, above, "answers merged\nby meaning", TEACHER),
        "weight": Box(6.3, above, "w = 1 − H / log N\n(Eq. 4–6), stored", TEACHER),
        "rollouts": Box(2.1, below, f"student: K = {k}\nrollouts per prompt", STUDENT),
        "scores": Box(4.2, below, f"teacher: top-{top} at\nevery rollout token", TEACHER),
        "loss": Box(6.3, below, "token loss (Eq. 7)\ntimes w (Eq. 8, 9)", STUDENT),
        "step": Box(8.4, below, "optimiser step,\nweight sync", STUDENT),
    }
    flows = [
        ("problems", "samples", "prompts"),
        ("samples", "clusters", "final answers"),
        ("clusters", "weight", "class masses"),
        ("problems", "rollouts", "prompts"),
        ("rollouts", "scores", "token ids"),
        ("scores", "loss", "log-probabilities"),
        ("weight", "loss", "w"),
        ("loss", "step", "gradient"),
        ("step", "rollouts", "new weights"),
    ]
    with canvas(1, 1, ratio=0.37, settings={"axes.grid": False}) as (figure, axes):
        axis = axes[0, 0]
        axis.set_axis_off()
        axis.set(xlim=(-0.1, 10.2), ylim=(-0.1, 3.7), aspect="equal")
        axis.text(0.0, 3.45, "Phase 1, once: how sure is the teacher?", fontsize=7, fontweight="bold", va="center")
        axis.text(2.1, 1.82, "Phase 2, every step: on-policy distillation", fontsize=7, fontweight="bold", va="center")
        for box in boxes.values():
            _draw_box(axis, box)
        for start, end, _ in flows:
            if start in ("step", "weight") or boxes[start].y != boxes[end].y:
                continue  # these bend, see below
            y = boxes[start].y + HEIGHT / 2
            _path(axis, (boxes[start].x + WIDTH, y), (boxes[end].x, y))
        middle = {name: box.x + WIDTH / 2 for name, box in boxes.items()}
        half = below + HEIGHT / 2
        _path(axis, (middle["problems"], above), (middle["problems"], half), (boxes["rollouts"].x, half))
        _path(axis, (middle["weight"], above), (middle["loss"], below + HEIGHT))
        _path(
            axis,
            (middle["step"], below),
            (middle["step"], 0.25),
            (middle["rollouts"], 0.25),
            (middle["rollouts"], below),
        )
        axis.text(1.4, half + 0.08, "prompts", fontsize=5.5, ha="center")
        axis.text(middle["weight"] + 0.1, 1.9, "w, by prompt", fontsize=5.5, va="center")
        axis.text(6.1, 0.0, "new weights, proven equal in the rollout engines", fontsize=5.5, ha="center", va="center")
    return figure, pd.DataFrame(flows, columns=["from", "to", "carries"])


def _draw_box(axis: Axes, box: Box) -> None:
    shape: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.08", "edgecolor": INK, "linewidth": 0.8}
    axis.add_patch(FancyBboxPatch((box.x, box.y), WIDTH, HEIGHT, facecolor=box.color, **shape))
    axis.text(box.x + WIDTH / 2, box.y + HEIGHT / 2, box.text, ha="center", va="center", fontsize=5.6)


def _path(axis: Axes, *points: tuple[float, float]) -> None:
    """A line through `points` with an arrow head at the last."""
    if len(points) > 2:
        axis.plot([x for x, _ in points[:-1]], [y for _, y in points[:-1]], color=INK, linewidth=0.9)
    axis.annotate(
        "", points[-1], points[-2], arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkA": 0}
    )


def model_accuracy(manifest: Mapping[str, Any], problems: Sequence[Problem]) -> FigureAndData:
    """Greedy accuracy of the embedded models by difficulty and by family, with Wilson intervals over problems.

    Raises ValueError for a model whose accuracies were left out when it was made.
    """
    rows = []
    for name, entry in manifest["models"].items():
        accuracy = entry["greedy_accuracy_evaluation"]
        if accuracy is None:
            raise ValueError(f"the manifest has no accuracies of {name!r}; make it again with `artifact make-models`")
        for kind, values in (("difficulty", DIFFICULTIES), ("family", FAMILIES)):
            for value in values:
                n = sum((p.difficulty if kind == "difficulty" else p.meta["family"]) == value for p in problems)
                bar = wilson_interval(round(accuracy[value] * n / 100), n)
                rows.append(
                    {
                        "model": name,
                        "kind": kind,
                        "group": value,
                        "n": n,
                        "accuracy": bar.estimate,
                        "low": bar.low,
                        "high": bar.high,
                    }
                )
    data = pd.DataFrame(rows)
    with canvas(1, 2, ratio=0.75, sharey=True) as (figure, axes):
        for axis, (kind, part) in zip(axes[0], data.groupby("kind", sort=False), strict=True):
            models = list(part.groupby("model", sort=False))
            for i, ((model, line), look) in enumerate(zip(models, (*TEACHERS, *PALETTE), strict=False)):
                at = [x + spaced(i, len(models), 0.15) for x in range(len(line))]
                bars = whiskers(line, "accuracy")
                points(axis, at, line["accuracy"], bars, look, linestyle="none", label=model)
            axis.set_xticks(range(len(models[0][1])), models[0][1]["group"])
            axis.set(ylim=(0, 1), title=f"by {kind} (n = {part['n'].iloc[0]} each)")
        axes[0, 0].set_ylabel("greedy accuracy")
        axes[0, 0].legend()
    return figure, data
