"""Builds the site of a tier from what is stored: nothing is run, sampled or judged anew but the claims.

    index.html                       what the papers claim, what held, at which tier, on what machine, in how long
    claims.html, outputs.html        every judgement; every figure and table
    output/<kind>-<name>.html        one of them: rows that lead to runs, how it was made, how to make it again
    runs.html, run/<key>.html        stored results; two of them side by side
    rollouts.html#run=<key>          the responses of one, filtered in the browser
    why.html, why/B-mod.html         where weights help and hurt: the teacher's answers, those that changed, the tokens
    notebooks/, data.html, source/   pages of notebooks, SURE-Math, the losses line by line
    badge.svg                        how many of the tier's mechanisms passed, for a README
    live/                            the models in a page, where the tier has embedded ones
    data/, files/, static/           what those pages load

The light form keeps the rollouts of the papers' main tables alone, of one seed: greedy answers, and training with the
tokens of two rollouts of each prompt. It leaves out the models and what lies elsewhere in the repository: pages of
notebooks, CSV and LaTeX of outputs, the numbers of figures, the settings of single runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from artifact.config import load, load_tier
from artifact.errors import ArtifactError
from artifact.files import folder_atomically
from artifact.paths import project_root
from artifact.report.text import duration
from artifact.site import claims, data_card, families, how, outputs, rollouts, runs
from artifact.site.outputs import Outputs, Shown
from artifact.site.pages import Pages
from artifact.site.sources import Source, labels, sources
from artifact.site.tokens import write_tokens
from artifact.studies import store
from artifact.studies.claims import check_claims, made_by

TITLE = "CORE and UOPD, reproduced"

MARK = "static/packs.js"
"""The file by which a folder is known to be a site."""

PICTURES = ("uopd_families", "se_accuracy", "core_curriculum")
"""The figures of the start page, where they were made."""

MAIN_TABLES = ("uopd_main_table", "core_main_table")
"""The papers' main tables, by the names of the outputs."""


@dataclass(frozen=True)
class NotebookPage:
    """An executed notebook: `page` is its self-contained HTML, None where only the notebook is kept."""

    stem: str
    title: str
    seconds: float | None
    page: Path | None

    @property
    def took(self) -> str:
        return "" if self.seconds is None else duration(self.seconds)


More = Callable[[Path], None]
"""Writes a further part into the folder of the site, before its start page is written."""


def build(
    tier: str,
    out: Path,
    notebooks: Sequence[NotebookPage] = (),
    *,
    overrides: Mapping[str, Any] | None = None,
    light: bool = False,
    more: Sequence[More] = (),
) -> Path:
    """Write the site of `tier` to `out`, in place of what is there; returns its start page.

    overrides  those the notebooks were run with, by which stored runs are told apart
    more       further parts; a folder `live` among them is linked from the start page
    Raises ArtifactError where `out` holds something that is no site.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_file())):
        raise ArtifactError(f"{out} exists and is no site: it would be overwritten; choose another folder")
    with folder_atomically(out) as folder:
        found = sources(tier, overrides)
        shown = outputs.collect(tier, found, labels(), made_by())
        kept = [] if light else [n for n in notebooks if n.page is not None]
        pages = Pages(folder, {**_common(tier, notebooks, kept), "light": light})
        pages.static()
        for book in kept:
            (folder / "notebooks").mkdir(exist_ok=True)
            shutil.copyfile(str(book.page), folder / "notebooks" / f"{book.stem}.html")
        annotations = [s for s in found.values() if s.kind == "annotations"]
        first = min((s.seed for s in found.values() if s.seed is not None), default=0)
        packer = rollouts.Packer(pages, annotations, partial(write_tokens, pages, first, light), light)
        main = _behind_main_tables(shown)
        packed = {s.key for s in found.values() if not light or (s.key in main and s.seed in (None, first))}
        read = [runs.read(s, packer, packed=s.key in packed) for s in found.values()]
        runs.write(pages, read, shown)
        why = families.collect(shown, packer, read)
        if why:
            families.write(pages, why, shown)
        pages.write("rollouts.html", "rollouts.html")
        judged = check_claims(tier).judgements
        outputs.write(pages, shown, {claims.BEHIND: claims.behind(judged, found)}, light)
        claims.write(pages, judged, tier, shown)
        pages.write("badge.svg", "badge.svg", words=claims.in_a_badge(judged))
        how.write_sources(pages)
        if notebooks:
            pages.write("notebooks.html", "notebooks.html")
        dataset = data_card.newest(tier)
        if dataset is not None:
            data_card.write(pages, dataset)
        for part in more:
            part(folder)
        facts = _facts(tier, found, read, notebooks)
        start = claims.for_start(judged, tier, shown)
        live = (folder / "live" / "index.html").is_file()
        pages.write(
            "index.html",
            "index.html",
            pictures=_pictures(shown),
            why=families.by_teacher(why),
            live=live,
            damaged=shown.damaged,
            **facts,
            **start,
        )
    return out / "index.html"


def _behind_main_tables(shown: outputs.Outputs) -> set[str]:
    """The keys of the results behind the papers' main tables."""
    tables = [shown.named("table", name) for name in MAIN_TABLES]
    return {key for table in tables if table is not None for key in table.output.keys}


def _common(tier: str, notebooks: Sequence[NotebookPage], kept: Sequence[NotebookPage]) -> dict[str, Any]:
    """What every page knows."""
    dataset = data_card.newest(tier)
    navigation = [("index.html", "Start"), ("claims.html", "Claims"), ("outputs.html", "Figures and tables")]
    navigation += [("runs.html", "Runs")]
    navigation += [("notebooks.html", "Notebooks")] if notebooks else []
    navigation += [("data.html", "SURE-Math")] if dataset else []
    navigation += [("source/index.html", "The losses")]
    return {
        "site_title": TITLE,
        "tier": tier,
        "navigation": navigation,
        "notebook_pages": {n.stem for n in kept},
        "notebooks": list(notebooks),
        "dataset": dataset,
        "cite": _cite(),
    }


def _cite() -> str:
    """The artifact as CITATION.cff says it."""
    facts = yaml.safe_load((project_root() / "CITATION.cff").read_text(encoding="utf-8"))
    authors = ", ".join(
        str(a.get("name") or f"{a.get('given-names', '')} {a['family-names']}") for a in facts["authors"]
    )
    return f"{authors}: {facts['title']}, version {facts['version']}"


def _facts(
    tier: str, found: Mapping[str, Source], read: Sequence[runs.Run], notebooks: Sequence[NotebookPage]
) -> dict[str, Any]:
    """Tier, machine, time and code behind the site, from the accounts of what is stored."""
    infos = [store.run_info(s.folder) for s in found.values()]
    machines = {
        f"{m['cores']} cores of {m['cpu']}, {m['memory_gib']} GiB, {len(m['gpus'])} GPUs"
        for i in infos
        if (m := i["hardware"])
    }
    commits = {str(i["git"]["commit"])[:12] for i in infos if i["git"]["commit"]}
    trained = [s for s in found.values() if s.kind == "runs"]
    seconds = sum(n.seconds or 0.0 for n in notebooks)
    training = sum(store.run_info(s.folder)["seconds"].get("total", 0.0) for s in trained)
    took = f"{duration(seconds)} of notebooks; " if seconds else ""
    responses = sum(run.responses for run in read)
    return {
        "description": load(tier).description,
        "note": load_tier(tier).note,
        "machine": "; ".join(sorted(machines)) or "nothing is stored",
        "took": f"{took}{duration(training)} of {len(trained)} training runs, one after the other",
        "stored": f"{len(found)} results with {responses:,} verified responses",
        "commit": f"results of commit {', '.join(sorted(commits))}" if commits else "no commit is recorded",
    }


def _pictures(shown: Outputs) -> list[Shown]:
    figures = [s for s in shown.shown if s.output.kind == "figure"]
    first = [s for name in PICTURES if (s := shown.named("figure", name)) is not None]
    return [*first, *(s for s in figures if s not in first)][: len(PICTURES)]
