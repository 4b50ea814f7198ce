"""Walking through the site in a real browser: what is true on a page, what it complains of, what a hand does."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.escape.browser import Page


def goto(browser: Page, site: Path, where: str) -> None:
    """Open a page of the site, with what stands behind `#`; a blank page between, so that it loads anew."""
    browser.open(site / "static" / "site.css")
    browser.events.clear()
    name, _, rest = where.partition("#")
    browser.call("Page.navigate", url=(site / name).as_uri() + (f"#{rest}" if rest else ""))
    until(browser, "document.readyState === 'complete'")


def until(browser: Page, expression: str, seconds: float = 60.0) -> Any:
    """The value of an expression as soon as it is true; while a page gives way to another, nothing is."""
    deadline = time.monotonic() + seconds
    while not (value := _now(browser, expression)):
        assert time.monotonic() < deadline, f"never true: {expression}"
        time.sleep(0.02)
    return value


def _now(browser: Page, expression: str) -> Any:
    try:
        return browser.value(expression)
    except AssertionError as err:
        if "navigated or closed" not in str(err):
            raise
        return None


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


def absent_links(site: Path, pages: Sequence[str]) -> list[str]:
    """The links and pictures of `pages` that lead nowhere, or to a place that their page does not have."""
    absent = []
    for name in pages:
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
    return absent


def serious(browser: Page, axe: str) -> list[Any]:
    """What axe-core (its source) calls a serious or critical fault of accessibility: impact, rule, some elements."""
    browser.value(f"{axe}\n;1")
    browser.value(
        "window.found = null; axe.run().then(r => { window.found ="
        " r.violations.map(v => [v.impact, v.id, v.nodes.slice(0, 3).map(n => n.html)]); }); 1"
    )
    found = until(browser, "window.found && {all: window.found}")["all"]
    return [v for v in found if v[0] in ("serious", "critical")]


def key(browser: Page, name: str, code: int, text: str = "") -> None:
    """Press and release a key."""
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent",
            type=kind,
            key=name,
            code=name,
            windowsVirtualKeyCode=code,
            text=text if kind == "keyDown" else "",
        )


def click(browser: Page, found: str) -> None:
    """Click the element that an expression gives, with the mouse, where it is on the screen."""
    until(browser, f"({found}) instanceof Element")
    browser.value(f"({found}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
    browser.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    x, y = browser.value(
        f"(() => {{ const b = ({found}).getClientRects()[0]; return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def link(words: str) -> str:
    """An expression for the first link of the page that says these words."""
    return f"[...document.querySelectorAll('a')].find((a) => a.textContent.trim() === {json.dumps(words)})"
