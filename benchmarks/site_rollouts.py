"""How long a reader waits for the rollouts of a run: until the first are there, and until a filter has been applied.

    python benchmarks/site_rollouts.py                    # ten thousand rollouts, the best of 3 repetitions
    python benchmarks/site_rollouts.py --rollouts 2000 --repeats 1

A site of one run made by hand (`tests/site/world.py`) is opened from disk in headless Chromium. First view: from asking
for the page until fifty rollouts are on it; each time in a page that loads its data anew. Filter: from the last letter
typed until the list is laid out. Needs chromium on the path.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.escape.browser import Page, opened, program
from tests.site import world
from tests.site.browsing import until

from artifact.site.builder import build
from artifact.studies.study import load_study

TYPED = (
    "(() => { const a = performance.now(); form.elements.text.value = 'step 77';"
    " form.elements.text.dispatchEvent(new Event('input', {bubbles: true}));"
    " document.body.offsetHeight; return performance.now() - a; })()"
)


def main() -> None:
    """Build the site, open it, print both times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(f"{given.rollouts:,} rollouts of one run, best of {given.repeats}")
    if program() is None:
        print("not measured: no chromium on this machine")
        return
    with tempfile.TemporaryDirectory() as folder:
        site = made(Path(folder), given.rollouts)
        with opened(Path(folder) / "profile") as browser:
            times = [measured(browser, site) for _ in range(given.repeats)]
        size = (site / "data" / "rollouts" / f"{'d' * 16}.js").stat().st_size
    print(f"first view {min(t[0] for t in times):.2f} s, filter {min(t[1] for t in times):.3f} s")
    print(f"{size / 1e6:.2f} MB of data; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def made(folder: Path, rollouts: int) -> Path:
    """The site of a run with so many rollouts of training; returns its folder."""
    os.environ |= {"ARTIFACT_RESULTS": str(folder / "results"), "ARTIFACT_FIGURES": str(folder / "results" / "figures")}
    config = next(f for c, f in load_study("uopd").runs("tiny") if c.id == "opd")
    texts = [f"step {i}: \\boxed{{{i % 97}}}" for i in range(rollouts)]
    world.run(folder / "results", config, "d" * 16, frozenset(), texts)
    return build("tiny", folder / "results" / "site").parent


def measured(browser: Page, site: Path) -> tuple[float, float]:
    """Seconds until the first view, and of a filter."""
    browser.open(site / "static" / "site.css")
    start = time.perf_counter()
    browser.call("Page.navigate", url=f"{(site / 'rollouts.html').as_uri()}#run={'d' * 16}")
    until(browser, "document.querySelectorAll('.rollout').length === 50")
    return time.perf_counter() - start, browser.value(TYPED) / 1000


if __name__ == "__main__":
    main()
