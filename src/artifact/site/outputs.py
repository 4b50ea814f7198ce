"""Pages of figures and tables: what is shown, the runs behind every row, and how it was made.

A cell with a number in it leads to the runs of its row. A table is shown as it is printed where each printed row is one
stored row; where several stored rows were folded into one for print, the stored rows are shown, for each of them has
runs of its own. Left out: which runs those are (`sources.behind`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from artifact.report import stored
from artifact.report.outputs import as_text, printed
from artifact.report.stored import StoredOutput
from artifact.site import how
from artifact.site.pages import Pages
from artifact.site.sources import Source, behind
from artifact.worlds.tiny.problems import DIFFICULTIES, FAMILIES

MOST_ROWS = 200
"""Rows on a page; the CSV beside it has all."""


@dataclass(frozen=True)
class Shown:
    """A figure or table as the site shows it.

    rows   text of each cell, as printed or as stored
    runs   the stored results behind each of those rows
    about  what each row is in words, and the filter of problems that it means (`family=eq`), if any
    """

    output: StoredOutput
    notebook: str | None
    sources: tuple[Source, ...]
    absent: tuple[str, ...]
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    runs: tuple[tuple[Source, ...], ...] = ()
    about: tuple[tuple[str, str], ...] = ()
    left_out: int = 0

    @property
    def anchor(self) -> str:
        """`table-uopd_accuracy`, as in the page of its notebook."""
        return f"{self.output.kind}-{self.output.name}"

    @property
    def page(self) -> str:
        return f"output/{self.anchor}.html"

    @property
    def id(self) -> str:
        """The id in the papers' list of outputs; may be empty."""
        return str(self.output.stamp.get("output", ""))

    @property
    def caption(self) -> str:
        return str(self.output.stamp["caption"])


@dataclass
class Outputs:
    """All outputs of a tier, and those that cannot be shown, with the reason."""

    shown: list[Shown] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def named(self, kind: str, name: str) -> Shown | None:
        """The output of that kind and name, None where there is none."""
        return next((s for s in self.shown if (s.output.kind, s.output.name) == (kind, name)), None)

    def of(self, key: str) -> list[Shown]:
        """The outputs that show a stored result."""
        return [s for s in self.shown if any(source.key == key for source in s.sources)]


def collect(
    tier: str, sources: Mapping[str, Source], by_label: Mapping[str, set[str]], made_by: Mapping[str, str]
) -> Outputs:
    """Every stored figure and table of `tier`; `made_by` is its name → the notebook that makes it."""
    out = Outputs()
    for kind, stem in stored.stored(tier):
        try:
            output = stored.read(kind, stem.name, tier)
        except stored.DamagedOutput as err:
            out.damaged.append(str(err))
            continue
        if output is not None:
            out.shown.append(_shown(output, sources, by_label, made_by.get(stem.name)))
    return out


def _shown(
    output: StoredOutput, sources: Mapping[str, Source], by_label: Mapping[str, set[str]], notebook: str | None
) -> Shown:
    known = tuple(sources[key] for key in output.keys if key in sources)
    absent = tuple(key for key in output.keys if key not in sources)
    rows = json.loads(output.frame.to_json(orient="records"))
    cells = as_text(printed(output.frame))
    if output.kind == "table" and _row_by_row(output.printed, output.frame):
        cells = output.printed
    return Shown(
        output,
        notebook,
        known,
        absent,
        tuple(map(str, cells.columns)),
        tuple(tuple(map(str, row)) for row in cells.head(MOST_ROWS).itertuples(index=False)),
        tuple(behind(row, known, by_label) for row in rows[:MOST_ROWS]),
        tuple(_about(row) for row in rows[:MOST_ROWS]),
        max(0, len(rows) - MOST_ROWS),
    )


def _row_by_row(printed_rows: pd.DataFrame, data: pd.DataFrame) -> bool:
    """Whether each printed row is one stored row, in the same order: as many, and the same words where both have."""
    if len(printed_rows) != len(data):
        return False
    texts = as_text(data)
    return all(
        (printed_rows[c] == texts[c]).all()
        for c in ("teacher", "label", "problem_id")
        if c in printed_rows and c in data
    )


def _about(row: Mapping[str, Any]) -> tuple[str, str]:
    """What a row is, from its ids and labels, and the problems it is about as a filter of rollouts."""
    names = "label reference teacher seed scope group family difficulty metric grader problem_id".split()
    words = ", ".join(
        f"{n} {row[n]}" if n in ("teacher", "seed") else str(row[n]) for n in names if row.get(n) is not None
    )
    only = next((str(row[n]) for n in ("scope", "group", "family", "difficulty") if row.get(n)), "")
    only = only.rpartition(":")[2] or only
    if row.get("problem_id"):
        return words, f"problem={row['problem_id']}"
    return words, f"family={only}" if only in FAMILIES else f"difficulty={only}" if only in DIFFICULTIES else ""


def write(pages: Pages, outputs: Outputs, others: Mapping[str, Any], light: bool = False) -> None:
    """The list of outputs, a page for each with its files, and which runs are behind which row (`data/behind.js`).

    others  by name, what else has rows with runs behind them, as `data/behind.js` holds it
    light   pictures of 256 colours are the only files
    """
    files = pages.out / "files"
    files.mkdir(parents=True, exist_ok=True)
    for one in outputs.shown:
        stem = one.output.path
        kinds = (".png",) if light else (".png", ".csv", ".tex")
        copied = [f"{stem.stem}{s}" for s in kinds if stem.with_suffix(s).is_file()]
        for name in copied:
            (_small_picture if light else shutil.copyfile)(stem.with_name(name), files / f"{one.output.kind}-{name}")
        same, differs = how.settings(one.sources)
        pages.write(
            one.page,
            "output.html",
            one=one,
            files=[f"{one.output.kind}-{name}" for name in copied],
            losses=how.losses_of(one.sources),
            same=same,
            differs=differs,
            varied=_varied(one.sources, differs),
            commands=how.commands(one.output.name, one.id, one.notebook, one.output.stamp["tier"], one.sources),
            linked=is_number,
        )
    pages.write("outputs.html", "outputs.html", outputs=outputs)
    pages.pack("behind", {s.anchor: _behind(s) for s in outputs.shown} | dict(others))


def _small_picture(path: Path, target: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


def _varied(sources: Sequence[Source], differs: Sequence[str]) -> list[tuple[Source, list[Any]]]:
    """Each training run with its values of the settings in which they differ."""
    of = [(s, dict(how.flat(s.manifest["config"]))) for s in sources if s.kind == "runs"]
    return [(s, [config.get(name, "") for name in differs]) for s, config in of]


def _behind(one: Shown) -> dict[str, Any]:
    keys = [s.key for s in one.sources]
    place = {key: i for i, key in enumerate(keys)}
    rows = [[place[s.key] for s in runs] for runs in one.runs]
    return {"title": one.id or one.output.name, "page": one.page, "keys": keys, "rows": rows, "about": list(one.about)}


def is_number(cell: str) -> bool:
    """Whether a cell shows a number, so that it leads to the runs behind it."""
    return any(c.isdigit() for c in cell)
