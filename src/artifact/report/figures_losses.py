"""Figures of the loss laboratory: where each loss pulls, which losses agree, and what the teacher says token by token.

Left out: computing them (`loss_pull.py`).
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from artifact.report.drawing import HATCHES, FigureAndData, canvas, legend_above, stacked
from artifact.report.styles import GREY, PALETTE

DIVERGING = "PuOr_r"
"""Orange above 0, purple below: told apart under every common form of colour blindness; white is 0."""

COMPONENT_COLORS = {"distil": "#0072B2", "nll": "#E69F00", "policy_gradient": "#332288", "contrast": "#D55E00"}


def effect_heatmap(data: pd.DataFrame) -> FigureAndData:
    """Change of each response's log-probability after one small step, methods × responses; the colours end at ± max."""
    table = data.pivot_table(index="method", columns="response", values="change", sort=False)
    correct = data.drop_duplicates("response").set_index("response")["correct"]
    names = [f"{r}\n{'right' if correct[r] else 'not right'}" for r in table.columns]
    with canvas(1, 1, ratio=0.08 + 0.045 * len(table), width=0.8) as (figure, axes):
        image = _heatmap(axes[0, 0], table.to_numpy(), list(table.index), names, "{:+.2f}")
        bar = figure.colorbar(image, ax=axes[0, 0], fraction=0.04, pad=0.02)
        bar.set_label("change in log p, nats", fontsize=6)
        bar.ax.tick_params(labelsize=5)
    return figure, data


def cosine_heatmap(data: pd.DataFrame) -> FigureAndData:
    """Cosine between gradients, methods and components × the same; a dot where there is no gradient."""
    table = data.pivot_table(index="a", columns="b", values="cosine", sort=False, dropna=False)
    order = list(dict.fromkeys(data["a"]))
    table = table.reindex(index=order, columns=order)
    with canvas(1, 1, ratio=0.8) as (figure, axes):
        _heatmap(axes[0, 0], table.to_numpy(), order, order, "{:.2f}", limit=1.0, size=4.2)
        axes[0, 0].tick_params(axis="x", labelrotation=90)
    return figure, data


def gradient_bars(data: pd.DataFrame) -> FigureAndData:
    """Gradient norm of each weighted component, one row per method, stacked: lengths add, vectors may not."""
    labels = list(dict.fromkeys(data["method"]))
    with canvas(1, 1, ratio=0.1 + 0.035 * len(labels), width=0.9) as (figure, axes):
        axis = axes[0, 0]
        widths = data.pivot(index="method", columns="component", values="gradient norm").reindex(labels).fillna(0.0)
        components = list(dict.fromkeys(data["component"]))
        stacked(
            axis,
            labels,
            [
                (str(c).replace("_", " "), widths[c], COMPONENT_COLORS[str(c)], HATCHES[i % 4])
                for i, c in enumerate(components)
            ],
        )
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("gradient norm of the weighted component")
        legend_above(figure, axis, 4)
    return figure, data


def token_bars(data: pd.DataFrame) -> FigureAndData:
    """KL to the student at each token of one response, one panel per scorer.

    Above a bar stands the token which the scorer would have written instead, where it differs from the response's.
    """
    scorers = list(dict.fromkeys(data["scorer"]))
    with canvas(len(scorers), 1, ratio=0.17, sharex=True, sharey="row") as (figure, axes):
        for axis, scorer, look in zip(axes[:, 0], scorers, PALETTE, strict=False):
            part = data[data["scorer"] == scorer]
            agrees = (part["top"] == part["token"]).to_numpy()
            colors = [GREY if same else look.color for same in agrees]
            axis.bar(part["position"], part["kl"], color=colors, width=0.75)
            for r in part[~agrees].itertuples():
                axis.text(
                    r.position,
                    max(r.kl, 0) + 0.02 * max(part["kl"].max(), 0.1),
                    r.top.strip(),
                    ha="center",
                    va="bottom",
                    fontsize=5,
                )
            axis.set_title(f"{scorer}: mean {part['kl'].mean():.2f} nats per token", fontsize=6, loc="left")
            axis.set_ylim(top=max(part["kl"].max(), 0.1) * 1.25)
            axis.grid(axis="x", visible=False)
            axis.set_ylabel("KL, nats")
        first = data[data["scorer"] == scorers[0]]
        axes[-1, 0].set_xticks(first["position"], [t.strip() for t in first["token"]], fontsize=5)
        axes[-1, 0].set_xlabel("response tokens (grey: the scorer would write the same token)")
    return figure, data


def _heatmap(
    axis: Any,
    values: np.ndarray,
    rows: list[str],
    columns: list[str],
    form: str,
    *,
    limit: float | None = None,
    size: float = 5.5,
) -> Any:
    """Cells with their numbers; white at 0, both colours equally strong; a dot where there is no number."""
    bound = limit or float(np.nanmax(np.abs(values))) or 1.0
    norm = matplotlib.colors.Normalize(-bound, bound)
    image = axis.imshow(values, cmap=DIVERGING, norm=norm, aspect="auto")
    for i, j in np.ndindex(values.shape):
        value = values[i, j]
        missing = not np.isfinite(value)
        shade = "black" if missing or abs(value) < 0.6 * bound else "white"
        axis.text(j, i, "·" if missing else form.format(value), ha="center", va="center", fontsize=size, color=shade)
    axis.set_xticks(range(len(columns)), columns, fontsize=5.5)
    axis.set_yticks(range(len(rows)), rows, fontsize=5.5)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return image
