"""Two hundred hostile strings through every page, opened in a real browser: nothing runs, loads, or breaks a row.

The escaping is tested without the page's content security policy (a page with it removed), so that neither hides a
fault of the other; that the policy alone holds is tested with HTML that nobody escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from tests.escape.browser import Page, opened, program
from tests.escape.payloads import HOSTILE, RUN
from tests.report.test_language_model import rollout

from artifact.book.executed import kept, tidy
from artifact.book.page import POLICY, harmless, to_html
from artifact.book.summary import Entry, markdown, page
from artifact.escape import one_line, visible
from artifact.records import Problem, Status
from artifact.report import language_model as lm
from artifact.report.notebook import caption_html, figure_html, table_html
from artifact.report.outputs import save_table
from artifact.report.text import bullets, markdown_table

pytestmark = pytest.mark.skipif(program() is None, reason="no chromium on this machine to open pages in")

LOADED = "script,iframe,object,embed,form,base,link,meta[http-equiv=refresh]"
OWN = r"/^(#|data:image\/(png|svg)|https?:\/\/ok\/)/"
ACTS = f"""[...document.querySelectorAll('*')].flatMap(e => [...e.attributes].filter(a =>
    (/^on/i.test(a.name) && !e.classList.contains('all-code')) ||
    (/^(src|href|action|srcdoc|data|poster|xlink:href)$/i.test(a.name) && !{OWN}.test(a.value) &&
        !(e.rel == 'noreferrer' && /^https?:/.test(a.value))))
    .map(a => e.outerHTML.slice(0, 200)))"""
"""Elements with a handler, or with an address that is not the page's own."""

TEXT = pd.Series(HOSTILE, dtype=object)  # pandas' own kind of text cannot hold half a surrogate pair
FRAME = pd.DataFrame({"number": range(len(HOSTILE)), "text": TEXT, "again": TEXT})


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def shown(browser: Page, folder: Path, *outputs: nbformat.NotebookNode, policy: bool = False) -> str:
    """Open the page of a notebook with `outputs`; check that nothing runs or loads. Returns the page."""
    cells = [new_code_cell("0", outputs=[o]) for o in outputs]
    made = to_html(tidy(new_notebook(cells=cells)), folder, "title")
    assert POLICY in made
    (folder / "page.html").write_text(made if policy else made.replace(POLICY, "default-src *"), encoding="utf-8")
    still(browser, folder / "page.html")
    return made


def still(browser: Page, path: Path) -> None:
    browser.open(path)
    assert browser.value("window.ran || []") == []
    assert browser.value(ACTS) == []
    assert [r for r in browser.requests if not r.startswith(("data:", path.as_uri()))] == []
    assert browser.value(f"document.querySelectorAll('{LOADED}').length") == 0


def cells(browser: Page) -> list[list[str]]:
    return browser.value(
        "[...document.querySelectorAll('tbody tr')].map(r => [...r.querySelectorAll('td')].map(c => c.textContent))"
    )


def html(source: str) -> nbformat.NotebookNode:
    return new_output("display_data", {"text/html": source, "text/plain": "x"})


def md(source: str) -> nbformat.NotebookNode:
    return new_output("display_data", {"text/markdown": source, "text/plain": "x"})


def test_tables_captions_and_frames_of_a_notebook(browser: Page, tmp_path: Path) -> None:
    below = "<br>".join(caption_html("a", f"U-{text}", text) for text in HOSTILE)
    shown(browser, tmp_path, html(figure_html("a", table_html(FRAME), below)))
    assert cells(browser) == [[str(i), visible(t), visible(t)] for i, t in enumerate(HOSTILE)]
    with pd.option_context("display.max_rows", None, "display.max_colwidth", None):
        shown(browser, tmp_path, html(FRAME["text"].to_frame()._repr_html_()))
    assert [len(row) for row in cells(browser)] == [1] * len(HOSTILE)  # its index is a heading


def test_markdown_tables_and_sentences_of_a_notebook(browser: Page, tmp_path: Path) -> None:
    shown(browser, tmp_path, md(markdown_table(FRAME)))
    squeezed = [[re.sub(r"\s+", " ", c).strip() for c in row] for row in cells(browser)]
    assert squeezed == [[str(i), *[" ".join(one_line(t).split())] * 2] for i, t in enumerate(HOSTILE)]
    shown(browser, tmp_path, md(bullets(HOSTILE)))
    assert browser.value("document.querySelectorAll('main li, .jp-Notebook li').length") == len(HOSTILE)


def test_markdown_that_nobody_escaped(browser: Page, tmp_path: Path) -> None:
    """Whatever a cell puts out as Markdown or HTML: the page itself is the last to make it harmless."""
    shown(browser, tmp_path, *map(md, HOSTILE))
    shown(browser, tmp_path, *map(html, HOSTILE))
    page = shown(browser, tmp_path, md("[a](https://ok/) [b](#c) **bold** $x^2$"))
    assert "<strong>bold</strong>" in page and "<math" in page and 'href="https://ok/"' in page


def test_printed_text(browser: Page, tmp_path: Path) -> None:
    outputs = [new_output("stream", name="stdout", text=text + "\n") for text in HOSTILE]
    shown(browser, tmp_path, *outputs)
    assert browser.value("document.querySelectorAll('.jp-OutputArea-output pre').length") == len(HOSTILE)


def test_rollouts_in_full(browser: Page, tmp_path: Path) -> None:
    class Words:
        def decode(self, ids: list[int]) -> str:
            return HOSTILE[ids[0]] if ids else ""

    from dataclasses import replace

    from artifact.records import Verdict

    views = []
    for i, text in enumerate(HOSTILE):
        r = replace(rollout(1, Status.WRONG), prompt_ids=(i,), response_ids=(i,), logprobs=(-0.5,))
        r = replace(r, problem_id=text, verdict=Verdict(Status.WRONG, text, text))
        views += [lm.rollout_markdown(r, Problem(text, "q", text, None, "s", "easy", {}), Words())]
        views += [lm.mask_markdown(r, Words())]
    shown(browser, tmp_path, *map(md, views))
    assert browser.value("document.querySelectorAll('.jp-RenderedMarkdown tbody tr').length") == len(HOSTILE)
    blocks = browser.value("[...document.querySelectorAll('.jp-RenderedMarkdown pre')].map(e => e.textContent.trim())")
    assert blocks == [visible(t).strip() for t in HOSTILE for _ in range(2)]


def test_the_index_page_and_the_summary(browser: Page, tmp_path: Path, results: Path) -> None:
    unnamable = re.compile("[/\0\ud800-\udfff]")
    made = [
        {"path": f"figures/{i}/{unnamable.sub('', t)[:60]}.png", "title": t, "output": t, "runs": [t]}
        for i, t in enumerate(HOSTILE)
    ]
    facts = {"seconds": 1.0, "made": made, "commit": "c", "dirty": None, "source": "s", "lock": "l"}
    found = [Entry(Path("01_a.ipynb"), HOSTILE[2], facts)]
    (tmp_path / "index.html").write_text(page("tiny", HOSTILE[2], found), encoding="utf-8")
    browser.open(tmp_path / "index.html")
    assert browser.value("window.ran || []") == []
    assert browser.value("document.querySelectorAll('figure').length") == len(HOSTILE)
    assert all(r.startswith("file://") for r in browser.requests)
    (listed,) = [markdown("tiny", HOSTILE[2], found)]
    shown(browser, tmp_path, md(listed.replace("](", "](https://ok/")))
    assert browser.value("document.querySelectorAll('.jp-RenderedMarkdown ul > li').length") == len(HOSTILE)


def test_a_saved_table_as_another_renderer_reads_it(browser: Page, tmp_path: Path, results: Path) -> None:
    """markdown-it reads CommonMark with tables, the HTML in it: what a code host does, less its cleaning."""
    MarkdownIt = pytest.importorskip("markdown_it").MarkdownIt
    whole = FRAME[~TEXT.str.contains("\ud800")].reset_index(drop=True)
    path = save_table(whole, "hostile", tier="tiny", keys=[], caption=HOSTILE[2] + HOSTILE[42])
    made = MarkdownIt("commonmark", {"html": True}).enable("table").render(path.read_text(encoding="utf-8"))
    (tmp_path / "md.html").write_text(f'<meta charset="utf-8">{made}', encoding="utf-8")
    still(browser, tmp_path / "md.html")
    squeezed = [[re.sub(r"\s+", " ", c).strip() for c in row] for row in cells(browser)]
    rows = whole[["number", "text"]].to_numpy().tolist()
    assert squeezed == [[str(i), *[" ".join(one_line(t).split())] * 2] for i, t in rows]


def test_the_policy_alone_stops_what_nobody_escaped(browser: Page, tmp_path: Path) -> None:
    body = f"<img src=x onerror={RUN}><script>{RUN}</script><img src=http://127.0.0.1:9/a>"
    head = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    (tmp_path / "bare.html").write_text(f"<html><head></head><body>{body}</body></html>", encoding="utf-8")
    browser.open(tmp_path / "bare.html")
    assert browser.value("window.ran") == [1, 1], "this browser runs scripts, and this test would notice"
    (tmp_path / "held.html").write_text(f"<html><head>{head}</head><body>{body}</body></html>", encoding="utf-8")
    browser.open(tmp_path / "held.html")
    assert browser.value("window.ran || []") == []


def test_the_button_of_a_page_works_under_its_policy(browser: Page, tmp_path: Path) -> None:
    shown(browser, tmp_path, html("<p>a</p>"), html("<p>b</p>"), policy=True)
    opened_now = "document.querySelectorAll('details.code[open]').length"
    assert browser.value(opened_now) == 0
    browser.value("document.querySelector('.all-code').click()")
    assert browser.value(opened_now) == 2


def test_what_is_kept_of_a_notebook_shows_controls() -> None:
    stored = kept(tidy(harmless(new_notebook(cells=[new_code_cell("0", outputs=[html(t) for t in HOSTILE])]))))
    text = nbformat.writes(stored)
    assert not re.search(r"\\u00[01][0-79b-f]|\\u202e|\x1b|\\ud8", text), "but line feed and tab"
