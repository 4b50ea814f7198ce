"""The site of a tier (`artifact.site`), with the notebooks that were executed: `results/site/`, made after them."""

from __future__ import annotations

from pathlib import Path

from artifact.book.notebooks import target_of
from artifact.book.summary import entries
from artifact.config import load, parse_overrides
from artifact.paths import results_dir
from artifact.site.builder import NotebookPage, build
from artifact.site.live_page import live_page_of


def site_folder() -> Path:
    """Where the site goes when nothing else is said."""
    return results_dir() / "site"


def write_site(tier: str, out: Path | None = None, *, light: bool = False) -> Path:
    """Build the site of `tier` from what is stored, at `out` (default: `site_folder`); returns its start page."""
    notebooks, overrides = [], list[str]()
    for entry in entries(tier):
        page = target_of(entry.source, tier).with_suffix(".html")
        seconds = entry.record["seconds"] if entry.record else None
        notebooks.append(NotebookPage(entry.source.stem, entry.title, seconds, page if page.is_file() else None))
        overrides = overrides or list((entry.record or {}).get("parameters", {}).get("overrides", []))

    def live(folder: Path) -> None:
        live_page_of(tier, folder / "live")

    more = [live] if has_live_page(tier) and not light else []
    return build(tier, out or site_folder(), notebooks, overrides=parse_overrides(overrides), light=light, more=more)


def has_live_page(tier: str) -> bool:
    """Whether the models of a tier fit a page: those of the embedded world of arithmetic do."""
    return load(tier).task.name == "tinymath"
