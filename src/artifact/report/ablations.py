"""Ablations: accuracy against the setting that was varied, differences as a forest, and which rows read labels.

A panel is a study on a split: its cells ordered by the value of one setting (`comparison.setting_values`), each with
the interval over problems of its accuracy and the range over its seeds. Left out: running anything, what may be claimed
(`differences.py`), and what needs no training (`weightings.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from artifact.errors import ArtifactError
from artifact.report.drawing import FigureAndData, canvas, legend_above, teacher_first, whiskers
from artifact.report.styles import GREY, TEACHERS
from artifact.report.tables import accuracy_table, outcomes
from artifact.report.text import SAME, bounds, count, number, percent, split_column, spread
from artifact.stats.bootstrap import RESAMPLES

Panels = Mapping[tuple[str, str], pd.DataFrame]
"""(title, name of the x axis) → `by_setting` of what is drawn there."""


def by_setting(
    evaluation: pd.DataFrame,
    values: Mapping[str, float],
    names: Mapping[str, str] | None = None,
    *,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Accuracy of the cells of `values` (id → value of the setting), ordered by that value.

    names  id → how a value is written where the number will not do (`full`)
    Columns: teacher, value, name, cell, label, split, seeds, problems, accuracy, sd (over seeds), low, high (95 % over
    problems, seeds averaged), seed_low, seed_high (the range over seeds). Raises ArtifactError for a cell that was not
    run.
    """
    if missing := sorted(set(values) - set(evaluation["cell"])):
        raise ArtifactError(f"no run of the cell(s) {', '.join(missing)} in this evaluation; was its study run?")
    part = evaluation[evaluation["cell"].isin(values)]
    table = accuracy_table(part, resamples=resamples)
    table["value"] = table["cell"].map(values).astype(float)
    table["name"] = [(names or {}).get(r.cell, f"{r.value:g}") for r in table.itertuples()]
    per_seed = [
        outcomes(part[(part["cell"] == r.cell) & (part["teacher"] == r.teacher) & (part["split"] == r.split)]).mean(
            axis=1
        )
        for r in table.itertuples()
    ]
    table["seed_low"], table["seed_high"] = [s.min() for s in per_seed], [s.max() for s in per_seed]
    kept = "value name cell label split seeds problems accuracy sd low high seed_low seed_high".split()
    return teacher_first(table[["teacher", *kept]].sort_values(["teacher", "value"], kind="stable", ignore_index=True))


def setting_panels(
    panels: Panels, references: Mapping[str, Mapping[str, float]] | None = None, columns: int = 4
) -> FigureAndData:
    """One panel for each study, and split where there are several: accuracy against its setting, a line for each
    teacher; panels share the y axis.

    Thin bars: 95 % intervals over problems; thick grey ones: the range over seeds. `references` are accuracies drawn as
    dotted lines (label → split → value).
    """
    drawn = [
        (title, name, str(split), part)
        for (title, name), table in panels.items()
        for split, part in table.groupby("split", sort=False)
    ]
    several = len({split for _, _, split, _ in drawn}) > 1
    rows = -(-len(drawn) // columns)
    width = min(1.0, 0.36 * len(drawn)) if rows == 1 else 1.0
    with canvas(
        rows, min(columns, len(drawn)), ratio=1.0 if len(drawn) < 3 else 1.4, width=max(width, 0.5), sharey=True
    ) as (figure, axes):
        for axis, (title, name, split, table) in zip(axes.flat, drawn, strict=False):
            for i, (teacher, line) in enumerate(table.groupby("teacher", sort=False)):
                _line(axis, line, str(teacher), i)
            _value_axis(axis, table)
            for i, (label, level) in enumerate((references or {}).items()):
                axis.axhline(level[split], color=GREY, linestyle=(":", "-.", "--")[i % 3], linewidth=0.8, label=label)
            axis.set_xlabel(name)
            axis.set_title(f"{title}\n{split}" if several else title, fontsize=6)
        for axis in list(axes.flat)[len(drawn) :]:
            axis.set_axis_off()
        for row in axes:
            row[0].set_ylabel("accuracy")
        legend_above(figure, axes.flat[: len(drawn)])
    data = [table.assign(panel=title, setting=name) for (title, name), table in panels.items()]
    return figure, pd.concat(data, ignore_index=True)


def _line(axis: Axes, line: pd.DataFrame, teacher: str, i: int) -> None:
    look = TEACHERS[i % len(TEACHERS)]
    axis.vlines(line["value"], line["seed_low"], line["seed_high"], color=GREY, linewidth=3, alpha=0.5)
    bars = whiskers(line, "accuracy")
    axis.errorbar(
        line["value"], line["accuracy"], bars, **look._asdict(), elinewidth=0.8, capsize=2, label=f"teacher {teacher}"
    )


def _value_axis(axis: Axes, table: pd.DataFrame) -> None:
    """Ticks at the values alone; logarithmic where they are spread over more than a factor of three."""
    ticks = table.drop_duplicates("value")
    if ticks["value"].min() > 0 and ticks["value"].max() > 3 * ticks["value"].min():
        axis.set_xscale("log")
    axis.set_xticks(list(ticks["value"]), list(ticks["name"]))
    axis.minorticks_off()
    axis.margins(x=0.15)


def difference_forest(differences: pd.DataFrame, gold: Mapping[str, bool]) -> FigureAndData:
    """Differences from the reference as a forest, one row for each method, a panel for each teacher and split.

    `differences` is a `difference_table` of one reference; filled marks are claims (`differences.CLAIMS`), open ones
    are none. A method that reads labels (`comparison.reads_gold`) has a star behind its name.
    """
    overall = differences[differences["scope"] == "all"].reset_index(drop=True)
    data = overall.assign(reads_gold=overall["cell"].map(gold))
    teachers, labels = list(dict.fromkeys(data["teacher"])), list(dict.fromkeys(data["label"]))
    starred = dict(zip(data["label"], data["reads_gold"], strict=True))
    blocks, several = list(data.groupby(["teacher", "split"], sort=False)), data["split"].nunique() > 1
    ratio = (0.7 + 0.22 * len(labels)) / (5.5 * 0.62 / len(blocks))
    with canvas(1, len(blocks), ratio=ratio, sharey=True) as (figure, axes):
        for axis, ((teacher, split), part) in zip(axes[0], blocks, strict=True):
            look = TEACHERS[teachers.index(teacher) % len(TEACHERS)]
            at = [labels.index(label) for label in part["label"]]
            bars = [100 * side for side in whiskers(part, "difference")]
            shown = 100 * part["difference"]
            axis.errorbar(shown, at, xerr=bars, fmt="none", color=look.color, elinewidth=0.9, capsize=2)
            fill = [look.color if verdict != SAME else "white" for verdict in part["verdict"]]
            axis.scatter(shown, at, s=14, c=fill, edgecolors=look.color, linewidths=0.8, zorder=3)
            axis.axvline(0, color=GREY, linewidth=0.8)
            axis.set_xlabel("" if several else f"points from {part['reference'].iloc[0]}")
            axis.set_title(f"teacher {teacher}\n{split}" if several else f"teacher {teacher}")
        if several:  # one label for all: beside each other they would run into each other
            figure.supxlabel(f"points from {data['reference'].iloc[0]}", fontsize=7)
        axes[0, 0].set_yticks(range(len(labels)), [f"{la} *" if starred[la] else la for la in labels])
        axes[0, 0].invert_yaxis()
    return figure, data


def compared_at(name: str, differences: pd.DataFrame) -> pd.DataFrame:
    """`differences` as one of several comparisons: `split` is its name, with that of the split where there are several.

    So rows of comparisons at equal steps and at equal tokens stand in one table.
    """
    several = differences["split"].nunique() > 1
    return differences.assign(split=f"{name}, " + differences["split"] if several else name)


def with_gold(shown: pd.DataFrame, cells: pd.Series, gold: Mapping[str, bool]) -> pd.DataFrame:
    """A table as a reader sees it, with a column `reads labels` behind `method`: `cells` are the ids of its rows.

    An id that `gold` does not name was not trained: base and teacher, with a dash.
    """
    column: Any = [{True: "yes", False: "no"}.get(gold.get(cell), "–") for cell in cells]  # type: ignore[arg-type]
    out = shown.copy()
    out.insert(list(out.columns).index("method") + 1, "reads labels", column)
    return out


def top_k_table(table: pd.DataFrame, metrics: pd.DataFrame, bytes_per_token: Mapping[str, int]) -> pd.DataFrame:
    """What each k sends and keeps, beside the accuracy of `by_setting` (`table`).

    `bytes_per_token` (cell id → bytes of the teacher's scores of a response token) is
    `actors.object_store.bytes_per_token`. Columns of `table`, and bytes_per_token, bytes_per_step (of teacher scores,
    mean over steps and seeds), teacher_mass, student_mass (on the support, mean over all distilled tokens of the last
    quarter of the steps).
    """
    rows = []
    for r in table.itertuples():
        own = metrics[(metrics["cell"] == r.cell) & (metrics["teacher"] == r.teacher)]
        last = own["step"].max()
        late = own[own["step"] >= min(0.75 * (last + 1), last)]
        sent = float(own["teacher_tokens"].mean()) * bytes_per_token[str(r.cell)]
        tokens = late["distil/tokens"] / late["distil/tokens"].sum()
        rows.append(
            {
                "bytes_per_token": bytes_per_token[str(r.cell)],
                "bytes_per_step": sent,
                "teacher_mass": float((tokens * late["distil/teacher_mass"]).sum()),
                "student_mass": float((tokens * late["distil/student_mass"]).sum()),
            }
        )
    return pd.concat([table.reset_index(drop=True), pd.DataFrame(rows)], axis=1)


def format_top_k(table: pd.DataFrame) -> pd.DataFrame:
    """`top_k_table` as a reader sees it. Of several splits each row says of which it is."""
    return pd.DataFrame(
        {
            **split_column(table),
            "teacher": table["teacher"],
            "k": table["name"],
            "method": table["label"],
            "seeds": table["seeds"].astype(str),
            "accuracy %, mean ± SD over seeds": list(map(spread, table["accuracy"], table["sd"])),
            "95 % interval over problems": [
                bounds(lo, hi, percent) for lo, hi in zip(table["low"], table["high"], strict=True)
            ],
            "bytes a token": table["bytes_per_token"].map(count),
            "MiB a step": [f"{sent / 2**20:.2f}" for sent in table["bytes_per_step"]],
            "teacher mass": table["teacher_mass"].map(number),
            "student mass": table["student_mass"].map(number),
        }
    )


def format_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Means of counts with one digit, a dash where a method counts no such thing; names of columns in words."""
    numbers = [c for c in table.columns if c not in ("teacher", "cell", "label")]
    shown = pd.DataFrame({"teacher": table["teacher"], "method": table["label"]})
    return shown.assign(**{c.replace("_", " "): [number(v, 1) for v in table[c]] for c in numbers})
