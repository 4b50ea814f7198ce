"""No number is typed by hand: what README, docs and paper say of anything measured or counted is generated.

Regions between `<!-- NAME -->` and `<!-- end -->` are written by `artifact paper` (`book/readme.py`) or printed by the
command that their name is a path of. Every other digit of a page is one of `ALLOWED`: names, versions, settings.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from artifact.book import readme
from artifact.errors import ArtifactError

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MADE_BY_COMMAND = {"faults.md": "tests/faults"}
"""Pages that a command prints as a whole."""

ALLOWED = (
    # names
    r"x86-64|Apache-2\.0|SHA-256|float32|float64|H100|UTF-8|GSM8K|MATH-500|AIME 2025|pass@1",
    r"SmolLM2-135M-Instruct|Qwen3(?:-[\d.]+B)?|Qwen2\.5-\w+",
    r"UOPD Eq\. \d+(?:–\d+)?|(?:equation|section|table|figure|Algorithm) \d[\d.]*",
    r"[Nn]otebooks? \d\d|[Pp]hase [12]|steps? \d(?: to \d)?|exit code \d|exits with \d",
    # versions
    r"Python 3\.11|TRL 1\.16|lm-evaluation-harness 0\.4\.13",
    # settings, and what is asked of a machine
    r"20 GB of memory|8 GB$|3 GB more|a GPU of 80 GB|512 tokens per response|T = 1\.2, top-p 0\.95|N up to 1,000",
    r"22 of its 30 layers|4-bit|135 million parameters",
    r"H = 2048, V = 151,936, k = 512|T = 512 in float32|best of 2",
)


def typed(page: str) -> list[str]:
    """The lines of a page whose digits nothing generates and `ALLOWED` does not hold."""
    text = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]+`|\]\([^)\n]*\)", "", readme.REGION.sub("", text))
    text = re.sub(r"^\s*\d+\. ", "", text, flags=re.MULTILINE)
    text = re.sub("|".join(ALLOWED), "", text, flags=re.MULTILINE)
    return [line for line in text.splitlines() if re.search(r"\d", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_number_is_typed_by_hand(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.name in MADE_BY_COMMAND:
        assert (ROOT / MADE_BY_COMMAND[page.name]).exists() and MADE_BY_COMMAND[page.name].replace("/", ".") in text
        return
    assert typed(text) == []
    for name in readme.REGION.findall(text):
        written = page == readme.readme() and name in readme.REGIONS
        printed = any((ROOT / below / name).is_file() for below in ("", "benchmarks"))
        assert written or printed, f"{name} makes no number"


def test_the_readme_says_what_is_stored() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.written(text) == text, "run `artifact paper`"
    assert set(readme.REGIONS) <= set(readme.REGION.findall(text))
    with pytest.raises(ArtifactError, match="nothing writes <!-- tims -->"):
        readme.written("<!-- tims -->\n<!-- end -->")


def test_a_number_typed_by_hand_would_be_found() -> None:
    page = """# T
1. Python 3.11, `x = 5`, [a page](b1.md), UOPD Eq. 8–9
It took 20 minutes.
```bash
sleep 7
```
<!-- times -->
made: 12
<!-- end -->
KL fell to 0.85; SHA-256.
"""
    assert typed(page) == ["It took 20 minutes.", "KL fell to 0.85; ."]
