"""Figures on the SURE-Math dataset: what it holds, where a problem comes from, how hard it is, what was dropped (U-D1).

Input are the records of the builder (`suremath.lineage.Evolved`, `suremath.load.Published`) and its report. Nothing is
estimated here: boxes show quartiles and whiskers the 5th and 95th percentile over problems. Left out: building and
publishing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from artifact.report.drawing import HATCHES, FigureAndData, canvas, stacked
from artifact.report.styles import DIFFICULTY, GREY, PALETTE, ordered
from artifact.suremath.accounting import BuildReport
from artifact.suremath.lineage import CURATED, SEED, Evolved, ancestors
from artifact.suremath.load import Published
from artifact.suremath.strategies import STRATEGIES

STAGE_LABELS = {
    "proposed": "proposed",
    "evolve": "has a problem",
    "well_formed": "well-formed",
    "decontaminate": "no overlap",
    "duplicates": "new",
    "solvable": "solvable",
    "size": "kept",
}


def counts_by_strategy(items: Iterable[Evolved | Published]) -> FigureAndData:
    """Problems by difficulty (rows) and strategy (columns); the shade is the share within the difficulty."""
    frame = pd.DataFrame([{"difficulty": i.difficulty, "strategy": i.strategy} for i in items])
    difficulties, columns = (
        ordered(frame["difficulty"]),
        [s for s in (CURATED, *STRATEGIES) if (frame["strategy"] == s).any()],
    )
    table = pd.crosstab(frame["difficulty"], frame["strategy"]).reindex(
        index=difficulties, columns=columns, fill_value=0
    )
    share = table.div(table.sum(axis=1), axis=0)
    with canvas(1, 1, ratio=0.36) as (figure, axes):
        axis = axes[0, 0]
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for r, difficulty in enumerate(difficulties):
            for c, name in enumerate(columns):
                dark = share.loc[difficulty, name] > 0.5
                axis.text(
                    c,
                    r,
                    str(table.loc[difficulty, name]),
                    ha="center",
                    va="center",
                    color="white" if dark else "black",
                    fontsize=6,
                )
        axis.set_xticks(range(len(columns)), columns)
        axis.set_yticks(range(len(difficulties)), [f"{t} (n = {table.loc[t].sum()})" for t in difficulties])
        axis.grid(False)
        axis.set(xlabel="strategy of the last round", ylabel="difficulty")
    data = table.rename_axis(columns=None).reset_index().melt("difficulty", var_name="strategy", value_name="n")
    return figure, data.assign(
        share=[share.loc[t, s] for t, s in zip(data["difficulty"], data["strategy"], strict=True)]
    )


def lineage_tree(item_id: str, items: Mapping[str, Evolved]) -> FigureAndData:
    """The ancestry of one problem, root at the top: one box per problem, one arrow per parent, named by the strategy.

    Long texts are cut after 5 lines of 38 characters; the numbers hold them whole. RecordError on a parent
    that is not in `items`.
    """
    family = ancestors(item_id, items)
    main, chain = items[item_id], []
    while True:
        chain.append(main)
        if not main.parent_ids:
            break
        main = items[main.parent_ids[0]]
    column = {i.id: 0 for i in chain} | {i.id: 1 for i in family if i not in chain}
    row: dict[str, float] = {i.id: float(i.round) for i in chain}
    for child in chain:  # a second parent stands beside the first
        for other in child.parent_ids[1:]:
            row.setdefault(other, row[child.parent_ids[0]])
    for item in family:
        row.setdefault(item.id, float(item.round))
    shown = {i.id: _box_text(i, 38, 5) for i in family}
    line = 0.017  # height of a text line as a share of the figure's width
    step = max(t.count("\n") + 1 for t in shown.values()) * line + 0.085  # of a round
    half = {name: ((text.count("\n") + 1) * line / 2 + 0.014) / step for name, text in shown.items()}  # of a box
    with canvas(1, 1, ratio=step * len(chain)) as (figure, axes):
        axis = axes[0, 0]
        for item in family:
            edge = DIFFICULTY.get(item.difficulty, GREY)
            box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": edge, "linewidth": 1.1}
            x, y = column[item.id], -row[item.id]
            axis.text(x, y, shown[item.id], ha="center", va="center", fontsize=5.2, bbox=box, zorder=3)
            for number, parent in enumerate(item.parent_ids):
                start, end = (column[parent], -row[parent] - half[parent]), (x, y + half[item.id])
                arrow = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
                axis.annotate("", xy=end, xytext=start, arrowprops=arrow, zorder=1)
                if number == 0:
                    middle = (start[0] - 0.02, (start[1] + end[1]) / 2)
                    look = {"style": "italic", "ha": "right", "va": "center", "color": "#0072B2", "fontsize": 6}
                    axis.text(*middle, item.strategy, **look)
        axis.set(xlim=(-0.5, max(column.values()) + 0.5), ylim=(-max(row.values()) - 0.5, 0.5))
        axis.axis("off")
    data = pd.DataFrame(
        [
            {
                "id": i.id,
                "round": i.round,
                "strategy": i.strategy,
                "difficulty": i.difficulty,
                "parents": " ".join(i.parent_ids),
                "answer": i.answer,
                "question": i.question,
            }
            for i in sorted(family, key=lambda i: (i.round, i.id))
        ]
    )
    return figure, data


def _box_text(item: Evolved, width: int, lines: int) -> str:
    wrapped = textwrap.wrap(item.question, width)
    told = "\n".join([*wrapped[:lines], *(["…"] if len(wrapped) > lines else [])]).replace("$", r"\$")
    name = item.strategy if item.strategy in (SEED, CURATED) else f"round {item.round}"
    return f"{told}\n[{name}, {item.difficulty}; answer {item.answer or 'unknown'}]"


def entropy_by_difficulty(rows: Sequence[Published]) -> FigureAndData:
    """H / log N of the annotated training problems by difficulty, curated beside evolved.

    Box: quartiles and median; whiskers: 5th and 95th percentile over problems; diamond: mean.
    """
    frame = pd.DataFrame(
        [
            {"difficulty": r.difficulty, "origin": CURATED if r.round == 0 else "evolved", "normalised": r.normalised}
            for r in rows
            if r.normalised is not None
        ]
    )
    if frame.empty:
        raise ValueError("no row has an entropy: publish the build with a teacher's annotations first")
    difficulties = ordered(frame["difficulty"])
    out, boxes, places, colors = [], [], [], []
    colour_of = dict(zip((CURATED, "evolved"), (PALETTE[5].color, PALETTE[1].color), strict=True))
    for t, difficulty in enumerate(difficulties):
        for k, origin in enumerate(colour_of):
            values = frame.loc[(frame["difficulty"] == difficulty) & (frame["origin"] == origin), "normalised"]
            if values.empty:
                continue
            low, q1, median, q3, high = np.percentile(values, [5, 25, 50, 75, 95])
            boxes.append(
                {"med": median, "q1": q1, "q3": q3, "whislo": low, "whishi": high, "mean": values.mean(), "fliers": []}
            )
            places.append(t + (k - 0.5) * 0.36)
            colors.append(colour_of[origin])
            out.append(
                {
                    "difficulty": difficulty,
                    "origin": origin,
                    "n": len(values),
                    "mean": values.mean(),
                    "p5": low,
                    "q1": q1,
                    "median": median,
                    "q3": q3,
                    "p95": high,
                    "share_zero": float((values == 0).mean()),
                }
            )
    with canvas(1, 1, ratio=0.5, width=0.7) as (figure, axes):
        axis = axes[0, 0]
        mean = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 3}
        drawn = axis.bxp(
            boxes,
            positions=places,
            widths=0.3,
            showmeans=True,
            showfliers=False,
            patch_artist=True,
            meanprops=mean,
            medianprops={"color": "black"},
        )
        for patch, color in zip(drawn["boxes"], colors, strict=True):
            patch.set(facecolor=color, alpha=0.85, linewidth=0.6)
        for place, line in zip(places, out, strict=True):
            axis.text(place, 1.06, str(line["n"]), ha="center", va="bottom", fontsize=5, color="#555555")
        axis.set_xticks(range(len(difficulties)), difficulties)
        axis.set(
            xlim=(-0.6, len(difficulties) - 0.4),
            ylim=(-0.03, 1.15),
            ylabel="H / log N",
            xlabel="difficulty (number of problems above)",
        )
        present = [o for o in colour_of if any(line["origin"] == o for line in out)]
        axis.legend(
            handles=[Patch(color=colour_of[o], label=o) for o in present], loc="upper left", bbox_to_anchor=(1.0, 1.0)
        )
    return figure, pd.DataFrame(out)


def filter_funnel(report: BuildReport) -> FigureAndData:
    """Proposals left after each stage, by difficulty of the seed; beside each bar the number and what was lost."""
    data = report.remaining()
    stages, difficulties = list(dict.fromkeys(data["stage"])), ordered(data["seed_difficulty"])
    totals = data.groupby("stage", sort=False)["n"].sum()
    with canvas(1, 1, ratio=0.4) as (figure, axes):
        axis = axes[0, 0]
        table = data.pivot(index="stage", columns="seed_difficulty", values="n").reindex(stages)
        parts = [(t, table[t], DIFFICULTY.get(t, GREY), hatch) for t, hatch in zip(difficulties, HATCHES, strict=False)]
        stacked(axis, range(len(stages)), parts)
        for i in range(len(stages)):
            lost = totals.iloc[i - 1] - totals.iloc[i] if i else 0
            axis.text(totals.iloc[i], i, f" {totals.iloc[i]}" + (f"  (−{lost})" if i else ""), va="center", fontsize=6)
        axis.set_yticks(range(len(stages)), [STAGE_LABELS[s] for s in stages])
        axis.invert_yaxis()
        axis.grid(False, axis="y")
        axis.set(xlim=(0, 1.18 * totals.max()), xlabel="proposals left")
        axis.legend(title="difficulty of the seed", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure, data
