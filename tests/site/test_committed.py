"""The committed copy of the site, `docs/site`: small, whole, harmless, and of the committed outputs."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from tests.escape.browser import Page, program
from tests.escape.test_published import ABSOLUTE, mine
from tests.site.browsing import absent_links, complaints, goto, until

from artifact.escape import visible
from artifact.paths import project_root
from artifact.report.stored import read, stored

SITE = project_root() / "docs" / "site"
REMEDY = "the committed site is not that of the committed outputs: artifact site --light --out docs/site"
MOST_BYTES = 10_000_000


@pytest.fixture(autouse=True)
def committed_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outputs in the repository, wherever a run of this clone puts its own."""
    monkeypatch.setenv("ARTIFACT_RESULTS", str(project_root() / "results"))
    monkeypatch.setenv("ARTIFACT_FIGURES", str(project_root() / "figures"))


def pages() -> list[str]:
    return [p.relative_to(SITE).as_posix() for p in sorted(SITE.rglob("*.html"))]


def test_it_is_small() -> None:
    size = sum(p.stat().st_size for p in SITE.rglob("*") if p.is_file())
    assert 1_000_000 < size < MOST_BYTES, f"{size:,} bytes"


def test_every_link_leads_somewhere() -> None:
    assert absent_links(SITE, pages()) == []
    assert len(pages()) > 100


def test_it_is_of_the_committed_outputs() -> None:
    """A page for each committed figure and table of the tier, with its checksum, and no other."""
    wanted = {}
    for kind, stem in stored("tiny"):
        output = read(kind, stem.name, "tiny")
        assert output is not None
        wanted[f"{kind}-{stem.name}"] = output.stamp["checksum"]
    found = {}
    for path in (SITE / "output").glob("*.html"):
        told = re.search(r"checksum <code>([0-9a-f]+)</code>", path.read_text(encoding="utf-8"))
        found[path.stem] = told[1] if told else "none"
    assert len(wanted) > 100
    assert found == wanted, REMEDY


class Table(HTMLParser):
    """The cells of the rows of a page that have an id: those of its table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.head: list[str] = []
        self._to: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "tr" and str(names.get("id", "")).startswith("row-"):
            self.rows.append([])
        if tag == "th" and not self.rows:
            self._to = self.head
            self._to.append("")
        elif tag == "td" and self.rows:
            self._to = self.rows[-1]
            self._to.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._to = None
        if tag == "table" and self.rows:
            self.handle_starttag = lambda tag, attrs: None  # type: ignore[method-assign]

    def handle_data(self, data: str) -> None:
        if self._to is not None:
            self._to[-1] += data


def test_tables_say_what_is_committed() -> None:
    """Cell by cell, where the page shows the table as it is printed; elsewhere the rows that are stored."""
    cells = 0
    for kind, stem in stored("tiny"):
        output = read(kind, stem.name, "tiny")
        assert output is not None
        if kind == "figure":
            continue
        shown = Table((SITE / "output" / f"table-{stem.name}.html").read_text(encoding="utf-8"))
        printed = output.printed
        if shown.head[:-1] == list(map(str, printed.columns)) and len(printed) == len(output.frame):
            wanted = [[visible(str(c)) for c in row] for row in printed.itertuples(index=False)]
            assert [row[:-1] for row in shown.rows] == wanted[: len(shown.rows)], f"{stem.name}: {REMEDY}"
            cells += sum(map(len, wanted))
        assert len(shown.rows) == min(len(output.frame), 200), f"{stem.name}: {REMEDY}"
    assert cells > 3000


def test_verdicts_are_those_committed() -> None:
    claims = pd.read_csv(project_root() / "results" / "tables" / "tiny" / "claims.csv", keep_default_na=False)
    text = html.unescape((SITE / "claims.html").read_text(encoding="utf-8"))
    text = " ".join(re.sub(r"<details>.*?</details>|<[^>]+>", " ", text, flags=re.DOTALL).split())
    absent = [r["id"] for r in claims.to_dict("records") if " ".join(f"{r['verdict']} {r['says']}".split()) not in text]
    assert absent == [] and len(claims) > 80, REMEDY


def unpacked(path: Path) -> bytes:
    """The JSON in a pack, b"" of another script."""
    text = path.read_text(encoding="utf-8").strip()
    if not text.startswith("artifactPack("):
        return b""
    _, packed = json.loads(f"[{text.removeprefix('artifactPack(').removesuffix(')')}]")
    return gzip.decompress(base64.b64decode(packed))


def test_claims_lead_to_the_runs_that_are_committed() -> None:
    """Of each judgement the keys in the committed table of claims that are stored results with a page."""
    claims = pd.read_csv(project_root() / "results" / "tables" / "tiny" / "claims.csv", keep_default_na=False)
    behind = json.loads(unpacked(SITE / "data" / "behind.js"))["claims"]
    shown = [{behind["keys"][i] for i in row} for row in behind["rows"]]
    known = {p.stem for p in (SITE / "run").glob("*.html")}
    assert [says for says, _ in behind["about"]] == claims["says"].tolist(), REMEDY
    assert shown == [set(runs.split()) & known for runs in claims["runs"]], REMEDY
    assert sum(map(len, shown)) > 500


def test_its_data_say_nothing_of_a_machine() -> None:
    found = []
    for path in SITE.rglob("*.js"):
        content = unpacked(path)
        found += [(path.name, m[0]) for pattern in (ABSOLUTE, mine()) for m in pattern.finditer(content)]
    for path in SITE.rglob("*.html"):
        found += [(path.name, m[0]) for pattern in (ABSOLUTE, mine()) for m in pattern.finditer(path.read_bytes())]
    assert found == []


@pytest.mark.skipif(program() is None, reason="no chromium on this machine to open pages in")
def test_it_opens_from_disk(browser: Page) -> None:
    """The start page, a claim's page, and the reason of each family, down to a response of each of its runs."""
    why = [p for p in pages() if p.startswith("why/")]
    assert len(why) == 10
    for where in ("index.html", "claims.html", "runs.html", "data.html", *why):
        goto(browser, SITE, where)
        assert complaints(browser) == [], where
    links: list[str] = browser.value("[...document.querySelectorAll('a[href*=\"&family=\"]')].map((a) => a.href)")
    assert len(links) >= 3
    for href in links:
        goto(browser, SITE, href.removeprefix(f"{SITE.as_uri()}/"))
        until(browser, "document.querySelectorAll('.rollout').length > 0")
        assert complaints(browser) == [], href


def test_the_pages_of_families_show_runs_of_their_table() -> None:
    """Not those of another task whose cells, teachers and seeds have the same names."""
    keys = {k for kind, stem in stored("tiny") if (o := read(kind, stem.name, "tiny")) is not None for k in o.keys}
    of = read("table", "uopd_family_differences", "tiny")
    assert of is not None
    for path in sorted((SITE / "why").glob("*.html")):
        text = path.read_text(encoding="utf-8")
        shown = set(re.findall(r"rollouts\.html#run=([0-9a-f]+)", text)) | set(
            re.findall(r'data-tokens="([0-9a-f]+):', text)
        )
        assert len(shown) == 3 and shown <= keys, path.name
        assert len(shown & set(of.keys)) >= 2, path.name
        assert "Token by token" in text and "kept no tokens" not in text, path.name
