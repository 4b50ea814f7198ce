"""The site in a real browser, from disk: every page, two widths, dark and light, by keyboard; where links end."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.escape.browser import Page, opened, program
from tests.escape.payloads import HOSTILE
from tests.site import world

from artifact.errors import ArtifactError
from artifact.escape import visible
from artifact.site.builder import NotebookPage, build
from artifact.studies.study import load_study

pytestmark = pytest.mark.skipif(program() is None, reason="no chromium on this machine to open pages in")

STORABLE = [text for text in HOSTILE if text.isascii() or text.encode("utf-8", "ignore").decode() == text]
"""What Parquet can hold: half a surrogate pair is no text to it."""

MANY, HOSTILE_RUN = "d" * 16, "e" * 16
PHONE, DESKTOP = (390, 844), (1280, 900)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[world.Made]]:
    """The world, a run of ten thousand rollouts, and one whose responses are hostile; the site lies beside them."""
    results = tmp_path_factory.mktemp("site") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARTIFACT_RESULTS", str(results))
        patch.setenv("ARTIFACT_FIGURES", str(results / "figures"))
        runs = world.make(results)
        config = next(f for c, f in load_study("uopd").runs("tiny") if c.id == "opd")
        many = config.model_copy(update={"seed": 90})
        world.run(results, many, MANY, frozenset(), [f"step {i}: \\boxed{{{i % 97}}}" for i in range(10_000)])
        world.run(results, config.model_copy(update={"seed": 91}), HOSTILE_RUN, frozenset(), STORABLE)
        (results / "01_a.html").write_text("<!doctype html><title>a</title><p>page", encoding="utf-8")
        books = [NotebookPage("01_a", HOSTILE[0], 61.0, results / "01_a.html")]
        build("tiny", results / "site", books, more=[_live])
        yield runs


def _live(folder: Path) -> None:
    (folder / "live").mkdir()
    (folder / "live" / "index.html").write_text("<!doctype html><title>live</title>", encoding="utf-8")


@pytest.fixture(scope="module")
def site(made: list[world.Made]) -> Path:
    return Path(os.environ["ARTIFACT_RESULTS"]) / "site"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened(tmp_path_factory.mktemp("profile")) as tab:
        tab.call("Log.enable")
        yield tab


def goto(browser: Page, site: Path, where: str) -> None:
    """Open a page of the site, with what stands behind `#`; a blank page between, so that it loads anew."""
    browser.open(site / "static" / "site.css")
    browser.events.clear()
    name, _, rest = where.partition("#")
    browser.call("Page.navigate", url=(site / name).as_uri() + (f"#{rest}" if rest else ""))
    until(browser, "document.readyState === 'complete'")


def until(browser: Page, expression: str, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := browser.value(expression)):
        assert time.monotonic() < deadline, f"never true: {expression}"
        time.sleep(0.02)
    return value


def complaints(browser: Page) -> list[str]:
    """What the console and the log of the browser said that is an error, and addresses that are not files."""
    browser.value("1")
    bad = [json.dumps(e["params"]) for e in browser.events if e["method"] == "Runtime.exceptionThrown"]
    for e in browser.events:
        entry = e["params"].get("entry", {}) if e["method"] == "Log.entryAdded" else {}
        said = e["params"] if e["method"] == "Runtime.consoleAPICalled" else {}
        bad += [json.dumps(entry)] if entry.get("level") == "error" else []
        bad += [json.dumps(said)] if said.get("type") in ("error", "warning") else []
    return bad + [r for r in browser.requests if not r.startswith(("file://", "data:"))]


def pages_of(site: Path) -> list[str]:
    own = [p.relative_to(site).as_posix() for p in sorted(site.rglob("*.html"))]
    return [p for p in own if not p.startswith(("notebooks/", "live/"))]


def test_every_link_and_picture_of_every_page_is_there(site: Path) -> None:
    absent = []
    for name in pages_of(site):
        text = (site / name).read_text(encoding="utf-8")
        ids = set(re.findall(r'\bid="([^"]+)"', text))
        for address in re.findall(r'(?:href|src)="([^"]*)"', text):
            path, _, anchor = address.partition("#")
            target = (site / name).parent / path if path else site / name
            if not target.is_file():
                absent.append(f"{name}: {address}")
            elif (
                anchor
                and "=" not in anchor
                and target.suffix == ".html"
                and not path.startswith(("notebooks", "../notebooks"))
            ):
                there = ids if not path else set(re.findall(r'\bid="([^"]+)"', target.read_text(encoding="utf-8")))
                absent += [] if anchor in there else [f"{name}: {address} (no such place)"]
    assert absent == []
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
    for key in sorted(keys):
        goto(browser, site, f"rollouts.html#run={key}&part=0")
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
    """First view within 2 s, a filter within 0.3 s."""
    start = time.monotonic()
    goto(browser, site, f"rollouts.html#run={MANY}")
    until(browser, "document.querySelectorAll('.rollout').length === 50")
    first = time.monotonic() - start
    started = "performance.now()"
    typed = (
        "form.elements.text.value = 'step 77'; form.elements.text.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    took = browser.value(
        f"(() => {{ const a = {started}; {typed}; document.body.offsetHeight; return performance.now() - a; }})()"
    )
    assert browser.value("document.getElementById('told').textContent").startswith("111 of 10,024 rollouts")
    assert first <= 2.0 and took <= 300, f"first view {first:.2f} s, filter {took:.0f} ms"


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


def key(browser: Page, name: str, code: int, text: str = "") -> None:
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent",
            type=kind,
            key=name,
            code=name,
            windowsVirtualKeyCode=code,
            text=text if kind == "keyDown" else "",
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


def test_the_light_form(browser: Page, made: list[world.Made], site: Path, tmp_path: Path) -> None:
    books = [NotebookPage("01_a", "a", 61.0, site.parent / "01_a.html")]
    build("tiny", tmp_path / "light", books, light=True)
    assert not (tmp_path / "light" / "notebooks").exists()
    packs = {p.stem for p in (tmp_path / "light" / "data" / "rollouts").glob("*.js")}
    assert packs == {m.key for m in made if m.seed == 0} | {"ba5e000000000000"}
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
    books = [NotebookPage("01_a", HOSTILE[0], 61.0, site.parent / "01_a.html")]
    build("tiny", tmp_path / "again", books, more=[_live])
    first, second = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in (site, tmp_path / "again")
    )
    assert first == second


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, fetched once from the npm registry; what needs it is skipped where it cannot be."""
    npm, kept = shutil.which("npm"), Path.home() / ".cache" / "artifact-tests" / "axe-core-4.14.1.min.js"
    if not kept.is_file():
        if npm is None:
            pytest.skip("no npm on this machine to fetch axe-core with")
        folder = tmp_path_factory.mktemp("axe")
        done = subprocess.run(
            [npm, "pack", "axe-core@4.14.1", "--silent"], cwd=folder, capture_output=True, timeout=120, check=False
        )
        packed = next(folder.glob("*.tgz"), None)
        if done.returncode or packed is None:
            pytest.skip("axe-core cannot be fetched here: no registry is reachable")
        shutil.unpack_archive(packed, folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "package" / "axe.min.js", kept)
    return kept.read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Page, site: Path, axe: str, scheme: str) -> None:
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    wheres = ["index.html", "claims.html", "outputs.html", "runs.html#of=table-differences:1", "notebooks.html"]
    wheres += ["source/index.html", "output/table-differences.html", "output/figure-se_accuracy.html"]
    wheres += [f"run/{'0' * 16}.html", f"rollouts.html#run={'0' * 16}", "source/train.losses.divergence.html"]
    found = {}
    for where in wheres:
        goto(browser, site, where)
        if "rollouts" in where:
            until(browser, "document.querySelectorAll('.rollout').length > 0")
            browser.value("document.querySelector('.rollout').open = true")
        browser.value(f"{axe}\n;1")
        browser.value(
            "window.found = null; axe.run().then(r => { window.found ="
            " r.violations.map(v => [v.impact, v.id, v.nodes.slice(0, 3).map(n => n.html)]); }); 1"
        )
        bad = [
            v for v in until(browser, "window.found && {all: window.found}")["all"] if v[0] in ("serious", "critical")
        ]
        if bad:
            found[where] = bad
    assert found == {}
