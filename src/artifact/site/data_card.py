"""The page of SURE-Math: its data card as it is published, and every published problem with its ancestors.

A proposal that was dropped has its place in an ancestry and no text, as in the published folder: it may quote a
benchmark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artifact.paths import published, results_dir
from artifact.records import stream_parquet
from artifact.site.pages import Pages
from artifact.studies import store
from artifact.suremath.load import SPLITS, Published
from artifact.suremath.publish import LineageRow

_FRONT = re.compile(r"\A---\n.*?\n---\n", flags=re.DOTALL)


def newest(tier: str) -> Path | None:
    """The published dataset of `tier` that was made last, None where there is none."""
    made = []
    for path in (results_dir() / "suremath").glob(f"*/{store.MANIFEST}"):
        manifest = store.read_manifest(path.parent)
        if manifest is not None and manifest.get("tier") == tier:
            made.append((str(store.run_info(path.parent)["finished"]), path.parent))
    return max(made)[1] if made else None


def write(pages: Pages, folder: Path) -> None:
    """The page of the dataset in the result `folder`, and the lineage it searches (`data/lineage.js`)."""
    from markupsafe import Markup

    text = store.file(folder, "dataset/README.md").read_text(encoding="utf-8")
    pages.pack("lineage", _lineage(folder))
    place = published(folder / "dataset")
    pages.write("data.html", "data.html", card=Markup(card_html(_FRONT.sub("", text))), place=place)


def card_html(text: str) -> str:
    """A card's Markdown as HTML, two headings lower: tags in it are text, and no address in it is fetched."""
    import mistune

    class Renderer(mistune.HTMLRenderer):
        def heading(self, text: str, level: int, **attrs: Any) -> str:
            return super().heading(text, min(level + 2, 6), **attrs)

        def image(self, text: str, url: str, title: str | None = None) -> str:
            return text

        def table(self, text: str) -> str:
            return f'<div class="scroll" tabindex="0" role="region" aria-label="table"><table>{text}</table></div>'

    renderer = Renderer(escape=True)
    markdown = mistune.create_markdown(renderer=renderer, plugins=["table"])
    renderer.register("table", Renderer.table)
    return str(markdown(text))


def _lineage(folder: Path) -> list[dict[str, Any]]:
    texts: dict[str, Published] = {}
    for split in SPLITS:
        for path in store.files(folder, f"dataset/data/{split}-*.parquet"):
            texts |= {row.id: row for row in stream_parquet(path, Published)}
    rows = stream_parquet(store.file(folder, "dataset/lineage.parquet"), LineageRow)
    return [_entry(row, texts) for row in rows]


def _entry(row: LineageRow, texts: Mapping[str, Published]) -> dict[str, Any]:
    kept = texts.get(row.id)
    return {
        "id": row.id,
        "parents": list(row.parent_ids),
        "strategy": row.strategy,
        "round": row.round,
        "fate": row.fate,
        "question": kept.question if kept else None,
        "answer": kept.answer if kept else None,
        "difficulty": kept.difficulty if kept else row.seed_difficulty,
        "weight": round(kept.weight, 4) if kept and kept.weight is not None else None,
    }
