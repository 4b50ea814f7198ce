"""What there is after a run: `results/SUMMARY.md` and `results/index.html`, from the stored accounts of the notebooks.

Both list every notebook with its outputs, thumbnails, times and run keys, and both say the tier first: a number of the
embedded tier must never pass for a number of the papers. While notebooks are executed both also say how far that is,
afterwards how what was made compares with the reference. Left out: the figures and tables themselves.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from artifact.book.notebooks import discover, read_record, target_of, title_of
from artifact.config import load
from artifact.escape import html_text, markdown_code, markdown_text, visible
from artifact.files import write_text
from artifact.paths import project_root, results_dir
from artifact.report import reference
from artifact.report.text import duration

IMAGES = {".png", ".svg", ".jpg"}
REFRESH_S = 30

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{margin-top:2.2rem;border-top:1px solid #ddd;padding-top:1rem;font-size:1.15rem}
.tier{background:#f3f3ee;padding:.6rem 1rem}
.thumbs{display:flex;flex-wrap:wrap;gap:1rem} figure{margin:0;width:17rem} figure img{width:100%;border:1px solid #ddd}
figcaption,small{color:#555;font-size:.85rem} code{font-size:.85em} a{color:#0b5394} .missing{color:#a33}
.now{border-left:4px solid #0b5394;padding-left:1rem}
"""


@dataclass(frozen=True)
class Entry:
    """One notebook and its stored account; `record` is None where it has not been executed on this tier."""

    source: Path
    title: str
    record: dict[str, Any] | None

    @property
    def made(self) -> list[dict[str, Any]]:
        return self.record["made"] if self.record else []

    @property
    def runs(self) -> list[str]:
        return sorted({run for item in self.made for run in item.get("runs", [])})


@dataclass(frozen=True)
class Standing:
    """How far a series of notebooks is while it is executed: in one line, and in words by notebook's name."""

    line: str
    of: dict[str, str]


def entries(tier: str, folder: Path | None = None) -> list[Entry]:
    """Every notebook that belongs to `tier`, in order, with its account."""
    return [Entry(p, title_of(p), read_record(target_of(p, tier))) for p in discover(folder, tier=tier)]


def _link(path: str | Path) -> str:
    """A link from `results/` to a file given relative to the project root (or absolute)."""
    return quote(os.fsencode(Path(os.path.relpath(project_root() / path, results_dir())).as_posix()))


def _group(made: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[str]]]:
    """Files that differ only in their suffix (figure.pdf, figure.png) as one item with its links."""
    groups: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for item in made:
        stem = str(Path(item["path"]).with_suffix(""))
        groups.setdefault(stem, (item, []))[1].append(item["path"])
    return list(groups.values())


def _kind(path: str) -> str:
    """What a link to a file is called: `png`."""
    return Path(path).suffix.lstrip(".") or "file"


def _name(item: dict[str, Any]) -> str:
    return str(item.get("title") or Path(item["path"]).stem)


def markdown(
    tier: str, description: str, found: list[Entry], now: Standing | None = None, reproduction: Sequence[str] = ()
) -> str:
    """The summary as Markdown, links relative to `results/`; with `now`, of a series that is still executed.

    `reproduction` are the lines of the report on the reference (`report/reference.py`).
    """
    total = sum(e.record["seconds"] for e in found if e.record)
    executed = [e for e in found if e.record]
    lines = [
        f"# What was made — tier `{tier}`",
        "",
        f"{markdown_text(description.capitalize())}.",
        "",
        f"{len(executed)} of {len(found)} notebooks executed, {sum(len(e.made) for e in found)} files, "
        f"{duration(total)} of computing.",
    ]
    if now is not None:
        lines += ["", f"{markdown_text(now.line)}."]
    lines += ["", *(f"- {markdown_text(line.strip())}" for line in reproduction)] if reproduction else []
    first = next((e.record for e in found if e.record), None)
    if first:
        dirty = f" with uncommitted changes `{first['dirty']}`" if first["dirty"] else ""
        lines += [
            "",
            f"Commit `{first['commit'] or 'none'}`{dirty}; source `{first['source']}`; lock `{first['lock']}`.",
        ]
    for entry in found:
        lines += ["", f"## {entry.source.stem[:2]}. {markdown_text(entry.title)}", ""]
        said = _said(entry, now)
        if said:
            lines += [markdown_text(said), ""]
        if entry.record is None:
            continue
        target = target_of(entry.source, tier)
        page, copy = _link(target.with_suffix(".html")), _link(target)
        lines += [f"[page]({page}) · [notebook]({copy}) · {duration(entry.record['seconds'])}", ""]
        for item, paths in _group(entry.made):
            links = ", ".join(f"[{markdown_text(_kind(p))}]({_link(p)})" for p in paths)
            output = str(item.get("output") or "")
            at = f"[{markdown_text(output)}]({page}#{quote(visible(output))}): " if output else ""
            lines.append(f"- {at}{markdown_text(_name(item))} ({links})")
        if entry.runs:
            lines += ["", "Runs: " + ", ".join(map(markdown_code, entry.runs))]
    return "\n".join(lines) + "\n"


def _said(entry: Entry, now: Standing | None) -> str:
    """What is said of a notebook besides its outputs: that it runs or has yet to, or that it never was executed."""
    words = now.of.get(entry.source.stem, "") if now else ""
    return words or ("Not executed on this tier." if entry.record is None else "")


def page(
    tier: str, description: str, found: list[Entry], now: Standing | None = None, reproduction: Sequence[str] = ()
) -> str:
    """The index page: the same content with thumbnails; no script, no outside resource.

    With `now`, of a series that is still executed, it loads itself again from time to time.
    """
    esc = html_text
    body = [
        f"<h1>What was made</h1><p class=tier>Tier <b>{esc(tier)}</b>: {esc(description)}. "
        '<a href="SUMMARY.md">Summary as text</a></p>'
    ]
    if now is not None:
        body.append(f"<p class=now>{esc(now.line)}</p>")
    if reproduction:
        said = "".join(f"<li>{esc(line.strip())}</li>" for line in reproduction)
        body.append(
            f'<details open id="reproduction"><summary>Compared with the reference</summary><ul>{said}</ul></details>'
        )
    for entry in found:
        body.append(f"<h2>{esc(entry.source.stem[:2])}. {esc(entry.title)}</h2>")
        said = _said(entry, now)
        if said:
            body.append(f"<p class=missing>{esc(said)}</p>")
        if entry.record is None:
            continue
        target = target_of(entry.source, tier)
        body.append(
            f'<p><a href="{_link(target.with_suffix(".html"))}">page</a> · <a href="{_link(target)}">notebook</a> · '
            f"<small>{duration(entry.record['seconds'])}</small></p><div class=thumbs>"
        )
        others = []
        for item, paths in _group(entry.made):
            name, output = esc(_name(item)), str(item.get("output") or "")
            place = f"{_link(target.with_suffix('.html'))}#{quote(visible(output))}"
            label = f'<a href="{place}">{esc(output)}</a>: {name}' if output else name
            links = " ".join(f'<a href="{_link(p)}">{esc(_kind(p))}</a>' for p in paths)
            image = next((p for p in paths if Path(p).suffix in IMAGES), None)
            if image is None:
                others.append(f"<li>{label} {links}</li>")
            else:
                body.append(
                    f'<figure><a href="{_link(image)}">'
                    f'<img src="{_link(image)}" alt="{name}" loading=lazy></a>'
                    f"<figcaption>{label} {links}</figcaption></figure>"
                )
        body.append("</div>" + (f"<ul>{''.join(others)}</ul>" if others else ""))
        if entry.runs:
            body.append(
                "<p><small>Runs: " + ", ".join(f"<code>{esc(run)}</code>" for run in entry.runs) + "</small></p>"
            )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"{f'<meta http-equiv=refresh content={REFRESH_S}>' if now else ''}"
        f"<title>Artifact: {esc(tier)}</title><style>{_STYLE}</style><body>{''.join(body)}</body></html>\n"
    )


def write_summary(tier: str, folder: Path | None = None, now: Standing | None = None) -> tuple[Path, Path]:
    """Write `results/SUMMARY.md` and `results/index.html` for `tier`, with `now` as `page`; returns both paths."""
    found = entries(tier, folder)
    description = load(tier).description or "no description"
    compared = reference.lines(tier)[0] if now is None else []
    out = []
    for name, text in (
        ("SUMMARY.md", markdown(tier, description, found, now, compared)),
        ("index.html", page(tier, description, found, now, compared)),
    ):
        path = results_dir() / name
        out.append(write_text(path, text))
    return out[0], out[1]
