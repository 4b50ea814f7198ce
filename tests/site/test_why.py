"""From the start page to the reason why weights helped one family and hurt another, and to its tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.escape.browser import Page, program
from tests.site import world
from tests.site.browsing import click, complaints, goto, link, until

from artifact.escape import visible

pytestmark = pytest.mark.skipif(program() is None, reason="no chromium on this machine to open pages in")

TOKEN = "document.querySelector('[data-tokens] label.t')"


def facts(browser: Page) -> dict[str, str]:
    found: dict[str, str] = browser.value(
        "Object.fromEntries([...document.querySelectorAll('dl.facts dt')]"
        ".map((d) => [d.textContent, d.nextElementSibling.textContent]))"
    )
    return found


def rows(browser: Page, name: str) -> list[list[str]]:
    """The cells of the table in the region of that name."""
    found: list[list[str]] = browser.value(
        f"[...document.querySelectorAll('[aria-label={json.dumps(name)}] tbody tr')]"
        ".map((r) => [...r.cells].map((c) => c.textContent.trim()))"
    )
    return found


def moved(made: list[world.Made], family: str) -> str:
    return f"{100 * (world.mean(made, 'uopd-soft', 'B', family) - world.mean(made, 'opd', 'B', family)):+.1f}"


def test_the_readers_path(browser: Page, site: Path, made: list[world.Made]) -> None:
    """Start → eq under B: doubts, answers, tokens → mod under B: the same → all of its tokens → a response: six."""
    clicks = 0

    def follow(found: str, arrives: str) -> None:
        nonlocal clicks
        click(browser, found)
        clicks += 1
        until(browser, f"location.href.includes({json.dumps(arrives)}) && document.readyState === 'complete'")

    goto(browser, site, "index.html")
    under_b = "[...document.querySelectorAll('main p')].find((p) => p.textContent.startsWith('Under teacher B'))"
    follow(f"({under_b}).querySelectorAll('a')[0]", "why/B-eq.html")
    for family, other in (("eq", "mod"), ("mod", "eq")):
        weight = world.phase_one().set_index(["teacher", "group"])["weight"]["B", family]
        assert facts(browser)["mean weight w"].startswith(f"{weight:.2f} ")
        assert facts(browser)["UOPD − OPD"].startswith(f"{moved(made, family)} points")
        until(browser, f"{TOKEN} !== null")
        click(browser, TOKEN)
        clicks += 1
        tip = f"{TOKEN}.querySelector('.tip')"
        until(browser, f"getComputedStyle({tip}).display === 'block'")
        said = browser.value(f"{tip}.textContent")
        assert "divergence 0.100" in said and "entropy 0.600" in said and "0.750" in said, said
        if family == "eq":
            follow(link(f"{other} ({moved(made, other)})"), "why/B-mod.html")
    follow(link("every response of this run to mod whose tokens are kept"), "rollouts.html")
    until(browser, "document.querySelectorAll('.rollout').length === 1")
    follow("document.querySelector('.rollout summary')", "family=mod")
    until(browser, "document.querySelectorAll('.rollout .artifact-view label.t').length === 3")
    assert clicks == 6 and complaints(browser) == []


def test_what_changed_is_what_is_stored(browser: Page, site: Path, made: list[world.Made]) -> None:
    """The answers listed, and the counts, are those of the two runs of the first seed."""
    for teacher, family in (("A", "eq"), ("B", "mod")):
        goto(browser, site, f"why/{teacher}-{family}.html")
        uniform, weighted = (
            next(m.right for m in made if (m.cell, m.teacher, m.seed) == (c, teacher, 0)) for c in ("opd", "uopd-soft")
        )
        asked = {p.id: p for p in world.PROBLEMS if p.meta["family"] == family}
        cases = [((i in uniform), (i in weighted)) for i in asked]
        wanted = [cases.count(case) for case in ((True, True), (False, True), (True, False), (False, False))]
        told = "[...document.querySelectorAll('h2')].find((h) => h.textContent.startsWith('What training'))"
        counts = browser.value(
            f"[...{told}.nextElementSibling.querySelectorAll('b')].map((b) => Number(b.textContent))"
        )
        assert counts == wanted
        changed = {asked[i].question for i in asked if (i in uniform) != (i in weighted)}
        listed = rows(browser, "answers that differ")
        assert {r[0] for r in listed} == changed and all(r[2] == "no wrong" for r in listed), (
            "the untrained one is wrong"
        )
        for question, gold, _, under_uniform, under_weights in listed:
            problem = next(p for p in asked.values() if p.question == question)
            shown = [f"{gold} correct" if problem.id in right else "no wrong" for right in (uniform, weighted)]
            assert [under_uniform, under_weights] == shown


def test_answers_lead_to_their_responses(browser: Page, site: Path, made: list[world.Made]) -> None:
    goto(browser, site, "why/A-eq.html")
    hrefs: list[str] = browser.value(
        "[...document.querySelectorAll('[aria-label=\"answers that differ\"] td a')].map((a) => a.href)"
    )
    assert hrefs
    for href in hrefs[:3]:
        goto(browser, site, href.removeprefix(f"{site.as_uri()}/"))
        until(browser, "document.querySelectorAll('.rollout').length === 1")


def test_answers_of_a_teacher_stay_text(browser: Page, site: Path) -> None:
    goto(browser, site, "why/B-eq.html")
    until(browser, f"{TOKEN} !== null")
    answers = rows(browser, "training prompts")
    assert len(answers) == 4 and all(visible(world.SAID).split() == r[3].split(", 1")[0].split() for r in answers), (
        answers
    )
    assert [r[2] for r in answers] == ["0.25", "1.00", "1.00", "1.00"]
    card: Any = browser.value("document.querySelector('[data-tokens] .artifact-view').textContent")
    assert visible(world.SAID).split()[0] in card
    assert browser.value("window.ran || []") == [] and complaints(browser) == []
    assert browser.value("document.querySelectorAll('main img, main script, main iframe, main svg').length") == 0
