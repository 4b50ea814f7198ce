"""The site in a real browser, from disk: every page, two widths, dark and light, by keyboard; where links end."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from tests.escape.browser import Page, program
from tests.site import world
from tests.site.browsing import absent_links, complaints, goto, key, serious, until
from tests.site.conftest import HOSTILE_RUN, MANY, STORABLE, books, live

from artifact.errors import ArtifactError
from artifact.escape import visible
from artifact.site import builder
from artifact.site.builder import build

pytestmark = pytest.mark.skipif(program() is None, reason="no chromium on this machine to open pages in")

PHONE, DESKTOP = (390, 844), (1280, 900)


def pages_of(site: Path) -> list[str]:
    own = [p.relative_to(site).as_posix() for p in sorted(site.rglob("*.html"))]
    return [p for p in own if not p.startswith(("notebooks/", "live/"))]


def test_every_link_and_picture_of_every_page_is_there(site: Path) -> None:
    assert absent_links(site, pages_of(site)) == []
    assert len(pages_of(site)) > 30


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_pages_open_from_disk(browser: Page, site: Path, size: tuple[int, int], scheme: str) -> None:
    """No request leaves the folder, nothing is complained of, nothing is wider than the screen."""
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=size == PHONE
    )
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    kinds = ["index.html", "claims.html", "outputs.html", "runs.html", "notebooks.html", "source/index.html"]
    kinds += ["output/table-differences.html", "output/figure-se_accuracy.html", f"run/{'0' * 16}.html"]
    kinds += [f"rollouts.html#run={HOSTILE_RUN}", "rollouts.html", "source/train.losses.divergence.html"]
    kinds += ["why.html", "why/B-mod.html", "data.html"]
    for where in kinds:
        goto(browser, site, where)
        assert complaints(browser) == [], where
        assert browser.value("document.documentElement.scrollWidth") <= size[0], f"{where} is wider than {size[0]}"
        assert browser.value("document.querySelectorAll('h1').length") == 1, where
        background = browser.value("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light"), where


def test_every_page_once(browser: Page, site: Path) -> None:
    for where in pages_of(site):
        goto(browser, site, where)
        assert complaints(browser) == [], where


def shown_keys(browser: Page) -> set[str]:
    until(browser, "document.getElementById('told')?.textContent")
    rows = "[...document.querySelectorAll('#runs tbody tr')].filter(r => !r.hidden).map(r => r.dataset.key)"
    return set(browser.value(rows))


def test_two_hundred_cells_lead_to_their_runs_and_rollouts(browser: Page, site: Path, made: list[world.Made]) -> None:
    """What a cell says is what the rollouts of the runs behind it say: recounted from what the browser shows."""
    cells: list[tuple[str, int, str]] = []
    for name in ("accuracy", "differences"):
        goto(browser, site, f"output/table-{name}.html")
        found = browser.value(
            "[...document.querySelectorAll('tbody tr[id]')]"
            ".flatMap((r, i) => [...r.querySelectorAll('td.n a')].map(a => [i, a.href]))"
        )
        cells += [(name, i, href) for i, href in found]
    assert len(cells) > 240
    chosen = random.Random(1).sample(cells, 200)
    tables = {"accuracy": world.accuracy(made), "differences": world.differences(made)}
    rest: dict[str, set[tuple[str, int]]] = {}
    for name, i, href in chosen:
        rest.setdefault(href, set()).add((name, i))
    for href, rows in rest.items():
        ((name, i),) = rows
        row = tables[name].iloc[i].to_dict()
        wanted = {row["cell"], row.get("reference_cell")}
        right = {m.key for m in made if m.cell in wanted and m.teacher == row["teacher"]}
        where = href.removeprefix(f"{site.as_uri()}/")
        if row["cell"] == "base":
            assert where == "run/ba5e000000000000.html"
            continue
        goto(browser, site, where)
        assert shown_keys(browser) == right, (name, row)
        if name == "accuracy":
            assert recounted(browser, site, right) == pytest.approx(row["accuracy"], abs=6e-4)


def recounted(browser: Page, site: Path, keys: set[str]) -> float:
    """The mean share of right answers that the pages of rollouts tell of these runs' first parts."""
    shares = []
    for run in sorted(keys):
        goto(browser, site, f"rollouts.html#run={run}&part=0")
        told = until(
            browser,
            "/%/.test(document.getElementById('told').textContent) && document.getElementById('told').textContent",
        )
        assert told.startswith("12 of 48 rollouts")
        shares.append(float(re.search(r"([\d.]+) % correct", told)[1]) / 100)  # type: ignore[index]
    return sum(shares) / len(shares)


def test_a_cell_about_a_family_leads_to_the_rollouts_of_that_family(browser: Page, site: Path) -> None:
    goto(browser, site, "runs.html#of=table-differences:4")
    shown_keys(browser)
    href = browser.value(
        "[...document.querySelectorAll('#runs tbody tr')].find(r => !r.hidden).querySelector('a.rollouts').href"
    )
    assert href.endswith("&family=mod")
    goto(browser, site, href.removeprefix(f"{site.as_uri()}/"))
    until(browser, "document.querySelectorAll('.rollout').length === 16")
    assert browser.value("document.getElementById('told').textContent").startswith("16 of 48 rollouts")


def test_ten_thousand_rollouts(browser: Page, site: Path) -> None:
    """Fifty at a time, and a filter looks at all of them; how long both take: `benchmarks/site_rollouts.py`."""
    goto(browser, site, f"rollouts.html#run={MANY}")
    until(browser, "document.querySelectorAll('.rollout').length === 50")
    typed = "form.elements.text.value = 'step 77'"
    browser.value(f"{typed}; form.elements.text.dispatchEvent(new Event('input', {{bubbles: true}}))")
    assert browser.value("document.getElementById('told').textContent").startswith("111 of 10,024 rollouts")
    assert browser.value("document.querySelectorAll('.rollout').length") == 50


def test_hostile_responses_stay_text(browser: Page, site: Path) -> None:
    goto(browser, site, f"rollouts.html#run={HOSTILE_RUN}&part=3")
    until(browser, "document.querySelectorAll('.rollout').length === 50")
    told = []
    for _ in range(4):
        browser.value("document.querySelectorAll('.rollout').forEach(d => { d.open = true; })")
        until(browser, "[...document.querySelectorAll('.rollout')].every(d => d.children.length === 2)")
        told += browser.value(
            "[...document.querySelectorAll('.rollout')].map(d => d.querySelectorAll('pre')[1].textContent)"
        )
        browser.value("document.querySelectorAll('[data-go=\"1\"]')[0].click()")
    assert told == [visible(text) for text in STORABLE]
    assert browser.value("window.ran || []") == [] and complaints(browser) == []
    assert (
        browser.value(
            "document.querySelectorAll('main img, main script, main iframe, main svg, main form form').length"
        )
        == 0
    )


def test_a_rollout_says_why_and_its_weight(browser: Page, site: Path, made: list[world.Made]) -> None:
    soft = next(m for m in made if m.cell == "uopd-soft")
    goto(browser, site, f"rollouts.html#run={soft.key}&part=0&problem=p0")
    until(browser, "document.querySelectorAll('.rollout').length === 1")
    browser.value("document.querySelector('.rollout').open = true")
    until(browser, "document.querySelector('.rollout dt') !== null")
    facts = browser.value(
        "Object.fromEntries([...document.querySelectorAll('.rollout dt')]"
        ".map(d => [d.textContent, d.nextSibling.textContent]))"
    )
    assert facts["weight w(x)"] == "0.2500" and facts["why"] == "boxed: by hand" and facts["gold answer"] == "1"
    assert (
        facts["verdict"] == ("correct" if "p0" in soft.right else "wrong") and facts["mean log-probability"] == "-0.500"
    )


def test_by_keyboard_from_the_start_page_to_a_response(browser: Page, site: Path, made: list[world.Made]) -> None:
    """Tab and Enter alone: start → outputs → a table → a cell → a run's rollouts → a response, each one outlined."""
    goto(browser, site, "index.html")
    steps = [
        ("Figures and tables", "outputs.html"),
        ("differences", "table-differences.html"),
        (None, "runs.html"),
        ("rollouts", "rollouts.html"),
    ]
    for words, arrives in steps:
        for _ in range(400):
            key(browser, "Tab", 9)
            at = browser.value(
                "[document.activeElement.textContent.trim(), document.activeElement.closest('td.n, #runs') !== null]"
            )
            outlined = browser.value("getComputedStyle(document.activeElement).outlineStyle")
            assert outlined != "none", at
            if (words is None and at[1]) or at[0] == words:
                break
        key(browser, "Enter", 13, "\r")
        until(browser, f"location.pathname.endsWith({json.dumps(arrives)}) && document.readyState === 'complete'")
        until(browser, "document.querySelector('main h1') !== null")
        if arrives == "runs.html":
            shown_keys(browser)
    until(browser, "document.querySelectorAll('.rollout').length > 0")
    for _ in range(40):
        key(browser, "Tab", 9)
        if browser.value("document.activeElement.tagName") == "SUMMARY":
            break
    key(browser, "Enter", 13, "\r")
    assert "Response" in until(browser, "document.querySelector('.rollout[open] > div')?.textContent")


def test_two_runs_side_by_side(browser: Page, site: Path) -> None:
    goto(browser, site, "runs.html")
    shown_keys(browser)
    browser.value("['0', '2'].forEach(c => document.querySelector(`input[value='${c.repeat(16)}']`).click())")
    browser.value("document.getElementById('compare').click()")
    until(browser, "document.querySelectorAll('#compared svg').length >= 4")
    rows = browser.value(
        "Object.fromEntries([...document.querySelectorAll('#compared tbody tr')]"
        ".map(r => [...r.cells].map(c => c.textContent))"
        ".map(([name, ...values]) => [name, values]))"
    )
    assert rows["teacher"] == ['"A"', '"B"'] and rows["optimiser steps"] == ["3", "3"] and "seed" not in rows
    assert browser.value("document.querySelectorAll('#compared path.second').length") >= 4


def test_a_published_problem_leads_back_to_its_seed(browser: Page, site: Path) -> None:
    """Found by words or strategy; what was dropped has its place and its fate among the ancestors, and no text."""
    goto(browser, site, "data.html")
    until(browser, "document.querySelectorAll('#problems .rollout').length === 2")
    browser.value("form.elements.strategy.value = 'compose'; form.dispatchEvent(new Event('input'))")
    until(browser, "document.querySelectorAll('#problems .rollout').length === 1")
    browser.value("document.querySelector('#problems .rollout').open = true")
    told = until(browser, "document.querySelector('#problems .rollout ul')?.textContent")
    places = [
        told.index(words)
        for words in ("compose, round 2; answer 2", "rephrase, round 1; filters: too easy", "seed, round 0")
    ]
    assert places == sorted(places)
    texts = browser.value("[...document.querySelectorAll('#problems pre')].map((p) => p.textContent)")
    assert texts == [visible(f"Problem {i} {world.SAID}") for i in ("p2", "s0")]
    card = "document.querySelector('.card')"
    assert browser.value(f"{card}.querySelectorAll('img, script').length") == 0
    assert browser.value("window.ran || []") == [] and complaints(browser) == []
    assert browser.value(f"[...{card}.querySelectorAll('td')].map((c) => c.textContent)") == ["problems", "2"]
    assert "apache-2.0" not in browser.value(f"{card}.textContent"), "the front matter is for machines"


def test_the_light_form(
    browser: Page, made: list[world.Made], site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("tiny", tmp_path / "bare", books(site.parent), light=True)
    assert not list((tmp_path / "bare" / "data" / "rollouts").glob("*.js")), "nothing is behind a table that is absent"
    monkeypatch.setattr(builder, "MAIN_TABLES", ("accuracy",))
    build("tiny", tmp_path / "light", books(site.parent), light=True)
    assert not (tmp_path / "light" / "notebooks").exists()
    packs = {p.stem for p in (tmp_path / "light" / "data" / "rollouts").glob("*.js")}
    assert packs == {m.key for m in made if m.seed == 0} | {"ba5e000000000000"}
    goto(browser, tmp_path / "light", f"rollouts.html#run={made[0].key}")
    until(browser, "document.querySelectorAll('.rollout').length > 0")
    offered = browser.value("[...document.querySelector('select[name=part]').options].map((o) => o.textContent)")
    assert offered == ["all", "evaluation, greedy", "rollouts of training"]
    goto(browser, tmp_path / "light", f"rollouts.html#run={made[1].key}")
    assert "not in this copy" in until(
        browser,
        "document.getElementById('told').textContent.includes('copy') && document.getElementById('told').textContent",
    )


def test_a_folder_that_is_no_site_is_left_alone(made: list[world.Made], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtifactError, match="is no site"):
        build("tiny", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_same_results_give_the_same_site(made: list[world.Made], site: Path, tmp_path: Path) -> None:
    build("tiny", tmp_path / "again", books(site.parent), more=[live])
    first, second = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in (site, tmp_path / "again")
    )
    assert first == second


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Page, site: Path, axe: str, scheme: str) -> None:
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    wheres = ["index.html", "claims.html", "outputs.html", "runs.html#of=table-differences:1", "notebooks.html"]
    wheres += ["source/index.html", "output/table-differences.html", "output/figure-se_accuracy.html"]
    wheres += [f"run/{'0' * 16}.html", f"rollouts.html#run={'0' * 16}&tokens=recorded", "why.html", "why/B-mod.html"]
    wheres += ["data.html"]
    wheres += ["source/train.losses.divergence.html", f"runs.html#compare={'0' * 16},{'2' * 16}"]
    found = {}
    for where in wheres:
        goto(browser, site, where)
        if "rollouts" in where:
            until(browser, "document.querySelectorAll('.rollout').length > 0")
            browser.value("document.querySelector('.rollout').open = true")
        if "tokens" in where or "why/" in where:
            until(browser, "document.querySelector('.artifact-view label.t') !== null")
        if "compare" in where:
            until(browser, "document.querySelector('#compared svg') !== null")
        bad = serious(browser, axe)
        if bad:
            found[where] = bad
    assert found == {}
